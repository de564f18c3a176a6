//! Blobs on their way in: at once, in chunks, or by naming one that is here.
//!
//! Bytes go to a file of their own and are hashed as they come. A blob appears only after its digest was checked and its
//! file was synced. Uploads that nobody continues are thrown away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::request::Parts;
use http::{Method, StatusCode, header};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Answer, Query, Refusal, created, header_of};
use crate::pull::BLOB_BYTES_MAX;
use crate::store::{StoreError, blocking};
use crate::{Digest, ImageStore};

const UPLOADS_MAX: usize = 64;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Where there is no room for another, the one goes that has rested for longest, if for so long.
const RESTED: Duration = Duration::from_secs(60);

/// All uploads of a store.
#[derive(Default)]
pub(crate) struct Uploads {
    open: Mutex<HashMap<String, Entry>>,
    next: std::sync::atomic::AtomicU64,
}

struct Entry {
    touched: Instant,
    upload: Arc<tokio::sync::Mutex<Upload>>,
}

/// One upload.
struct Upload {
    path: PathBuf,
    file: tokio::fs::File,
    hash: Sha256,
    size: u64,
    done: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Uploads {
    async fn create(&self, store: &ImageStore) -> Result<(String, Arc<tokio::sync::Mutex<Upload>>), Refusal> {
        let too_many = || {
            let message = format!("{UPLOADS_MAX} uploads are open; finish or cancel one first");
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
        };
        {
            let mut open = self.open.lock();
            open.retain(|_, entry| entry.touched.elapsed() < FORGOTTEN_AFTER);
            if open.len() >= UPLOADS_MAX {
                let oldest = open.iter().min_by_key(|(_, entry)| entry.touched);
                let oldest = oldest.filter(|(_, entry)| entry.touched.elapsed() >= RESTED).map(|(id, _)| id.clone());
                let Some(oldest) = oldest else { return Err(too_many()) };
                open.remove(&oldest);
            }
        }
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let seed = format!("{number} {:?} {}", std::time::SystemTime::now(), std::process::id());
        let id = Digest::of(seed.as_bytes()).hex()[..32].to_owned();
        let path = store.uploads_dir().join(&id);
        let file = tokio::fs::File::create(&path).await?;
        let upload = Upload { path, file, hash: Sha256::new(), size: 0, done: false };
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        self.open.lock().insert(id.clone(), Entry { touched: Instant::now(), upload: upload.clone() });
        Ok((id, upload))
    }

    fn find(&self, id: &str) -> Result<Arc<tokio::sync::Mutex<Upload>>, Refusal> {
        let mut open = self.open.lock();
        let entry = open.get_mut(id).ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "there is no such upload; begin a new one")
        })?;
        entry.touched = Instant::now();
        Ok(entry.upload.clone())
    }

    fn forget(&self, id: &str) -> bool {
        self.open.lock().remove(id).is_some()
    }
}

/// `POST …/blobs/uploads/`: mounts a blob that is here, takes a whole one, or begins an upload.
pub(super) async fn begin(store: &ImageStore, parts: &Parts, name: &str, body: Body) -> Answer {
    let query = Query::of(parts);
    if let Some(digest) = query.mount.as_deref().and_then(|mount| mount.parse::<Digest>().ok()) {
        let (seeker, sought) = (store.clone(), digest.clone());
        if blocking(move || seeker.has(&sought)).await {
            return Ok(created(&format!("/v2/{name}/blobs/{digest}"), &digest));
        }
    }
    let (id, upload) = store.inner.uploads.create(store).await?;
    match &query.digest {
        Some(digest) => finish(store, name, &id, &upload, digest, body).await,
        None => {
            // Some clients send the first chunk along.
            let received = upload.lock().await.receive(body).await;
            match received {
                Ok(size) => Ok(accepted(name, &id, size)),
                Err(refusal) => {
                    store.inner.uploads.forget(&id);
                    Err(refusal)
                }
            }
        }
    }
}

/// What happens to an upload that has begun.
pub(super) async fn answer(store: &ImageStore, parts: &Parts, name: &str, id: &str, body: Body) -> Answer {
    let uploads = &store.inner.uploads;
    let upload = uploads.find(id)?;
    match parts.method {
        Method::PATCH => {
            let mut upload = upload.lock().await;
            continues(parts, name, id, upload.size)?;
            let before = upload.size;
            match upload.receive(body).await {
                Ok(size) => {
                    fits(parts, before, size)?;
                    Ok(accepted(name, id, size))
                }
                // What broke off goes on from where it is; what is too large, or has no room on the disk, never will.
                Err(refusal) => {
                    if refusal.status != StatusCode::BAD_REQUEST {
                        uploads.forget(id);
                    }
                    Err(refusal)
                }
            }
        }
        Method::PUT => {
            continues(parts, name, id, upload.lock().await.size)?;
            let digest = Query::of(parts).digest.ok_or_else(|| Refusal::bad_digest(""))?;
            finish(store, name, id, &upload, &digest, body).await
        }
        Method::GET => {
            let size = upload.lock().await.size;
            let mut response = accepted(name, id, size);
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        Method::DELETE => {
            uploads.forget(id);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(Refusal::unsupported("this method")),
    }
}

/// Whether the chunk begins where the last one ended.
fn continues(parts: &Parts, name: &str, id: &str, size: u64) -> Result<(), Refusal> {
    let Some(range) = header_of(&parts.headers, header::CONTENT_RANGE) else { return Ok(()) };
    let start = range.trim_start_matches("bytes ").split('-').next().and_then(|start| start.parse::<u64>().ok());
    if start == Some(size) {
        return Ok(());
    }
    let message = format!("the chunk {range} does not continue upload {id} of {name}, which has {size} bytes");
    Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message))
}

/// Whether as much came as the chunk's range said.
fn fits(parts: &Parts, before: u64, after: u64) -> Result<(), Refusal> {
    let Some(range) = header_of(&parts.headers, header::CONTENT_RANGE) else { return Ok(()) };
    let end = range.rsplit('-').next().and_then(|end| end.trim().split('/').next()?.parse::<u64>().ok());
    match end {
        Some(end) if end.saturating_add(1) != after => {
            let message = format!("the chunk {range} had {} bytes", after - before);
            Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message))
        }
        _ => Ok(()),
    }
}

async fn finish(
    store: &ImageStore,
    name: &str,
    id: &str,
    upload: &Arc<tokio::sync::Mutex<Upload>>,
    digest: &str,
    body: Body,
) -> Answer {
    let finished = async {
        let digest: Digest = digest.parse().map_err(|_| Refusal::bad_digest(digest))?;
        upload.lock().await.finish(store, &digest, body).await?;
        Ok(created(&format!("/v2/{name}/blobs/{digest}"), &digest))
    };
    let finished = finished.await;
    // A body that broke off leaves the upload where it stopped.
    let broke_off = finished.as_ref().is_err_and(|refusal: &Refusal| refusal.code == "BLOB_UPLOAD_INVALID");
    if !broke_off {
        store.inner.uploads.forget(id);
    }
    finished
}

impl Upload {
    async fn receive(&mut self, body: Body) -> Result<u64, Refusal> {
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", format!("the body broke off: {error}"))
            })?;
            self.size += chunk.len() as u64;
            if self.size > BLOB_BYTES_MAX {
                let message = format!("a blob may have {} MiB", BLOB_BYTES_MAX >> 20);
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
            }
            self.hash.update(&chunk);
            self.file.write_all(&chunk).await?;
        }
        Ok(self.size)
    }

    async fn finish(&mut self, store: &ImageStore, expected: &Digest, body: Body) -> Result<(), Refusal> {
        self.receive(body).await?;
        let found = Digest::from_hash(&self.hash.clone().finalize());
        if found != *expected {
            return Err(StoreError::DigestMismatch { expected: expected.clone(), found }.into());
        }
        self.file.flush().await?;
        self.file.sync_all().await?;
        let (from, to) = (self.path.clone(), store.blob_path(expected));
        blocking(move || {
            std::fs::rename(&from, &to)?;
            to.parent().map_or(Ok(()), base::files::sync_folder)
        })
        .await?;
        self.done = true;
        Ok(())
    }
}

fn accepted(name: &str, id: &str, size: u64) -> Response {
    let headers = [
        (header::LOCATION.as_str(), format!("/v2/{name}/blobs/uploads/{id}")),
        (header::RANGE.as_str(), format!("0-{}", size.saturating_sub(1))),
        ("docker-upload-uuid", id.to_owned()),
    ];
    (StatusCode::ACCEPTED, headers).into_response()
}
