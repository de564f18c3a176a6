//! Files of a volume at which nobody has looked yet.
//!
//! Most pods never look at their token. The files of a volume whose content is given are kept in memory until a guest opens its
//! volumes: a pod that is idle has none on the disk, and file systems are slow where thousands of small files come and go.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::Making;
use parking_lot::Mutex;

use super::content::Files;
use super::payload;

/// The files, as long as they are not written.
pub(super) struct Pending {
    dir: PathBuf,
    files: Mutex<Option<Files>>,
}

impl Pending {
    /// Files for the volume at `dir`.
    pub fn new(dir: PathBuf, files: Files) -> Arc<Self> {
        Arc::new(Self { dir, files: Mutex::new(Some(files)) })
    }

    /// Writes them, unless they are written. Blocks for a moment.
    pub fn make(&self) -> io::Result<()> {
        let mut files = self.files.lock();
        if let Some(unwritten) = files.as_ref() {
            payload::write(&self.dir, unwritten)?;
            *files = None;
        }
        Ok(())
    }

    /// The same for whoever mounts the volume.
    pub fn making(self: &Arc<Self>) -> Making {
        let pending = Arc::clone(self);
        Making::new(move || pending.make())
    }

    /// Others take their place, unless they are written: then those are given back.
    pub fn replace(&self, others: Files) -> Result<(), Files> {
        match &mut *self.files.lock() {
            Some(files) => {
                *files = others;
                Ok(())
            }
            None => Err(others),
        }
    }

    /// One that is not written.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.files.lock().as_ref()?.get(path)?.bytes.clone())
    }
}
