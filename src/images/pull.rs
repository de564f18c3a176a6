//! From what a pod spec calls an image to a component on disk.
//!
//! ```text
//! reference ─ coracle.local → the index ───────────────┐
//!           └ elsewhere ─ here already? ─ yes ─────────┼→ manifest → component (unpacked, wrapped: once per manifest)
//!                         └ no → registry → blobs ─────┘
//! ```

use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::archive::wasm_files;
use crate::manifest::{ContentError, Look, Manifest, choose, look, other_image};
use crate::origin;
use crate::store::blocking;
use crate::{Digest, ImageStore, Reference, ReferenceError, StoreError, WasmError, to_component};

mod remote;
#[cfg(test)]
mod tests;

pub(crate) use remote::BLOB_BYTES_MAX;

/// When to ask the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When the image is not here.
    #[default]
    IfNotPresent,
    /// Never: it has to be here.
    Never,
}

/// Who we are to one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The registry's host, with its port if it has one.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// Who we are to registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(pub Vec<Credential>);

impl Credentials {
    fn find(&self, registry: &str) -> Option<&Credential> {
        self.0.iter().find(|credential| credential.registry == registry)
    }
}

/// An image that is here, whole and unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The whole reference, as it goes into a pod's status.
    pub reference: String,
    /// `REGISTRY/REPOSITORY@DIGEST`, as it goes into a pod's status as the image's id.
    pub id: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The component's digest: what compiled artifacts are known by.
    pub component: Digest,
    /// Where the component lies.
    pub path: PathBuf,
    /// The component's size.
    pub size: u64,
    /// What it took.
    pub pulled: Pulled,
}

/// What it took to have an image here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Nothing.
    AlreadyPresent,
    /// It came from its registry.
    Fetched {
        /// How long that took.
        took: Duration,
    },
}

/// Why an image is not here.
#[derive(Clone, Debug, Error)]
pub enum PullError {
    /// The reference is none.
    #[error("{0}")]
    InvalidName(#[from] ReferenceError),
    /// It is not here, and the spec says not to pull it.
    #[error("container image {0:?} is not present with pull policy of Never")]
    NeverPull(String),
    /// The registry (or the built-in store) does not have it.
    #[error("failed to pull image {image:?}: not found{hint}")]
    NotFound {
        /// The whole reference.
        image: String,
        /// What to do, if we know.
        hint: String,
    },
    /// The registry does not let us.
    #[error(
        "failed to pull image {image:?}: {registry} does not authorize this; name a Secret with credentials in imagePullSecrets"
    )]
    Unauthorized {
        /// The whole reference.
        image: String,
        /// The registry.
        registry: String,
    },
    /// The registry does not answer as one should.
    #[error("failed to pull image {image:?}: {why}")]
    Registry {
        /// The whole reference.
        image: String,
        /// What happened.
        why: String,
    },
    /// It is something else than a component.
    #[error("image {image:?} cannot run: {why}")]
    Content {
        /// The whole reference.
        image: String,
        /// What it is.
        why: ContentError,
    },
    /// The Wasm file in it is not one, or not one that can become a component.
    #[error("image {image:?} cannot run: {why}")]
    Wasm {
        /// The whole reference.
        image: String,
        /// What it is.
        why: WasmError,
    },
    /// It is too large.
    #[error("failed to pull image {image:?}: its blob {blob} has {size} bytes, more than the {} MiB that are allowed", remote::BLOB_BYTES_MAX >> 20)]
    TooLarge {
        /// The whole reference.
        image: String,
        /// Which part.
        blob: Digest,
        /// How large.
        size: u64,
    },
    /// The disk.
    #[error("failed to pull image {image:?}: {why}")]
    Store {
        /// The whole reference.
        image: String,
        /// Why.
        why: String,
    },
}

impl PullError {
    /// Kubernetes' word for it, as a waiting container's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "InvalidImageName",
            Self::NeverPull(_) => "ErrImageNeverPull",
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::Registry { .. }
            | Self::Content { .. }
            | Self::Wasm { .. }
            | Self::TooLarge { .. }
            | Self::Store { .. } => "ErrImagePull",
        }
    }

    pub(crate) fn store(image: &Reference, why: impl std::fmt::Display) -> Self {
        Self::Store { image: image.to_string(), why: why.to_string() }
    }
}

impl ImageStore {
    /// Finds the image that `reference` names, pulls it when `policy` says so, and unpacks its component.
    ///
    /// # Errors
    /// Each names the image and what to do.
    pub async fn resolve(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &Credentials,
    ) -> Result<Resolved, PullError> {
        let reference: Reference = reference.parse()?;
        if let Some(found) = self.resolve_builtin(&reference).await? {
            return Ok(found);
        }
        let (digest, pulled) = if reference.is_local() {
            let origin = self.inner.origin.get().filter(|_| policy != PullPolicy::Never);
            if let Some(origin) = origin
                && !origin::mirror(self, origin, &reference).await?
            {
                return Err(not_pushed(&reference, policy));
            }
            let found = self.find_local(&reference).ok_or_else(|| not_pushed(&reference, policy))?;
            (found, Pulled::AlreadyPresent)
        } else {
            self.find_or_pull(&reference, policy, credentials).await?
        };
        if let Some(resolved) = self.unpacked(&reference, &digest, pulled) {
            return Ok(resolved);
        }
        let (store, image, manifest) = (self.clone(), reference.clone(), digest.clone());
        blocking(move || store.unpack(&image, &manifest)).await?;
        self.unpacked(&reference, &digest, pulled)
            .ok_or_else(|| PullError::store(&reference, "the component vanished from the image store"))
    }

    /// The manifest that a reference to the built-in registry means.
    pub(crate) fn find_local(&self, reference: &Reference) -> Option<Digest> {
        let index = self.index();
        let repository = index.repositories.get(&reference.repository)?;
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => repository.manifests.contains_key(digest).then(|| digest.clone()),
            (None, Some(tag)) => repository.tags.get(tag).cloned(),
            (None, None) => None,
        }
    }

    async fn find_or_pull(
        &self,
        reference: &Reference,
        policy: PullPolicy,
        credentials: &Credentials,
    ) -> Result<(Digest, Pulled), PullError> {
        let name = reference.to_string();
        let here = || self.index().pulled.get(&name).cloned();
        if policy != PullPolicy::Always
            && let Some(digest) = here()
        {
            return Ok((digest, Pulled::AlreadyPresent));
        }
        if policy == PullPolicy::Never {
            return Err(PullError::NeverPull(name));
        }
        let began = Instant::now();
        let gate = self.inner.pulling.lock().entry(name.clone()).or_default().clone();
        let turn = gate.lock().await;
        // Somebody else may have pulled it while this one waited.
        let found = match here().filter(|_| policy == PullPolicy::IfNotPresent) {
            Some(digest) => Ok((digest, Pulled::AlreadyPresent)),
            None => remote::pull(self, reference, credentials.find(&reference.registry))
                .await
                .map(|digest| (digest, Pulled::Fetched { took: began.elapsed() })),
        };
        drop(turn);
        drop(gate);
        self.inner.pulling.lock().retain(|_, gate| std::sync::Arc::strong_count(gate) > 1);
        found
    }

    pub(crate) fn unpacked(&self, reference: &Reference, digest: &Digest, pulled: Pulled) -> Option<Resolved> {
        let component = self.index().components.get(digest)?.clone();
        let path = self.blob_path(&component);
        let size = std::fs::metadata(&path).ok()?.len();
        Some(Resolved {
            reference: reference.to_string(),
            id: format!("{}@{digest}", reference.name()),
            digest: digest.clone(),
            component,
            path,
            size,
            pulled,
        })
    }

    /// Finds the Wasm file of a manifest whose blobs are here, makes it a component and remembers which. Blocks.
    fn unpack(&self, image: &Reference, digest: &Digest) -> Result<(), PullError> {
        let content = |why| PullError::Content { image: image.to_string(), why };
        let wasm = self.wasm_of(image, digest)?;
        let component = to_component(&wasm).map_err(|why| PullError::Wasm { image: image.to_string(), why })?;
        let component = component.as_deref().unwrap_or(&wasm);
        let kept = self.put(component).map_err(|error| PullError::store(image, error))?;
        let remembered = self.change(|index| index.components.insert(digest.clone(), kept));
        remembered.map(drop).map_err(|error| match error {
            StoreError::ManifestInvalid(why) => content(ContentError::Manifest(why)),
            other => PullError::store(image, other),
        })
    }

    fn wasm_of(&self, image: &Reference, digest: &Digest) -> Result<bytes::Bytes, PullError> {
        let content = |why| PullError::Content { image: image.to_string(), why };
        let read = |digest: &Digest| self.read(digest).map_err(|error| PullError::store(image, error));
        let (config, layers) = match Manifest::parse(&read(digest)?).map_err(content)? {
            Manifest::Image { config, layers } => (config, layers),
            Manifest::Index(manifests) => {
                let chosen = choose(&manifests).map_err(content)?;
                match Manifest::parse(&read(&chosen.digest)?).map_err(content)? {
                    Manifest::Image { config, layers } => (config, layers),
                    Manifest::Index(_) => {
                        return Err(content(ContentError::Manifest("an index that names an index".to_owned())));
                    }
                }
            }
        };
        let layers = match look(config.as_ref(), &layers).map_err(content)? {
            Look::Layer(layer) => return read(&layer.digest),
            Look::Inside(layers) => layers,
        };
        let mut found = Vec::new();
        for layer in layers {
            let files = wasm_files(read(&layer.digest)?);
            found.extend(files.map_err(|why| content(ContentError::Layer(layer.digest.clone(), why)))?);
        }
        match (found.len(), found.pop()) {
            (1, Some(wasm)) => Ok(wasm),
            (0, _) => Err(content(other_image(config.as_ref(), layers))),
            (several, _) => Err(content(ContentError::Several(several))),
        }
    }
}

fn not_pushed(reference: &Reference, policy: PullPolicy) -> PullError {
    let image = reference.to_string();
    if policy == PullPolicy::Never {
        return PullError::NeverPull(image);
    }
    let name =
        reference.tag.as_ref().map_or(reference.repository.clone(), |tag| format!("{}:{tag}", reference.repository));
    PullError::NotFound {
        image,
        hint: format!(" in the built-in image store; push it with `coracle push FILE.wasm {name}`"),
    }
}
