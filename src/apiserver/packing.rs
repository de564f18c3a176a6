//! gzip, both ways, and the limit on bodies.

mod gzip;

use std::io::Read;
use std::time::Duration;

use api::Status;
use axum::body::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::reply::{Payload, Reply};

/// Packing less than this costs more than it saves.
const WORTH_PACKING: usize = 128 * 1024;

/// How much of a body that is too large is read on, and for how long.
const DISCARDED: usize = 128 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

fn too_large(limit: usize) -> Status {
    Status::too_large(format!("Request entity too large: limit is {limit}"))
}

/// Reads a body to its end, unpacks it when it was packed, and refuses it when it is larger than `limit` either way.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Status> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse::<usize>().ok());
    let mut body = body;
    if announced.is_some_and(|length| length > limit) {
        discard(body).await;
        return Err(too_large(limit));
    }
    let bytes = match Limited::new(&mut body, limit).collect().await {
        Ok(bytes) => bytes,
        Err(error) if error.is::<LengthLimitError>() => {
            discard(body).await;
            return Err(too_large(limit));
        }
        Err(error) => return Err(Status::bad_request(format!("the request body could not be read: {error}"))),
    };
    let bytes = bytes.to_bytes();
    match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(bytes),
        Some(b"gzip") => unpack(&bytes, limit),
        Some(other) => Err(Status::unsupported_media_type(format!(
            "the content encoding {:?} of the request body is not understood, use gzip or none",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// Reads on for a while and keeps nothing: an HTTP/1 client sends its whole body before it looks for the answer, and a
/// connection that closes under it would say nothing of the limit.
async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    // However slow it is, the answer comes.
    let _ = tokio::time::timeout(DISCARD_TIME, read).await;
}

fn unpack(bytes: &[u8], limit: usize) -> Result<Bytes, Status> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(limit as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Status::bad_request(format!("the request body is no gzip: {error}")))?;
    if unpacked.len() > limit { Err(too_large(limit)) } else { Ok(unpacked.into()) }
}

/// Packs a large answer for a client that asked for it.
pub(crate) async fn pack(headers: &HeaderMap, mut reply: Reply) -> Reply {
    let worth = match &reply.payload {
        Payload::Whole(bytes) => bytes.len() > WORTH_PACKING,
        Payload::Pieces(_) => true,
        Payload::Stream(_) => false,
    };
    if !worth || !wants_gzip(headers) {
        return reply;
    }
    reply.payload = match reply.payload {
        Payload::Whole(bytes) => {
            let plain = bytes.clone();
            // Whatever goes wrong here, the unpacked answer is as right.
            match tokio::task::spawn_blocking(move || gzip::whole(&plain)).await {
                Ok(packed) => Payload::Whole(packed),
                Err(_) => return Reply { payload: Payload::Whole(bytes), ..reply },
            }
        }
        Payload::Pieces(pieces) => Payload::Pieces(gzip::pieces(pieces)),
        other => other,
    };
    reply.headers.push((CONTENT_ENCODING, http::HeaderValue::from_static("gzip")));
    reply.headers.push((http::header::VARY, http::HeaderValue::from_static("Accept-Encoding")));
    reply
}

fn wants_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            matches!(name, "gzip" | "*") && !refused
        })
}
