//! What containers print: files on disk, and streams of them.
//!
//! ```text
//! guest → Output::write → buffer of the run → one writer thread → ATTEMPT.log → (full) → ATTEMPT.log.1 → .2 → …
//!                           ↑ full, or too fast: the guest waits                    reader: since, tail, follow
//! ```
//!
//! Lines are kept in CRI's form: `TIME STREAM F TEXT`. The run before the present one is kept for `--previous`.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use parking_lot::Mutex;
use thiserror::Error;

mod line;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use crate::sandbox::{ContainerId, Stream};
use writer::Writer;
pub(crate) use writer::{RunLog, RunOutput};

/// Whose log is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogOf {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container's name.
    pub container: String,
}

impl From<ContainerId> for LogOf {
    fn from(id: ContainerId) -> Self {
        let ContainerId { namespace, pod, uid, container, .. } = id;
        Self { namespace, pod, uid, container }
    }
}

/// How much of what a container prints is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A file of this size is rotated.
    pub file_bytes: u64,
    /// How many files of one run are kept, the one that is written among them.
    pub files: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes: 10 << 20, files: 5 }
    }
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as lines come, until the container ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only that many lines from the end.
    pub tail_lines: Option<u64>,
    /// No more than so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only what went to this one.
    pub stream: Option<Stream>,
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// It has not run yet.
    #[error("container {container:?} in pod {pod:?} is waiting to start: {reason}")]
    Waiting {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// What it waits for.
        reason: String,
    },
    /// It has not run before.
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The disk.
    #[error("cannot read the log of container {container:?} in pod {pod:?}: {source}")]
    Io {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// Why.
        source: io::Error,
    },
}

/// A log as it is written to whoever asked.
pub type LogStream = BoxStream<'static, Result<Bytes, io::Error>>;

/// The logs of this node. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    writer: Writer,
    runs: Mutex<HashMap<(String, String), Arc<RunLog>>>,
    pods: Mutex<HashMap<String, Known>>,
}

/// What is said of a pod without asking the API.
#[derive(Default)]
struct Known {
    address: Option<IpAddr>,
    /// Why each container waits.
    waiting: HashMap<String, String>,
}

impl Logs {
    #[cfg(test)]
    pub(crate) fn open_folder(folder: PathBuf) -> io::Result<Self> {
        Self::open_limited(folder, LogLimits::default())
    }

    pub(crate) fn open_limited(folder: PathBuf, limits: LogLimits) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let writer = Writer::start(limits)?;
        let inner = Inner { folder, writer, runs: Mutex::default(), pods: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many lines were dropped because their containers printed too much.
    pub fn lines_dropped(&self) -> u64 {
        self.inner.writer.lines_dropped()
    }

    /// The address of a pod on this node.
    pub fn address(&self, uid: &str) -> Option<IpAddr> {
        self.inner.pods.lock().get(uid)?.address
    }

    /// A container's log as a stream.
    ///
    /// # Errors
    /// When the container has not run, or not before, or the files cannot be read.
    pub async fn open(&self, of: &LogOf, options: LogOptions) -> Result<LogStream, LogError> {
        let (container, pod) = (of.container.clone(), of.pod.clone());
        let folder = self.folder_of(&of.namespace, &of.pod, &of.uid).join(&of.container);
        let live = self.inner.runs.lock().get(&(of.uid.clone(), of.container.clone())).cloned();
        let failed = |source| LogError::Io { container: container.clone(), pod: pod.clone(), source };
        let mut attempts = reader::attempts(&folder).map_err(failed)?;
        if let Some(run) = live.as_ref().filter(|run| attempts.last() != Some(&run.attempt)) {
            attempts.push(run.attempt);
        }
        let Some(&current) = attempts.last() else {
            let pods = self.inner.pods.lock();
            let reason = pods.get(&of.uid).and_then(|known| known.waiting.get(&of.container)).cloned();
            return Err(LogError::Waiting {
                container,
                pod,
                reason: reason.unwrap_or_else(|| "ContainerCreating".into()),
            });
        };
        let attempt = match (options.previous, attempts.len()) {
            (false, _) => current,
            // While it waits to be started again, the run that ended last is the one before.
            (true, _) if self.waits(of) => current,
            (true, 0 | 1) => return Err(LogError::NoPrevious { container, pod }),
            (true, count) => attempts[count - 2],
        };
        let path = reader::path(&folder, attempt);
        let live = live.filter(|run| run.path() == path);
        reader::stream(path, live, options).await.map_err(|source| LogError::Io { container, pod, source })
    }

    fn waits(&self, of: &LogOf) -> bool {
        self.inner.pods.lock().get(&of.uid).is_some_and(|known| known.waiting.contains_key(&of.container))
    }

    /// Begins the log of one run. Blocks for a moment.
    pub(crate) fn begin(&self, of: &LogOf, attempt: u32) -> io::Result<Arc<RunLog>> {
        let folder = self.folder_of(&of.namespace, &of.pod, &of.uid).join(&of.container);
        // Of earlier runs the last is kept; a file of this one is from before the node was started again.
        for old in reader::attempts(&folder)?.into_iter().filter(|old| old + 1 != attempt) {
            reader::remove(&folder, old);
        }
        let run = self.inner.writer.begin(reader::path(&folder, attempt), attempt);
        self.inner.runs.lock().insert((of.uid.clone(), of.container.clone()), run.clone());
        Ok(run)
    }

    pub(crate) fn know_address(&self, uid: &str, address: IpAddr) {
        self.inner.pods.lock().entry(uid.to_owned()).or_default().address = Some(address);
    }

    pub(crate) fn know_waiting(&self, uid: &str, waiting: HashMap<String, String>) {
        self.inner.pods.lock().entry(uid.to_owned()).or_default().waiting = waiting;
    }

    /// Forgets a pod that is gone, and its files. Blocks for a moment.
    pub(crate) fn remove(&self, namespace: &str, pod: &str, uid: &str) {
        self.inner.pods.lock().remove(uid);
        self.inner.runs.lock().retain(|(owner, _), _| owner != uid);
        let _ = std::fs::remove_dir_all(self.folder_of(namespace, pod, uid));
    }

    /// Removes what pods that no longer exist have left behind. Blocks.
    pub(crate) fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        let Ok(entries) = std::fs::read_dir(&self.inner.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let uid = name.to_str().and_then(|name| name.rsplit_once('_')).map(|(_, uid)| uid);
            if let Some(uid) = uid.filter(|uid| !is_known(uid)) {
                self.inner.runs.lock().retain(|(owner, _), _| owner != uid);
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    pub(crate) fn limits(&self) -> LogLimits {
        self.inner.writer.limits()
    }

    /// How many bytes a container's logs take on the disk.
    pub(crate) fn size(&self, of: &LogOf) -> u64 {
        let folder = self.folder_of(&of.namespace, &of.pod, &of.uid).join(&of.container);
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
    }

    /// Where the logs of a container lie.
    pub(crate) fn folder_of_container(&self, pod: &k8s_openapi::api::core::v1::Pod, container: &str) -> PathBuf {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &pod.metadata;
        self.folder_of(&text(&meta.namespace), &text(&meta.name), &text(&meta.uid)).join(container)
    }

    /// Where a container's last words may lie. It goes with the logs.
    pub(crate) fn words_of(&self, of: &LogOf) -> PathBuf {
        self.folder_of(&of.namespace, &of.pod, &of.uid).join(&of.container).join(WORDS)
    }

    fn folder_of(&self, namespace: &str, pod: &str, uid: &str) -> PathBuf {
        self.inner.folder.join(format!("{namespace}_{pod}_{uid}"))
    }
}

/// A file of a log that was rotated so many times.
fn rotated(path: &Path, times: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{times}"));
    name.into()
}

/// Beside a container's files.
const WORDS: &str = "last-words";

/// How long a reader waits for lines that are still on their way to the disk.
const FLUSH_WAIT: Duration = Duration::from_secs(1);
