//! Blobs and manifests into a registry.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use super::{Ask, RemoteError, Session, text_of};
use crate::artifact::{Artifact, Blob};

impl Session {
    /// Pushes an image under a tag. What the registry has already is not sent again.
    ///
    /// # Errors
    /// [`RemoteError`], with the registry's words.
    pub async fn push(&self, artifact: &Artifact, tag: &str) -> Result<(), RemoteError> {
        for blob in [&artifact.config, &artifact.layer] {
            self.push_blob(blob).await?;
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(crate::artifact::MANIFEST));
        let url = self.url(&format!("manifests/{tag}"))?;
        let body = Some(artifact.manifest.bytes.clone());
        self.send(Ask { method: Method::PUT, url, headers, body }).await.map(drop)
    }

    async fn push_blob(&self, blob: &Blob) -> Result<(), RemoteError> {
        let known = self.url(&format!("blobs/{}", blob.digest))?;
        let known = self.send(Ask { method: Method::HEAD, url: known, headers: HeaderMap::new(), body: None }).await;
        if known.is_ok() {
            return Ok(());
        }
        let url = self.url("blobs/uploads/")?;
        let begin = Ask { method: Method::POST, url: url.clone(), headers: HeaderMap::new(), body: Some(Bytes::new()) };
        let begun = self.send(begin).await?;
        let nowhere = || RemoteError::Other("the registry gave no place to upload to".to_owned());
        let place = text_of(begun.headers(), header::LOCATION).ok_or_else(nowhere)?;
        // A place may be a path, and may have a query that has to stay.
        let mut place = url.join(&place).map_err(|_| nowhere())?;
        place.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = Some(blob.bytes.clone());
        self.send(Ask { method: Method::PUT, url: place, headers, body }).await.map(drop)
    }
}
