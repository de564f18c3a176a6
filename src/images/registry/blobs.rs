//! Reading blobs, whole or in part.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::request::Parts;
use http::{Method, StatusCode, header};
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{Answer, DIGEST_HEADER, Refusal, header_of};
use crate::store::blocking;
use crate::{Digest, ImageStore};

const CHUNK_BYTES: usize = 64 << 10;

pub(super) async fn answer(store: &ImageStore, parts: &Parts, name: &str, digest: &str) -> Answer {
    let digest: Digest = digest.parse().map_err(|_| Refusal::bad_digest(digest))?;
    match parts.method {
        Method::GET | Method::HEAD => read(store, parts, name, &digest).await,
        Method::DELETE => {
            // Blobs are shared: another repository, or an image in use, may name this one.
            let (store, wanted) = (store.clone(), digest.clone());
            let deleted = blocking(move || store.delete_blob(&wanted)).await?;
            if deleted { Ok(StatusCode::ACCEPTED.into_response()) } else { Err(unknown(name, &digest)) }
        }
        _ => Err(Refusal::unsupported("this method")),
    }
}

fn unknown(name: &str, digest: &Digest) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("{name} has no blob {digest}"))
}

async fn read(store: &ImageStore, parts: &Parts, name: &str, digest: &Digest) -> Answer {
    let mut file = match tokio::fs::File::open(store.blob_path(digest)).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(unknown(name, digest)),
        Err(error) => return Err(error.into()),
    };
    let size = file.metadata().await?.len();
    let (start, end, status) = match header_of(&parts.headers, header::RANGE).and_then(|range| range_of(range, size)) {
        None => (0, size, StatusCode::OK),
        Some(Ok((start, end))) => (start, end, StatusCode::PARTIAL_CONTENT),
        Some(Err(())) => {
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
    };
    let body = if parts.method == Method::HEAD {
        Body::empty()
    } else {
        file.seek(SeekFrom::Start(start)).await?;
        Body::from_stream(chunks(file, end - start))
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, end - start)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, format!("\"{digest}\""))
        .header(DIGEST_HEADER, digest.as_str());
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1));
    }
    response.body(body).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string()))
}

fn chunks(file: tokio::fs::File, left: u64) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file.take(left), left), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
    })
}

/// The half-open range that a `Range` header asks for; `None` when it is to be ignored (several ranges, other units).
fn range_of(header: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 => (size.saturating_sub(suffix), size),
        _ => return None,
    };
    Some(if range.0 < range.1 { Ok(range) } else { Err(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        let rows = [
            ("bytes=0-3", Some(Ok((0, 4)))),
            ("bytes=2-", Some(Ok((2, 10)))),
            ("bytes=-3", Some(Ok((7, 10)))),
            ("bytes=5-100", Some(Ok((5, 10)))),
            ("bytes=10-", Some(Err(()))),
            ("bytes=3-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
        ];
        for (header, range) in rows {
            assert_eq!(range_of(header, 10), range, "{header}");
        }
    }
}
