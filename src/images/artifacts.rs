//! The cache of compiled components.
//!
//! Compiling costs from milliseconds to tens of seconds of a core, so it happens once for each component, form and engine,
//! whoever asks and however many, on few threads of low priority. A compiled file is loaded as native code: the folder is
//! private, a file appears in it whole or not at all, and nothing but the compiler's output ever enters.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base::files::{Access, write_atomically};
use base::os::{Urgency, set_thread_urgency};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::{OwnedMutexGuard, Semaphore};

use crate::Digest;

/// What the cache may hold on disk; the files that were used longest ago go first.
const CACHE_BYTES_MAX: u64 = 8 << 30;

/// Why there is no compiled file.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// The component does not compile; trying again does not help.
    #[error("{0}")]
    Compile(String),
    /// The disk refused.
    #[error("the compile cache cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compiler's thread failed.
    #[error("compiling failed: {0}")]
    Panicked(String),
}

/// Compiled components on disk. Cheap to clone.
#[derive(Clone)]
pub struct Artifacts {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    /// One compilation at a time: it uses several cores itself.
    compiler: Arc<Semaphore>,
    running: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl Artifacts {
    /// Opens the cache in `folder`, which is made private.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, ArtifactError> {
        base::files::private_folder(folder).map_err(|source| ArtifactError::Io { path: folder.to_owned(), source })?;
        let inner =
            Inner { folder: folder.to_owned(), compiler: Arc::new(Semaphore::new(1)), running: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The compiled form of `component`, whose bytes lie at `source`, for the engine that `engine_key` names.
    ///
    /// # Errors
    /// [`ArtifactError::Compile`] with the compiler's words.
    pub async fn get_or_compile<E: std::error::Error>(
        &self,
        component: &Digest,
        source: &Path,
        engine_key: &str,
        compile: impl FnOnce(&[u8]) -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Result<PathBuf, ArtifactError> {
        let path = self.path(component, engine_key);
        if is_there(&path) {
            return Ok(path);
        }
        let gate = Arc::clone(self.inner.running.lock().entry(path.clone()).or_default());
        let one_for_each = gate.lock_owned().await;
        if is_there(&path) {
            return Ok(path);
        }
        let outcome = self.compile(source.to_owned(), path.clone(), compile, one_for_each).await;
        self.inner.running.lock().retain(|_, gate| Arc::strong_count(gate) > 1);
        outcome.map(|()| path)
    }

    /// The engine's key may hold anything, so its hash stands in the name.
    fn path(&self, component: &Digest, engine_key: &str) -> PathBuf {
        let engine = hex::encode(Sha256::digest(engine_key).get(..8).unwrap_or_default());
        self.inner.folder.join(format!("{}-{engine}.cwasm", component.hex()))
    }

    async fn compile<E: std::error::Error>(
        &self,
        source: PathBuf,
        path: PathBuf,
        compile: impl FnOnce(&[u8]) -> Result<Vec<u8>, E> + Send + 'static,
        one_for_each: OwnedMutexGuard<()>,
    ) -> Result<(), ArtifactError> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.inner.compiler).acquire_owned().await;
        let folder = self.inner.folder.clone();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A thread of its own: its low priority must not stay with a pooled thread.
        let thread = std::thread::Builder::new().name("compile".to_owned()).spawn(move || {
            set_thread_urgency(Urgency::Bulk);
            let outcome = compile_to(&source, &path, compile);
            if outcome.is_ok() {
                shrink(&folder, CACHE_BYTES_MAX);
            }
            // Whoever asked may have gone away; the file stays for the next.
            let _ = sender.send(outcome);
            // Held by the thread and not by whoever asked, who may go away long before it ends.
            drop((one_for_each, permit));
        });
        thread.map_err(|source| ArtifactError::Io { path: self.inner.folder.clone(), source })?;
        receiver.await.unwrap_or_else(|_| Err(ArtifactError::Panicked("its thread ended".to_owned())))
    }
}

fn compile_to<E: std::error::Error>(
    source: &Path,
    path: &Path,
    compile: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<(), ArtifactError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ArtifactError::Io { path, source }
    };
    let component = std::fs::read(source).map_err(failed(source))?;
    let compiled = compile(&component).map_err(|error| ArtifactError::Compile(base::report(&error)))?;
    write_atomically(path, &compiled, Access::Private).map_err(failed(path))
}

/// Whether the file is there; its use is noted for [`shrink`].
fn is_there(path: &Path) -> bool {
    match std::fs::File::options().append(true).open(path) {
        Ok(file) => {
            // A file system that keeps no times only makes the choice of what goes less good.
            let _ = file.set_modified(SystemTime::now());
            true
        }
        Err(_) => false,
    }
}

/// Deletes the files that were used longest ago until the rest fits. A file that is mapped lives on until it is unmapped.
fn shrink(folder: &Path, bytes_max: u64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "cwasm"))
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some((data.modified().ok()?, data.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= bytes_max {
            return;
        }
        if std::fs::remove_file(path).is_ok() {
            total = total.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_compile_once() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("component");
        std::fs::write(&source, b"component").unwrap();
        let artifacts = Artifacts::open(&folder.path().join("cache")).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (artifacts, source, count) = (artifacts.clone(), source.clone(), Arc::clone(&count));
            async move {
                let compile = move |bytes: &[u8]| {
                    count.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, io::Error>(bytes.to_vec())
                };
                artifacts.get_or_compile(&Digest::of(b"component"), &source, "engine", compile).await.unwrap()
            }
        };
        let paths = futures::future::join_all((0..8).map(|_| ask())).await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert_eq!(std::fs::read(&paths[0]).unwrap(), b"component");
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, seconds) in [("old", 1), ("new", 2)] {
            let path = folder.path().join(format!("{name}.cwasm"));
            std::fs::write(&path, [0; 10]).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        shrink(folder.path(), 10);
        assert!(!folder.path().join("old.cwasm").exists() && folder.path().join("new.cwasm").exists());
    }
}
