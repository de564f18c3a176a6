//! Pulling from registries over the network: mirrors first, each with the credentials that fit, until one has the image.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{TryStreamExt, stream};

use super::{BLOB_BYTES_MAX, PullError, Purpose, wanted};
use crate::manifest::{ContentError, Descriptor, Manifest, choose};
use crate::remote::{Endpoint, RemoteError, RemoteManifest, Session, named};
use crate::store::blocking;
use crate::{Credentials, Digest, ImageStore, Reference};

/// Layers of one image that come at once.
const LAYERS_AT_ONCE: usize = 3;
/// However slowly a registry sends, it does not keep others from pulling for longer.
const PULL_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// Why one registry did not give the image.
enum Failure {
    Remote(RemoteError),
    Content(ContentError),
    Store(String),
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<ContentError> for Failure {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

/// Fetches manifest and layers, checks their digests, and keeps them. Returns the digest of the manifest that the
/// reference names.
pub(super) async fn pull(
    store: &ImageStore,
    image: &Reference,
    credentials: &Credentials,
    purpose: Purpose,
) -> Result<Digest, PullError> {
    let mut last = None;
    for endpoint in store.inner.pulls.endpoints(&image.registry) {
        let fitting = credentials.for_path(&endpoint.host, &image.repository);
        let tries: Vec<_> = if fitting.is_empty() { vec![None] } else { fitting.into_iter().map(Some).collect() };
        for credential in tries {
            let attempt = async {
                let session = Session::new(endpoint.clone(), &image.repository, credential.cloned())?;
                Pull { store, image, session, purpose }.run().await
            };
            let outcome = match tokio::time::timeout(PULL_TIME_MAX, attempt).await {
                Ok(outcome) => outcome,
                Err(_) => Err(RemoteError::Unavailable("the registry sends too slowly".to_owned()).into()),
            };
            match outcome {
                Ok(digest) => {
                    let by = credential.map(|credential| credential.fingerprint());
                    return remember(store, image, &digest, by).await.map(|()| digest);
                }
                Err(failure) => {
                    if endpoint.mirror_of.is_some() {
                        tracing::debug!(%image, mirror = endpoint.base, "a mirror does not give the image");
                    }
                    last = Some((endpoint.clone(), failure));
                }
            }
        }
    }
    let (endpoint, failure) = last.ok_or_else(|| PullError::store(image, "no registry is set up for it"))?;
    Err(explain(image, &endpoint, failure))
}

async fn remember(store: &ImageStore, image: &Reference, digest: &Digest, by: Option<String>) -> Result<(), PullError> {
    let (changed, own, name, place) = (store.clone(), image.clone(), image.to_string(), image.at(digest));
    let (now, digest) = (crate::store::unix_now(), digest.clone());
    let change = move || {
        changed.change(|index| {
            index.since.entry(digest.clone()).or_insert(now);
            match by {
                // What the registry gives to anybody is for everybody here too.
                None => drop(index.holders.remove(&place)),
                Some(by) => {
                    let public = !index.holders.contains_key(&place) && is_here(index, &own, &digest);
                    if !public {
                        index.holders.entry(place).or_insert_with(BTreeSet::new).insert(by);
                    }
                }
            }
            index.pulled.insert(name, digest);
        })
    };
    blocking(change).await.map_err(|error| PullError::store(image, error))
}

/// Whether the same content of the same repository came before, under whatever tag.
fn is_here(index: &crate::store::Index, image: &Reference, digest: &Digest) -> bool {
    let start = image.name();
    index.pulled.iter().any(|(name, pulled)| {
        pulled == digest && name.strip_prefix(&start).is_some_and(|rest| rest.starts_with([':', '@']))
    })
}

struct Pull<'a> {
    store: &'a ImageStore,
    image: &'a Reference,
    session: Session,
    purpose: Purpose,
}

impl Pull<'_> {
    async fn run(&self) -> Result<Digest, Failure> {
        let name = named(self.image);
        // Mostly the tag is where it was, and the digest is all that has to be asked for.
        if let Ok(Some(digest)) = self.session.head_manifest(&name).await
            && self.image.digest.as_ref().is_none_or(|wanted| *wanted == digest)
            && self.is_whole(&digest).await
        {
            return Ok(digest);
        }
        let first = self.session.manifest(&name).await?;
        self.keep(&first).await?;
        let (config, layers) = match Manifest::parse(&first.bytes)? {
            Manifest::Image { config, layers } => (config, layers),
            Manifest::Index(manifests) => {
                let chosen = self.session.manifest(choose(&manifests)?.digest.as_str()).await?;
                self.keep(&chosen).await?;
                match Manifest::parse(&chosen.bytes)? {
                    Manifest::Image { config, layers } => (config, layers),
                    Manifest::Index(_) => {
                        return Err(ContentError::Manifest("an index that names an index".to_owned()).into());
                    }
                }
            }
        };
        let parts = wanted(config.as_ref(), &layers, self.purpose)?;
        stream::iter(parts.into_iter().map(Ok)).try_for_each_concurrent(LAYERS_AT_ONCE, |part| self.part(part)).await?;
        Ok(first.digest)
    }

    async fn is_whole(&self, digest: &Digest) -> bool {
        let (store, digest, purpose) = (self.store.clone(), digest.clone(), self.purpose);
        blocking(move || store.has(&digest) && store.is_whole(&digest, purpose)).await
    }

    async fn keep(&self, manifest: &RemoteManifest) -> Result<(), Failure> {
        let (store, bytes) = (self.store.clone(), manifest.bytes.clone());
        let kept = blocking(move || store.put(&bytes)).await;
        kept.map(drop).map_err(|error| Failure::Store(error.to_string()))
    }

    async fn part(&self, part: &Descriptor) -> Result<(), Failure> {
        // Two images that share a layer fetch it once.
        let _turn = self.store.gate(part.digest.as_str()).await;
        let (store, digest) = (self.store.clone(), part.digest.clone());
        if blocking(move || store.has(&digest)).await {
            return Ok(());
        }
        Ok(self.session.blob(self.store, part, BLOB_BYTES_MAX).await?)
    }
}

fn explain(image: &Reference, endpoint: &Endpoint, failure: Failure) -> PullError {
    let name = image.to_string();
    let why = match failure {
        Failure::Content(why) => return PullError::content(image, why),
        Failure::Store(why) => return PullError::store(image, why),
        Failure::Remote(why) => why,
    };
    match why {
        RemoteError::NotFound => PullError::NotFound { image: name, hint: format!(" at {}", endpoint.host) },
        RemoteError::Unauthorized(why) => PullError::Unauthorized { image: name, registry: endpoint.host.clone(), why },
        RemoteError::Unavailable(why) => PullError::Unavailable { image: name, why },
        RemoteError::Disk(why) => PullError::Store { image: name, why },
        other => PullError::Registry { image: name, why: other.to_string() },
    }
}
