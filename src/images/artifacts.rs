//! The cache of compiled components.
//!
//! Compiling costs from milliseconds to tens of seconds of a core, so it happens once for each component, form and engine,
//! whoever asks and however many, on few threads of low priority. Namespaces take turns, small components have a lane of their
//! own beside large ones, what nobody waits for any more is given up, and what is refused once is refused at once from then on.
//!
//! A compiled file is loaded as native code: the folder is private, a file appears in it whole or not at all, nothing but the
//! compiler's output ever enters, and each file has a checksum beside it that is compared before its first use in a process.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use base::os::{Urgency, set_thread_urgency};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use crate::{Digest, ImageStore};

mod bounds;
mod files;
mod queue;
mod simple;

pub use bounds::{Bounds, BoundsError, TooComplex};
pub use files::Compiled;

use files::Files;
use queue::{Permit, Queue};

/// Components up to this size are compiled in a blink, and never behind larger ones, unless they are no simple ones.
const QUICK_BYTES_MAX: u64 = 512 << 10;
/// What the form of an order is called that is made in haste, to be replaced by a better one: it waits for no other.
pub const DRAFT: &str = "draft";
/// Refusals that are remembered.
const REFUSALS_MAX: usize = 4096;

/// Why there is no compiled file.
#[derive(Clone, Debug, Error)]
pub enum ArtifactError {
    /// The component does not compile; trying again does not help.
    #[error("{0}")]
    Compile(String),
    /// Compiling it would take, or took, more than is allowed.
    #[error("image too complex to compile: {0}")]
    TooComplex(#[from] TooComplex),
    /// The disk refused.
    #[error("the compile cache cannot use {}: {why}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The compiler failed, and may not the next time.
    #[error("compiling failed: {0}")]
    Failed(String),
}

impl ArtifactError {
    fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.to_owned(), why: error.to_string() }
    }

    /// Whether asking again gives the same answer.
    fn is_final(&self) -> bool {
        matches!(self, Self::Compile(_) | Self::TooComplex(_))
    }
}

/// What is to be compiled, and for which engine.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The component.
    pub component: &'a Digest,
    /// Where its bytes lie.
    pub source: &'a Path,
    /// What people call this way of compiling: lower-case letters.
    pub form: &'static str,
    /// Everything that the result depends on besides.
    pub engine_key: &'a str,
    /// Whose turn this takes: a namespace.
    pub owner: &'a str,
}

/// What a compiler is given.
pub struct Work {
    /// Where the component's bytes lie.
    pub source: PathBuf,
    /// They themselves.
    pub bytes: Vec<u8>,
    /// A file that nobody else uses, for a compiler in another process. It need not be used.
    pub scratch: PathBuf,
    /// How long it may take.
    pub until: Instant,
    /// The bounds that hold.
    pub bounds: Bounds,
    /// Whether it is so small and plain that compiling it takes a moment, as far as one sees.
    pub is_simple: bool,
    wanted: Weak<Job>,
}

impl Work {
    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        self.wanted.strong_count() == 0
    }
}

/// Compiled components on disk. Cheap to clone.
#[derive(Clone)]
pub struct Artifacts {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    bounds: Bounds,
    /// Small components.
    quick: Arc<Queue>,
    /// All others.
    heavy: Arc<Queue>,
    /// Those of [`DRAFT`], which must not wait for what they stand in for.
    drafts: Arc<Queue>,
    jobs: Mutex<HashMap<PathBuf, Weak<Job>>>,
    refusals: Mutex<HashMap<PathBuf, ArtifactError>>,
}

type Outcome = Option<Result<(), ArtifactError>>;

/// One compilation, and all who wait for it. It is given up when the last of them goes.
struct Job {
    started: tokio::sync::Mutex<Option<watch::Receiver<Outcome>>>,
}

impl Artifacts {
    /// Opens the cache in `folder`, which is made private.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, ArtifactError> {
        Self::open_with(folder, Bounds::default())
    }

    /// As [`Artifacts::open`], with bounds of one's own.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open_with(folder: &Path, bounds: Bounds) -> Result<Self, ArtifactError> {
        let files = Files::open(folder, bounds.cache_bytes).map_err(|error| ArtifactError::io(folder, &error))?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let inner = Inner {
            files,
            bounds,
            quick: Queue::new((cores / 2).max(1)),
            heavy: Queue::new((cores / 4).max(1)),
            drafts: Queue::new((cores / 4).max(1)),
            jobs: Mutex::default(),
            refusals: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The compiled file, if it is there and whole.
    pub fn find(&self, order: &Order<'_>) -> Option<PathBuf> {
        let path = self.inner.files.path(order);
        self.inner.files.is_good(&path).then_some(path)
    }

    /// The compiled form of a component. `compile` may block for as long as it takes.
    ///
    /// # Errors
    /// The compiler's words, or the bound that the component breaks.
    pub async fn get_or_compile(
        &self,
        order: Order<'_>,
        compile: impl FnOnce(&Work) -> Result<Vec<u8>, ArtifactError> + Send + 'static,
    ) -> Result<PathBuf, ArtifactError> {
        if let Some(found) = self.find(&order) {
            return Ok(found);
        }
        let path = self.inner.files.path(&order);
        if let Some(refusal) = self.inner.refusals.lock().get(&path) {
            return Err(refusal.clone());
        }
        let job = self.job(&path);
        let mut outcome = {
            let mut started = job.started.lock().await;
            match &*started {
                Some(outcome) => outcome.clone(),
                None => {
                    let outcome = self.start(&order, &path, &job, compile).await?;
                    started.insert(outcome).clone()
                }
            }
        };
        let ended = outcome.wait_for(Option::is_some).await;
        let ended = ended.map(|ended| ended.clone()).unwrap_or(None);
        ended.unwrap_or_else(|| Err(ArtifactError::Failed("its thread ended".to_owned()))).map(|()| path)
    }

    /// Throws a file away that turned out to be unusable.
    pub fn discard(&self, path: &Path) {
        self.inner.files.delete(path);
    }

    /// What is compiled, by component. Reads a folder.
    pub fn list(&self) -> HashMap<Digest, Vec<Compiled>> {
        self.inner.files.list()
    }

    fn job(&self, path: &Path) -> Arc<Job> {
        let mut jobs = self.inner.jobs.lock();
        if let Some(job) = jobs.get(path).and_then(Weak::upgrade) {
            return job;
        }
        jobs.retain(|_, job| job.strong_count() > 0);
        let job = Arc::new(Job { started: tokio::sync::Mutex::default() });
        jobs.insert(path.to_owned(), Arc::downgrade(&job));
        job
    }

    /// Waits for its turn, then starts a thread.
    async fn start(
        &self,
        order: &Order<'_>,
        path: &Path,
        job: &Arc<Job>,
        compile: impl FnOnce(&Work) -> Result<Vec<u8>, ArtifactError> + Send + 'static,
    ) -> Result<watch::Receiver<Outcome>, ArtifactError> {
        let size = std::fs::metadata(order.source).map_or(0, |data| data.len());
        let source = order.source.to_owned();
        let look = move || size <= simple::BYTES_MAX && std::fs::read(&source).is_ok_and(|it| simple::is_simple(&it));
        let is_simple = tokio::task::spawn_blocking(look).await.unwrap_or(false);
        let queue = match order.form {
            DRAFT => &self.inner.drafts,
            _ if size <= QUICK_BYTES_MAX && is_simple => &self.inner.quick,
            _ => &self.inner.heavy,
        };
        let permit = queue.turn(order.owner).await;
        let (sender, receiver) = watch::channel(None);
        if self.inner.files.is_good(path) {
            // Another process made it meanwhile.
            let _ = sender.send(Some(Ok(())));
            return Ok(receiver);
        }
        let running = Running {
            artifacts: self.clone(),
            source: order.source.to_owned(),
            path: path.to_owned(),
            job: Arc::downgrade(job),
            sender,
            permit,
            is_simple,
        };
        // A thread of its own: its low priority must not stay with a pooled thread.
        let thread = std::thread::Builder::new().name("compile".to_owned()).spawn(move || running.run(compile));
        thread.map_err(|error| ArtifactError::io(path, &error))?;
        Ok(receiver)
    }
}

/// A compilation on its thread.
struct Running {
    artifacts: Artifacts,
    source: PathBuf,
    path: PathBuf,
    job: Weak<Job>,
    sender: watch::Sender<Outcome>,
    /// Held by the thread and not by whoever asked, who may go away long before it ends.
    permit: Permit,
    is_simple: bool,
}

impl Running {
    fn run(self, compile: impl FnOnce(&Work) -> Result<Vec<u8>, ArtifactError>) {
        set_thread_urgency(Urgency::Bulk);
        let outcome = self.compile(compile);
        let inner = &self.artifacts.inner;
        if let Err(error) = &outcome
            && error.is_final()
        {
            let mut refusals = inner.refusals.lock();
            if refusals.len() >= REFUSALS_MAX {
                refusals.clear();
            }
            refusals.insert(self.path.clone(), error.clone());
        }
        // The next who ask find the file, or begin anew.
        inner.jobs.lock().remove(&self.path);
        let _ = self.sender.send(Some(outcome));
        drop(self.permit);
    }

    fn compile(&self, compile: impl FnOnce(&Work) -> Result<Vec<u8>, ArtifactError>) -> Result<(), ArtifactError> {
        let inner = &self.artifacts.inner;
        let bytes = std::fs::read(&self.source).map_err(|error| ArtifactError::io(&self.source, &error))?;
        inner.bounds.check(&bytes)?;
        let work = Work {
            source: self.source.clone(),
            bytes,
            scratch: inner.files.scratch(),
            until: Instant::now() + inner.bounds.time.max(Duration::from_millis(1)),
            bounds: inner.bounds,
            is_simple: self.is_simple,
            wanted: self.job.clone(),
        };
        let compiled = compile(&work);
        let _ = std::fs::remove_file(&work.scratch);
        inner.files.write(&self.path, &compiled?).map_err(|error| ArtifactError::io(&self.path, &error))
    }
}

impl ImageStore {
    /// Says where compiled components are kept, for those who ask what there is. The first call counts.
    pub fn set_artifacts(&self, artifacts: Artifacts) {
        let _ = self.inner.artifacts.set(artifacts);
    }

    /// What is compiled, by component.
    pub(crate) async fn compiled(&self) -> HashMap<Digest, Vec<Compiled>> {
        let Some(artifacts) = self.inner.artifacts.get().cloned() else { return HashMap::new() };
        crate::store::blocking(move || artifacts.list()).await
    }
}

#[cfg(test)]
mod tests;
