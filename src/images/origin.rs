//! The built-in registry when it lies in another process: what is asked for is brought here first.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::manifest::{Descriptor, Manifest};
use crate::pull::BLOB_BYTES_MAX;
use crate::store::blocking;
use crate::{Digest, ImageStore, PullError, Reference, artifact};

/// The process that has the built-in registry.
pub trait Origin: Send + Sync + 'static {
    /// What lies at a path of the distribution protocol (`/v2/…`), or nothing. The error is for people.
    fn get(&self, path: String) -> BoxFuture<'_, Result<Option<Bytes>, String>>;
}

/// Brings the image that `image` names today, with everything in it. Answers whether the origin has it.
///
/// # Errors
/// When the origin does not answer and the image is not here from an earlier time.
pub(crate) async fn mirror(store: &ImageStore, origin: &Arc<dyn Origin>, image: &Reference) -> Result<bool, PullError> {
    let named = match (&image.digest, &image.tag) {
        (Some(digest), _) => digest.as_str().to_owned(),
        (None, Some(tag)) => tag.clone(),
        (None, None) => return Ok(false),
    };
    if image.digest.is_some() && store.find_local(image).is_some() {
        return Ok(true);
    }
    let transfer = Transfer { store, origin, image };
    let bytes = match transfer.get("manifests", &named).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(false),
        Err(error) if store.find_local(image).is_some() => {
            tracing::warn!(%error, %image, "the built-in registry does not answer; using the image that is here");
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    transfer.manifest(bytes, image.tag.clone()).await?;
    Ok(true)
}

struct Transfer<'a> {
    store: &'a ImageStore,
    origin: &'a Arc<dyn Origin>,
    image: &'a Reference,
}

impl Transfer<'_> {
    async fn get(&self, what: &str, name: &str) -> Result<Option<Bytes>, PullError> {
        let path = format!("/v2/{}/{what}/{name}", self.image.repository);
        let failed = |why| PullError::Registry { image: self.image.to_string(), why };
        self.origin.get(path).await.map_err(failed)
    }

    /// Keeps a manifest after all that it names.
    async fn manifest(&self, bytes: Bytes, tag: Option<String>) -> Result<(), PullError> {
        let content = |why| PullError::Content { image: self.image.to_string(), why };
        let manifest = Manifest::parse(&bytes).map_err(content)?;
        let part = if matches!(manifest, Manifest::Index(_)) { "manifests" } else { "blobs" };
        for descriptor in manifest.references() {
            self.blob(part, descriptor).await?;
        }
        let (store, repository) = (self.store.clone(), self.image.repository.clone());
        blocking(move || store.put_manifest(&repository, tag.as_deref(), artifact::MANIFEST, &bytes).map(drop))
            .await
            .map_err(|error| PullError::store(self.image, error))
    }

    async fn blob(&self, part: &str, wanted: &Descriptor) -> Result<(), PullError> {
        let (store, digest) = (self.store.clone(), wanted.digest.clone());
        if blocking(move || store.has(&digest)).await {
            return Ok(());
        }
        if wanted.size > BLOB_BYTES_MAX {
            let why = format!("its blob {} has {} bytes, more than is allowed", wanted.digest, wanted.size);
            return Err(PullError::Registry { image: self.image.to_string(), why });
        }
        let broken = |why: &str| PullError::Registry {
            image: self.image.to_string(),
            why: format!("the built-in registry {why} {}", wanted.digest),
        };
        let bytes = self.get(part, wanted.digest.as_str()).await?.ok_or_else(|| broken("has no"))?;
        if Digest::of(&bytes) != wanted.digest {
            return Err(broken("sent other bytes than those of"));
        }
        if part == "manifests" {
            return Box::pin(self.manifest(bytes, None)).await;
        }
        let store = self.store.clone();
        blocking(move || store.put(&bytes).map(drop)).await.map_err(|error| PullError::store(self.image, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, PullPolicy};

    struct Other(ImageStore, std::sync::atomic::AtomicBool);

    impl Origin for Other {
        fn get(&self, path: String) -> BoxFuture<'_, Result<Option<Bytes>, String>> {
            use tower::ServiceExt;
            Box::pin(async move {
                if self.1.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err("nobody is there".to_owned());
                }
                let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
                let response = crate::router(self.0.clone()).oneshot(request).await.unwrap();
                let found = response.status().is_success();
                let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
                Ok(found.then_some(bytes))
            })
        }
    }

    #[tokio::test]
    async fn an_image_of_the_origin_is_brought_here() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (there, here) = (ImageStore::open(there.path()).unwrap(), ImageStore::open(here.path()).unwrap());
        let other = Arc::new(Other(there.clone(), false.into()));
        here.set_origin(other.clone());
        let resolve =
            async || here.resolve("coracle.local/a:v1", PullPolicy::IfNotPresent, &Credentials::default()).await;
        assert!(matches!(resolve().await, Err(PullError::NotFound { .. })));
        let first = there.push("a", "v1", wat::parse_str("(component)").unwrap().into()).await.unwrap();
        assert_eq!(resolve().await.unwrap().digest, first);
        // A tag means what it means there.
        let second = there.push("a", "v1", wat::parse_str("(component (component))").unwrap().into()).await.unwrap();
        assert_eq!(resolve().await.unwrap().digest, second);
        other.1.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(resolve().await.unwrap().digest, second);
        let unknown = here.resolve("coracle.local/b:v1", PullPolicy::Always, &Credentials::default()).await;
        assert!(unknown.is_err_and(|error| error.to_string().contains("nobody is there")));
    }
}
