//! Where the stores of this node lie, and which are open, for all containers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::capabilities::keyvalue::Database;

/// The node's stores.
#[derive(Default)]
pub(crate) struct Stores {
    folder: Option<PathBuf>,
    databases: Mutex<HashMap<PathBuf, Weak<Database>>>,
}

impl Stores {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, ..Self::default() }
    }

    /// The folder of one kind of stores.
    pub fn folder(&self, kind: &str) -> Result<PathBuf, String> {
        let folder = self.folder.as_deref().map(|folder: &Path| folder.join(kind));
        folder.ok_or_else(|| "this node keeps no stores of its own".to_owned())
    }

    /// The database at `path`, which `open` opens unless it is open. Others wait while it does: a file is opened once.
    pub fn database<E>(&self, path: &Path, open: impl FnOnce() -> Result<Database, E>) -> Result<Arc<Database>, E> {
        let mut databases = self.databases.lock();
        if let Some(found) = databases.get(path).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let opened = Arc::new(open()?);
        databases.retain(|_, other| other.strong_count() > 0);
        databases.insert(path.to_owned(), Arc::downgrade(&opened));
        Ok(opened)
    }
}
