//! From what a pod spec calls an image to a component, or a folder of files, on disk.
//!
//! ```text
//! reference ─ comes with the program ───────────────────┐
//!           ├ coracle.local → the index ────────────────┤
//!           └ elsewhere ─ here already? ─ yes ──────────┼→ manifest → component (unpacked, wrapped: once per manifest)
//!                         └ no → mirror, registry → blobs ┘           └→ files (unpacked: once per manifest)
//! ```
//!
//! An image that came with somebody's credentials is here for those alone who have such credentials too; others ask the
//! registry again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::layers::{Layer, Tree, UNPACKED_BYTES_MAX};
use crate::manifest::{ContentError, Descriptor, Look, Manifest, choose, look, other_image};
use crate::store::blocking;
use crate::{Credentials, Digest, ImageStore, Reference, StoreError, origin, to_component};

mod error;
#[cfg(test)]
mod guarded;
#[cfg(test)]
mod tests;
mod transfer;

pub use error::PullError;

/// The largest blob that is pulled or pushed.
pub(crate) const BLOB_BYTES_MAX: u64 = 1 << 30;
/// The largest Wasm file in an archive.
const WASM_BYTES_MAX: u64 = 512 << 20;

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

/// What an image is wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To run the component in it. An image that cannot hold one is refused before its layers are fetched.
    #[default]
    Component,
    /// To read its files.
    Files,
}

/// An image whose parts are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its name.
    pub reference: Reference,
    /// The manifest's digest.
    pub digest: Digest,
    /// The bytes of its layers.
    pub size: u64,
    /// What it took.
    pub pulled: Pulled,
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

/// The files of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    /// The folder that holds them. They may be read and never written; the folder stays as long as the image is in use.
    pub folder: PathBuf,
    /// `REGISTRY/REPOSITORY@DIGEST`
    pub id: String,
    /// The manifest's digest.
    pub digest: Digest,
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
        /// The same with the time for which others came first.
        waited: Duration,
    },
}

impl ImageStore {
    /// Finds the image that `reference` names, pulls it when `policy` says so, and unpacks its component.
    ///
    /// # Errors
    /// Why the image is not here, or cannot run.
    pub async fn resolve(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &Credentials,
    ) -> Result<Resolved, PullError> {
        let fetched = self.fetch(reference, policy, credentials, Purpose::Component).await?;
        self.component(&fetched).await
    }

    /// Finds the image that `reference` names, and pulls it when `policy` says so.
    ///
    /// # Errors
    /// Why the image is not here.
    pub async fn fetch(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &Credentials,
        purpose: Purpose,
    ) -> Result<Fetched, PullError> {
        let reference: Reference = reference.parse()?;
        let (digest, pulled) = if let Some(digest) = self.fetch_builtin(&reference).await? {
            (digest, Pulled::AlreadyPresent)
        } else if reference.is_local() {
            let origin = self.inner.origin.get().filter(|_| policy != PullPolicy::Never);
            if let Some(origin) = origin
                && !origin::mirror(self, origin, &reference).await?
            {
                return Err(not_pushed(&reference, policy));
            }
            let found = self.find_local(&reference).ok_or_else(|| not_pushed(&reference, policy))?;
            (found, Pulled::AlreadyPresent)
        } else {
            self.find_or_pull(&reference, policy, credentials, purpose).await?
        };
        self.note_use(&digest);
        let size = self.cached_size(&digest);
        Ok(Fetched { reference, digest, size, pulled })
    }

    /// The component of an image: unpacked, and wrapped when it is a core module. That is done once.
    ///
    /// # Errors
    /// What the image holds instead.
    pub async fn component(&self, fetched: &Fetched) -> Result<Resolved, PullError> {
        let made = self.make_component(fetched).await;
        self.forget_broken(fetched, made).await
    }

    /// An image that turns out to be nothing is not kept under its name: whoever publishes a better one under the same name
    /// is heard without anybody's help.
    async fn forget_broken<T>(&self, fetched: &Fetched, made: Result<T, PullError>) -> Result<T, PullError> {
        if matches!(made, Err(PullError::Content { .. } | PullError::Wasm { .. })) && !fetched.reference.is_local() {
            let (store, name, digest) = (self.clone(), fetched.reference.to_string(), fetched.digest.clone());
            let forget = move |index: &mut crate::store::Index| {
                if index.pulled.get(&name) == Some(&digest) {
                    index.pulled.remove(&name);
                }
            };
            blocking(move || store.change(forget))
                .await
                .map_err(|error| PullError::store(&fetched.reference, error))?;
        }
        made
    }

    async fn make_component(&self, fetched: &Fetched) -> Result<Resolved, PullError> {
        let Fetched { reference, digest, pulled, .. } = fetched;
        if let Some(resolved) = self.unpacked(reference, digest, *pulled) {
            return Ok(resolved);
        }
        let _one_at_a_time = self.gate(&format!("unpack {digest}")).await;
        if self.unpacked(reference, digest, *pulled).is_none() {
            let (store, image, manifest) = (self.clone(), reference.clone(), digest.clone());
            blocking(move || store.unpack(&image, &manifest)).await?;
        }
        self.unpacked(reference, digest, *pulled)
            .ok_or_else(|| PullError::store(reference, "the component vanished from the image store"))
    }

    /// The files of an image that was fetched for [`Purpose::Files`], in a folder of their own. That is done once.
    ///
    /// # Errors
    /// Why its layers cannot be read.
    pub async fn files(&self, fetched: &Fetched) -> Result<ImageFiles, PullError> {
        let Fetched { reference, digest, .. } = fetched;
        let folder = self.unpacked_dir().join(digest.hex());
        let _one_at_a_time = self.gate(&format!("files {digest}")).await;
        if !folder.is_dir() {
            let (store, image, manifest, place) = (self.clone(), reference.clone(), digest.clone(), folder.clone());
            let written = blocking(move || store.write_files(&image, &manifest, &place)).await;
            self.forget_broken(fetched, written).await?;
        }
        Ok(ImageFiles { folder, id: reference.at(digest), digest: digest.clone() })
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
        purpose: Purpose,
    ) -> Result<(Digest, Pulled), PullError> {
        let name = reference.to_string();
        let here = || self.index().pulled.get(&name).cloned().filter(|digest| self.is_whole(digest, purpose));
        if policy != PullPolicy::Always
            && let Some(digest) = here()
        {
            match (self.is_allowed(&digest, reference, credentials), policy) {
                (true, _) => return Ok((digest, Pulled::AlreadyPresent)),
                (false, PullPolicy::Never) => return Err(PullError::NotAllowed(name)),
                (false, _) => {}
            }
        }
        if policy == PullPolicy::Never {
            return Err(PullError::NeverPull(name));
        }
        let began = Instant::now();
        let _turn = self.gate(&name).await;
        // Somebody else may have pulled it while this one waited.
        if policy == PullPolicy::IfNotPresent
            && let Some(digest) = here().filter(|digest| self.is_allowed(digest, reference, credentials))
        {
            return Ok((digest, Pulled::Fetched { took: Duration::ZERO, waited: began.elapsed() }));
        }
        let _seats = self.inner.pulls.seat(&reference.registry).await;
        let started = Instant::now();
        let digest = transfer::pull(self, reference, credentials, purpose).await?;
        Ok((digest, Pulled::Fetched { took: started.elapsed(), waited: began.elapsed() }))
    }

    /// Whether an image that came with credentials may be used with these.
    fn is_allowed(&self, digest: &Digest, image: &Reference, credentials: &Credentials) -> bool {
        let index = self.index();
        let Some(allowed) = index.holders.get(&image.at(digest)) else { return true };
        credentials.matching(image).iter().any(|credential| allowed.contains(&credential.fingerprint()))
    }

    pub(crate) fn unpacked(&self, reference: &Reference, digest: &Digest, pulled: Pulled) -> Option<Resolved> {
        let component = self.index().components.get(digest)?.clone();
        let path = self.blob_path(&component);
        let size = std::fs::metadata(&path).ok()?.len();
        Some(Resolved {
            reference: reference.to_string(),
            id: reference.at(digest),
            digest: digest.clone(),
            component,
            path,
            size,
            pulled,
        })
    }

    /// Whether all that `purpose` needs of a manifest is here. Blocks for a moment.
    fn is_whole(&self, digest: &Digest, purpose: Purpose) -> bool {
        if purpose == Purpose::Component && self.index().components.get(digest).is_some_and(|found| self.has(found)) {
            return true;
        }
        let Ok((config, layers)) = self.image_of(digest) else { return false };
        wanted(config.as_ref(), &layers, purpose).is_ok_and(|wanted| wanted.iter().all(|part| self.has(&part.digest)))
    }

    /// Config and layers of a manifest, or of that which an index has for us. Blocks.
    fn image_of(&self, digest: &Digest) -> Result<(Option<Descriptor>, Vec<Descriptor>), ImageOfError> {
        match Manifest::parse(&self.read(digest)?)? {
            Manifest::Image { config, layers } => Ok((config, layers)),
            Manifest::Index(manifests) => match Manifest::parse(&self.read(&choose(&manifests)?.digest)?)? {
                Manifest::Image { config, layers } => Ok((config, layers)),
                Manifest::Index(_) => Err(ContentError::Manifest("an index that names an index".to_owned()).into()),
            },
        }
    }

    /// Finds the Wasm file of a manifest whose blobs are here, makes it a component and remembers which. Blocks.
    fn unpack(&self, image: &Reference, digest: &Digest) -> Result<(), PullError> {
        let wasm = self.wasm_of(image, digest)?;
        let component = to_component(&wasm).map_err(|why| PullError::Wasm { image: image.to_string(), why })?;
        let component = component.as_deref().unwrap_or(&wasm);
        let kept = self.put(component).map_err(|error| PullError::store(image, error))?;
        let remembered = self.change(|index| index.components.insert(digest.clone(), kept));
        remembered.map(drop).map_err(|error| match error {
            StoreError::ManifestInvalid(why) => PullError::content(image, ContentError::Manifest(why)),
            other => PullError::store(image, other),
        })
    }

    fn wasm_of(&self, image: &Reference, digest: &Digest) -> Result<bytes::Bytes, PullError> {
        let (config, layers) = self.image_of(digest).map_err(|error| error.of(image))?;
        let layers = match look(config.as_ref(), &layers).map_err(|why| PullError::content(image, why))? {
            Look::Layer(layer) => {
                let bytes = self.read(&layer.digest).map_err(|error| PullError::store(image, error))?;
                // What is compressed is looked into, whatever its type says.
                if !bytes.starts_with(b"\x1f\x8b") && !bytes.starts_with(b"\x28\xb5\x2f\xfd") {
                    return Ok(bytes);
                }
                std::slice::from_ref(layer)
            }
            Look::Inside(layers) => layers,
        };
        let broken = |(layer, why)| PullError::content(image, ContentError::Layer(layer, why));
        let tree = Tree::read(self.layers_of(layers), UNPACKED_BYTES_MAX).map_err(broken)?;
        let files = tree.wasm();
        let path = match files.as_slice() {
            [] => return Err(PullError::content(image, other_image(config.as_ref(), layers))),
            [only] => *only,
            several => {
                let named = self.entrypoint(config.as_ref());
                let chosen = several.iter().find(|path| named.iter().any(|name| name == *path));
                *chosen.ok_or_else(|| PullError::content(image, ContentError::Several(several.len())))?
            }
        };
        tree.file(path, WASM_BYTES_MAX).map(Into::into).map_err(broken)
    }

    /// What the config of a Docker-style image starts, as paths in the image.
    fn entrypoint(&self, config: Option<&Descriptor>) -> Vec<String> {
        let bytes = config.and_then(|config| self.read(&config.digest).ok()).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        ["/config/Entrypoint", "/config/Cmd"]
            .iter()
            .filter_map(|field| config.pointer(field)?.get(0)?.as_str())
            .map(|path| path.trim_start_matches("./").trim_start_matches('/').to_owned())
            .collect()
    }

    fn layers_of(&self, layers: &[Descriptor]) -> Vec<Layer> {
        let layer = |layer: &Descriptor| Layer {
            digest: layer.digest.clone(),
            path: self.blob_path(&layer.digest),
            title: layer.title().map(str::to_owned),
            is_archive: layer.media_type.contains(".tar") || layer.media_type.contains("+tar"),
        };
        layers.iter().map(layer).collect()
    }

    fn write_files(&self, image: &Reference, digest: &Digest, place: &std::path::Path) -> Result<(), PullError> {
        let (_, layers) = self.image_of(digest).map_err(|error| error.of(image))?;
        let broken = |(layer, why)| PullError::content(image, ContentError::Layer(layer, why));
        let tree = Tree::read(self.layers_of(&layers), UNPACKED_BYTES_MAX).map_err(broken)?;
        let temporary = self.temporary_path("files");
        let disk = |error: std::io::Error| PullError::store(image, error);
        std::fs::create_dir_all(&temporary).map_err(disk)?;
        let written = tree.write(&temporary).map_err(broken);
        let kept = written.and_then(|()| {
            std::fs::create_dir_all(self.unpacked_dir()).map_err(disk)?;
            std::fs::rename(&temporary, place).map_err(disk)
        });
        if kept.is_err() {
            let _ = std::fs::remove_dir_all(&temporary);
        }
        kept
    }
}

/// Why a manifest that is here says nothing about layers.
#[derive(Debug, Error)]
enum ImageOfError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl ImageOfError {
    fn of(self, image: &Reference) -> PullError {
        match self {
            Self::Io(error) => PullError::store(image, error),
            Self::Content(why) => PullError::content(image, why),
        }
    }
}

/// The parts of an image that have to be here for a purpose.
fn wanted<'a>(
    config: Option<&'a Descriptor>,
    layers: &'a [Descriptor],
    purpose: Purpose,
) -> Result<Vec<&'a Descriptor>, ContentError> {
    let layers: Vec<&Descriptor> = match purpose {
        Purpose::Files => layers.iter().collect(),
        Purpose::Component => match look(config, layers)? {
            Look::Layer(layer) => return Ok(vec![layer]),
            Look::Inside(layers) => layers.iter().collect(),
        },
    };
    Ok(config.into_iter().chain(layers).collect())
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
