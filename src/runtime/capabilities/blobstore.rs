//! `wasi:blobstore`: containers of objects that the pod spec names: kept by this node, in one of the container's volumes, or by
//! a server that speaks S3.
//!
//! An object is written to a file beside the store first and appears whole, when the guest has finished it.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use wasmtime::component::Linker;

use super::{Capability, Grant};
use crate::container::Container;
use crate::guest::Guest;
use crate::spec::Place;

mod folder;
mod host;
mod s3;
mod spool;

pub(super) const ROW: Capability = Capability {
    name: "blobstore",
    interfaces: &["wasi:blobstore/"],
    grant: Grant::Asked {
        granted: |grants| !grants.blobstore.is_empty(),
        annotation: "coracle.dev/blobstore: \"NAME\"",
    },
    link,
    link_next: None,
};

/// A longer object is refused while it is written.
const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// What may be read at once, into the guest's memory.
const SYNC_BYTES_MAX: u64 = 64 << 20;
/// A longer name is none.
const NAME_BYTES_MAX: usize = 1024;

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    host::link(linker)
}

/// What is known about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    size: u64,
    changed: SystemTime,
}

/// An object's bytes on their way.
pub(crate) struct Content {
    size: u64,
    bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

/// Names of objects, and after which the next ones come.
type Names = (Vec<String>, Option<String>);

/// A container of objects. Errors are the interface's: sentences.
#[async_trait]
pub(crate) trait Blobs: Send + Sync {
    async fn info(&self, name: &str) -> Result<Option<Info>, String>;
    /// The bytes from `start` to `end`, both inclusive, as far as there are any.
    async fn read(&self, name: &str, start: u64, end: u64) -> Result<Content, String>;
    /// Puts a file's content in an object's place.
    async fn write(&self, name: &str, content: spool::Whole) -> Result<(), String>;
    async fn delete(&self, name: &str) -> Result<(), String>;
    async fn list(&self, after: Option<String>) -> Result<Names, String>;
}

/// Containers of objects that are open.
pub(crate) type OpenBlobs = parking_lot::Mutex<std::collections::BTreeMap<String, Arc<dyn Blobs>>>;

/// Opens what the container's spec calls `name`.
async fn open(container: &Arc<Container>, name: &str) -> Result<Arc<dyn Blobs>, String> {
    let granted = container.spec.grants.blobstore.get(name);
    let place = granted.ok_or_else(|| {
        format!("this container is not granted {name:?}; name it in the annotation coracle.dev/blobstore")
    })?;
    if let Some(open) = container.blobstore.lock().get(name) {
        return Ok(Arc::clone(open));
    }
    let opened: Arc<dyn Blobs> = match place {
        Place::Embedded { scope } => {
            let path = container.stores.folder("blobstore")?.join(scope).join(name);
            Arc::new(folder::Folder::embedded(path).await?)
        }
        Place::Mounted(path) => {
            let mount = container.spec.mounts.iter().find(|mount| mount.guest_path == *path);
            Arc::new(folder::Folder::mounted(mount.ok_or_else(|| format!("no volume is mounted at {path}"))?)?)
        }
        Place::Remote { url, user, password } => Arc::new(s3::S3::new(container, url, user, password)?),
    };
    let mut open = container.blobstore.lock();
    Ok(Arc::clone(open.entry(name.to_owned()).or_insert(opened)))
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if plain && name.len() <= NAME_BYTES_MAX && !name.contains(['\\', '\0']) {
        return Ok(());
    }
    Err(format!("{name:?} is no name of an object: parts with / between them, at most {NAME_BYTES_MAX} bytes"))
}
