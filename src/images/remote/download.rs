//! Blobs from a registry into the store.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::{Ask, RemoteError, Session, broken};
use crate::manifest::Descriptor;
use crate::store::blocking;
use crate::{Digest, ImageStore};

const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Half of a blob; gone with this unless it became whole.
struct Part {
    path: PathBuf,
    file: tokio::fs::File,
    hash: Sha256,
    received: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Session {
    /// Fetches a blob into the store, checked. What breaks off goes on where it stopped.
    pub(crate) async fn blob(
        &self,
        store: &ImageStore,
        wanted: &Descriptor,
        bytes_max: u64,
    ) -> Result<(), RemoteError> {
        if wanted.size > bytes_max {
            return Err(RemoteError::TooLarge(wanted.size, bytes_max));
        }
        let disk = |error: std::io::Error| RemoteError::Disk(error.to_string());
        let path = store.temporary_path("pull");
        let file = tokio::fs::File::create(&path).await.map_err(disk)?;
        let mut part = Part { path, file, hash: Sha256::new(), received: 0 };
        // A manifest that says no size is bounded by what is allowed.
        let bytes_max = if wanted.size > 0 { wanted.size } else { bytes_max };
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            match self.go_on(&mut part, &wanted.digest, bytes_max).await {
                Ok(()) => break,
                // The registry gave the manifest a moment ago: it is there.
                Err(RemoteError::Unavailable(_) | RemoteError::Other(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        let found = Digest::from_hash(&part.hash.clone().finalize());
        if found != wanted.digest {
            return Err(RemoteError::Digest { expected: wanted.digest.clone(), found });
        }
        part.file.flush().await.map_err(disk)?;
        part.file.sync_all().await.map_err(disk)?;
        let (from, to) = (part.path.clone(), store.blob_path(&wanted.digest));
        blocking(move || {
            std::fs::rename(&from, &to)?;
            to.parent().map_or(Ok(()), base::files::sync_folder)
        })
        .await
        .map_err(disk)
    }

    async fn go_on(&self, part: &mut Part, digest: &Digest, bytes_max: u64) -> Result<(), RemoteError> {
        let disk = |error: std::io::Error| RemoteError::Disk(error.to_string());
        let mut headers = HeaderMap::new();
        if part.received > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", part.received));
            headers.insert(header::RANGE, range.map_err(|error| RemoteError::Other(error.to_string()))?);
        }
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.send(Ask { method: Method::GET, url, headers, body: None }).await?;
        if part.received > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            // It cannot go on in the middle.
            part.file.set_len(0).await.map_err(disk)?;
            part.file.rewind().await.map_err(disk)?;
            (part.hash, part.received) = (Sha256::new(), 0);
        }
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| broken(&error))?;
            part.received += chunk.len() as u64;
            if part.received > bytes_max {
                return Err(RemoteError::TooLarge(part.received, bytes_max));
            }
            part.hash.update(&chunk);
            part.file.write_all(&chunk).await.map_err(disk)?;
        }
        Ok(())
    }
}
