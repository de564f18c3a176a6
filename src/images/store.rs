//! Blobs by digest, and one index of what they are called.
//!
//! ```text
//! DIR/blobs/sha256/<hex>   manifests, configs, layers, components: written whole, checked when they enter
//! DIR/index.json           tags, manifests, what was pulled, which component is in which image
//! DIR/uploads/             half of something; emptied when the store is opened
//! ```
//!
//! *Guarantees*: a blob that is there is whole and has its digest; the index on disk is one that was whole; a push that
//! returned survives a power cut.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base::files::{Access, write_atomically};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::artifact::{self, Artifact};
use crate::collect::Users;
use crate::gates::{Pulls, Registries};
use crate::manifest::{Descriptor, Manifest, choose};
use crate::reference::{is_repository, is_tag};
use crate::{Digest, LOCAL_REGISTRY, Origin, WasmError};

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("cannot use the image folder {}: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index is not what this program wrote.
    #[error("the image index {} is damaged: {why}; move the folder away and push the images again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        why: String,
    },
}

/// Why the store could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk.
    #[error("cannot write to the image store: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not what their digest says.
    #[error("the content has digest {found} and not {expected}")]
    DigestMismatch {
        /// What was said.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A manifest names a blob that is not here.
    #[error("the manifest names a blob that was not pushed: {0}")]
    BlobUnknown(Digest),
    /// Somebody else names the blob.
    #[error("blob {0} is part of an image; delete the manifests that name it")]
    InUse(Digest),
    /// A manifest is none.
    #[error("not a manifest: {0}")]
    ManifestInvalid(String),
}

/// Why an image was not pushed.
#[derive(Debug, Error)]
pub enum PushError {
    /// The file is no component.
    #[error(transparent)]
    Wasm(#[from] WasmError),
    /// The name is none.
    #[error(
        "{0:?} cannot name an image: use lower-case letters and digits, separated by '.', '_', '-' and '/', and a tag of up to 128 letters and digits"
    )]
    Name(String),
    /// The store cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image of the store, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `coracle.local/hello:latest`
    pub reference: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The bytes of its layers.
    pub size: u64,
}

/// The content store. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    dir: PathBuf,
    index: RwLock<Arc<Index>>,
    /// Held by whoever changes the index, so that file and memory change in the same order.
    writing: Mutex<()>,
    /// One at a time for each thing that is pulled or unpacked.
    pub(crate) gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) pulls: Pulls,
    /// When manifests were used last, in seconds since 1970.
    pub(crate) used: Mutex<HashMap<Digest, u64>>,
    sizes: Mutex<HashMap<Digest, u64>>,
    temporaries: AtomicU64,
    pub(crate) users: OnceLock<Arc<dyn Users>>,
    pub(crate) artifacts: OnceLock<crate::Artifacts>,
    pub(crate) uploads: crate::registry::Uploads,
    /// Where the built-in registry lies, if not here.
    pub(crate) origin: OnceLock<Arc<dyn Origin>>,
    /// What comes with the program.
    pub(crate) builtin: OnceLock<Vec<Arc<crate::Builtin>>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    /// The built-in registry, by repository.
    #[serde(default)]
    pub repositories: BTreeMap<String, Repository>,
    /// What was pulled from elsewhere: whole reference → manifest.
    #[serde(default)]
    pub pulled: BTreeMap<String, Digest>,
    /// Manifest → its component.
    #[serde(default)]
    pub components: BTreeMap<Digest, Digest>,
    /// `REGISTRY/REPOSITORY@DIGEST` → whose credentials it came with. What anybody may pull is not in here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<String, BTreeSet<String>>,
    /// Manifest → when it came, in seconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub since: BTreeMap<Digest, u64>,
    /// The name of a composition → its component and the components that it was made of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub composed: BTreeMap<Digest, Composed>,
}

/// A component made of others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Composed {
    pub component: Digest,
    pub parts: Vec<Digest>,
}

const INDEX_VERSION: u32 = 1;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Repository {
    #[serde(default)]
    pub tags: BTreeMap<String, Digest>,
    /// Manifest → media type.
    #[serde(default)]
    pub manifests: BTreeMap<Digest, String>,
}

impl ImageStore {
    /// Opens the store in `dir`, which is made when missing. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be used or its index is damaged.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, Registries::default())
    }

    /// As [`ImageStore::open`], with mirrors and bounds of one's own. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be used or its index is damaged.
    pub fn open_with(dir: &Path, registries: Registries) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir.join("blobs/sha256")).map_err(failed)?;
        let uploads = dir.join("uploads");
        match std::fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::create_dir_all(&uploads).map_err(failed)?;
        let path = dir.join("index.json");
        let index = match std::fs::read(&path) {
            Ok(bytes) => {
                let index: Index = serde_json::from_slice(&bytes)
                    .map_err(|error| OpenError::Damaged { path: path.clone(), why: error.to_string() })?;
                if index.version > INDEX_VERSION {
                    let why = format!("version {} is newer than this program knows ({INDEX_VERSION})", index.version);
                    return Err(OpenError::Damaged { path, why });
                }
                index
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Index { version: INDEX_VERSION, ..Index::default() }
            }
            Err(error) => return Err(failed(error)),
        };
        let inner = Inner {
            dir: dir.to_owned(),
            index: RwLock::new(Arc::new(index)),
            writing: Mutex::default(),
            gates: Mutex::default(),
            pulls: Pulls::new(registries),
            used: Mutex::default(),
            sizes: Mutex::default(),
            temporaries: AtomicU64::new(0),
            users: OnceLock::new(),
            artifacts: OnceLock::new(),
            uploads: crate::registry::Uploads::default(),
            origin: OnceLock::new(),
            builtin: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Says where the built-in registry lies, when that is another process. The first call counts.
    pub fn set_origin(&self, origin: Arc<dyn Origin>) {
        let _ = self.inner.origin.set(origin);
    }

    /// Puts a component (or a core module, which becomes one) under `coracle.local/REPOSITORY:TAG` and returns the
    /// image's digest.
    ///
    /// # Errors
    /// When the bytes are no Wasm that can run here, the name is none, or the disk refuses.
    pub async fn push(&self, repository: &str, tag: &str, bytes: Bytes) -> Result<Digest, PushError> {
        if !is_repository(repository) || !is_tag(tag) {
            return Err(PushError::Name(format!("{repository}:{tag}")));
        }
        let (store, repository, tag) = (self.clone(), repository.to_owned(), tag.to_owned());
        blocking(move || {
            let artifact = Artifact::from_wasm(bytes)?;
            store.keep(&artifact)?;
            let digest = artifact.manifest.digest;
            store.change(|index| {
                let repository = index.repositories.entry(repository).or_default();
                repository.manifests.insert(digest.clone(), artifact::MANIFEST.to_owned());
                repository.tags.insert(tag, digest.clone());
                index.components.insert(digest.clone(), artifact.layer.digest.clone());
                index.since.entry(digest.clone()).or_insert_with(unix_now);
            })?;
            Ok(digest)
        })
        .await
    }

    /// All tagged images, the built-in registry's first, then what was pulled from elsewhere.
    pub fn list(&self) -> Vec<Image> {
        let index = self.index();
        let local = index.repositories.iter().flat_map(|(name, repository)| {
            repository.tags.iter().map(move |(tag, digest)| (format!("{LOCAL_REGISTRY}/{name}:{tag}"), digest))
        });
        let pulled = index.pulled.iter().map(|(reference, digest)| (reference.clone(), digest));
        local
            .chain(pulled)
            .map(|(reference, digest)| Image { reference, digest: digest.clone(), size: self.cached_size(digest) })
            .collect()
    }

    /// Where the bytes of a blob (a component, say) lie. They are whole if the file is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.inner.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Reads a whole blob. Blocks.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn read(&self, digest: &Digest) -> io::Result<Bytes> {
        std::fs::read(self.blob_path(digest)).map(Bytes::from)
    }

    /// Whether a blob is there; if so, it counts as new to those who clean up. Blocks for a moment.
    pub(crate) fn freshen(&self, digest: &Digest) -> bool {
        match std::fs::File::options().append(true).open(self.blob_path(digest)) {
            Ok(file) => {
                let _ = file.set_modified(SystemTime::now());
                true
            }
            Err(_) => self.has(digest),
        }
    }

    /// Whether a blob is there. Blocks for a moment.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    pub(crate) fn uploads_dir(&self) -> PathBuf {
        self.inner.dir.join("uploads")
    }

    pub(crate) fn blobs_dir(&self) -> PathBuf {
        self.inner.dir.join("blobs/sha256")
    }

    pub(crate) fn unpacked_dir(&self) -> PathBuf {
        self.inner.dir.join("unpacked")
    }

    /// A path that nobody else uses, for what is not whole yet.
    pub(crate) fn temporary_path(&self, what: &str) -> PathBuf {
        let number = self.inner.temporaries.fetch_add(1, Ordering::Relaxed);
        self.uploads_dir().join(format!("{what}-{number}"))
    }

    /// Notes that an image is used now, for those who decide what goes.
    pub(crate) fn note_use(&self, manifest: &Digest) {
        self.inner.used.lock().insert(manifest.clone(), unix_now());
    }

    /// The bytes of a manifest's layers, read once.
    pub(crate) fn cached_size(&self, manifest: &Digest) -> u64 {
        if let Some(size) = self.inner.sizes.lock().get(manifest) {
            return *size;
        }
        let size = self.size_of(manifest);
        self.inner.sizes.lock().insert(manifest.clone(), size);
        size
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        self.inner.index.read().clone()
    }

    /// Keeps a blob under its digest. Blocks.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.freshen(&digest) {
            write_atomically(&self.blob_path(&digest), bytes, Access::Private)?;
        }
        Ok(digest)
    }

    pub(crate) fn keep(&self, artifact: &Artifact) -> Result<(), StoreError> {
        for blob in [&artifact.config, &artifact.layer, &artifact.manifest] {
            self.put(&blob.bytes)?;
        }
        Ok(())
    }

    /// Keeps a manifest that everything it names is there for. Blocks.
    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, StoreError> {
        let manifest = Manifest::parse(bytes).map_err(|error| StoreError::ManifestInvalid(error.to_string()))?;
        // What is named from now on is not swept away in the moment between this look and the entry in the index.
        if let Some(missing) = manifest.references().find(|blob| !self.freshen(&blob.digest)) {
            return Err(StoreError::BlobUnknown(missing.digest.clone()));
        }
        let digest = self.put(bytes)?;
        self.change(|index| {
            let repository = index.repositories.entry(repository.to_owned()).or_default();
            repository.manifests.insert(digest.clone(), media_type.to_owned());
            index.since.entry(digest.clone()).or_insert_with(unix_now);
            if let Some(tag) = tag {
                repository.tags.insert(tag.to_owned(), digest.clone());
            }
        })?;
        Ok(digest)
    }

    /// Changes the index, on disk and then in memory. Blocks.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> Result<T, StoreError> {
        let _writing = self.inner.writing.lock();
        let mut index = (*self.index()).clone();
        let result = change(&mut index);
        let bytes = serde_json::to_vec(&index).map_err(io::Error::from)?;
        write_atomically(&self.inner.dir.join("index.json"), &bytes, Access::Private)?;
        *self.inner.index.write() = Arc::new(index);
        Ok(result)
    }

    fn size_of(&self, digest: &Digest) -> u64 {
        let manifest = self.read(digest).ok().and_then(|bytes| Manifest::parse(&bytes).ok());
        let size = |layers: &[Descriptor]| layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
        match manifest {
            Some(Manifest::Image { layers, .. }) => size(&layers),
            Some(Manifest::Index(manifests)) => {
                choose(&manifests).map_or(0, |chosen| match self.read(&chosen.digest) {
                    Ok(bytes) => match Manifest::parse(&bytes) {
                        Ok(Manifest::Image { layers, .. }) => size(&layers),
                        _ => 0,
                    },
                    Err(_) => 0,
                })
            }
            None => 0,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Only a panic in `work` or the end of the runtime lead here; both are the caller's to see.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
