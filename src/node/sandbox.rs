//! The seam between the agent and whoever runs components.
//!
//! Implemented in `cluster` over `runtime`, `images` and `network`. The agent decides *when* something runs and what it is
//! given; the sandbox knows *how*.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::future::BoxFuture;
use images::Resolved;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::root::Root;

/// Runs containers.
///
/// Any number of calls run at once, for the same image too. A container that was started goes on until it exits or is
/// stopped, also when its handle is dropped.
#[async_trait]
pub trait Sandbox: Send + Sync + 'static {
    /// Makes the image ready to start in this form: compiled (once, however many ask) and its imports and exports
    /// checked. Quick when that has happened before. Namespaces take turns where there is much to compile.
    async fn prepare(&self, image: &Resolved, form: Form, namespace: &str) -> Result<(), PrepareError>;

    /// Starts one container. It runs when this returns; an HTTP container listens at `address:port`.
    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError>;
}

/// A container that was started.
pub trait Container: Send + Sync + 'static {
    /// Ends when the container has ended, for whatever reason. May be asked for more than once.
    fn exit(&self) -> BoxFuture<'static, Exit>;

    /// Takes no new work, lets what runs finish within `grace`, then ends it. Returns when it has ended.
    fn stop(&self, grace: Duration) -> BoxFuture<'static, ()>;

    /// What it uses and has used.
    fn stats(&self) -> Stats;

    /// Of that, its time on a core, and how long it took to its first response: what all containers are asked for every few
    /// seconds.
    fn pulse(&self) -> (Duration, Option<Duration>) {
        let stats = self.stats();
        (stats.cpu_time, stats.first_byte)
    }

    /// Holds it to other limits from now on, without a restart. `false`: it goes on as it was started.
    fn resize(&self, _limits: Limits) -> bool {
        false
    }

    /// Its standard input, for one who joins it; nothing when it has none, or somebody else has it.
    fn stdin(&self) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        None
    }

    /// What it prints from now on, as it prints it, standard output and standard error; on a terminal all of it in the first.
    /// Nothing when only its log can tell.
    fn printed(&self, _tty: bool) -> Option<(Reading, Reading)> {
        None
    }

    /// Whether it knows what a terminal's keys mean that are no text: `^C` and `^D`.
    fn edits_lines(&self) -> bool {
        false
    }

    /// Runs a command with everything that the container was given: one of the toolbox' where it is named, otherwise the
    /// container's own component once more, with these arguments. The command ends when its handle is dropped.
    ///
    /// # Errors
    /// When there is no room for it. A command that nobody knows ends with 127.
    fn exec(&self, _exec: Exec) -> Result<Arc<dyn Container>, StartError> {
        Err(StartError::Failed("this sandbox runs no commands in its containers".to_owned()))
    }
}

/// A stream that is read from.
pub type Reading = Box<dyn AsyncRead + Send + Unpin>;

/// What a command is given that is run in a container.
pub struct Exec {
    /// The whole argument vector.
    pub args: Vec<String>,
    /// What it reads.
    pub stdin: Option<Box<dyn AsyncRead + Send + Sync + Unpin>>,
    /// Whether its input is a terminal.
    pub tty: bool,
    /// Where its output goes.
    pub output: Arc<dyn Output>,
}

/// What of a container's limits can change while it runs. What is `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `limits.memory`, over all of its live instances.
    pub memory_bytes: Option<u64>,
    /// `limits.cpu` in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// `requests.cpu` in thousandths of a core, at least 1.
    pub cpu_weight: u32,
}

/// Which compiled form a container needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// Whether the code counts fuel.
    pub fuel: bool,
}

/// Which container of which pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerId {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// How often it was started before.
    pub attempt: u32,
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.pod, self.container)
    }
}

/// Everything that a container is given. What is not in here, it does not have.
#[derive(Clone)]
pub struct ContainerSpec {
    /// Who it is. The namespace is also where short Service names are looked up.
    pub id: ContainerId,
    /// What it runs.
    pub image: Resolved,
    /// The whole argument vector: the program's name, then `command` and `args` of the pod spec.
    pub args: Vec<String>,
    /// Its environment, in order.
    pub env: Vec<(String, String)>,
    /// Directories that it sees.
    pub mounts: Vec<Mount>,
    /// What it finds at `/`, if its program is one that needs it.
    pub root: Root,
    /// Where relative paths begin.
    pub working_dir: Option<String>,
    /// `limits.memory`, over all of its live instances.
    pub memory_bytes: Option<u64>,
    /// `limits.cpu` in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// `requests.cpu` in thousandths of a core, at least 1: its share where cores are short.
    pub cpu_weight: u32,
    /// `limits["coracle.dev/fuel"]`: for each request of a server, for the whole run of a command.
    pub fuel: Option<u64>,
    /// The pod's address.
    pub address: IpAddr,
    /// The first container port, or 80: where it serves if it is an HTTP component.
    pub port: u16,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether an instance may answer more than one request.
    pub reuse: bool,
    /// How many requests may run at once; the rest waits.
    pub max_concurrent_requests: Option<usize>,
    /// Whether it may call addresses outside of the cluster.
    pub egress: bool,
    /// What it is granted beside what every container has.
    pub grants: Grants,
    /// How long the command may run.
    pub deadline: Option<Duration>,
    /// Whether it reads what those send who join it.
    pub stdin: Stdin,
    /// Whether that is a terminal.
    pub tty: bool,
    /// Where its output goes.
    pub output: Arc<dyn Output>,
    /// Told about each request that trapped, with message and back-trace.
    pub on_trap: Arc<dyn Fn(&str) + Send + Sync>,
    /// Told about each time that it wanted out of the cluster and may not go.
    pub on_denied: Arc<dyn Fn(&str) + Send + Sync>,
    /// What it may have open at once.
    pub handles: Handles,
}

/// What a container may have open at once; `None` is the sandbox's own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// Handles of each instance, of whatever kind.
    pub handles: Option<usize>,
    /// Files of each instance.
    pub files: Option<usize>,
    /// Sockets of the container.
    pub sockets: Option<usize>,
}

/// What a container is granted.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// What `wasi:config` answers, first found first; `None` is without it.
    pub config: Option<Vec<(String, String)>>,
    /// The stores of `wasi:keyvalue`, by name.
    pub keyvalue: BTreeMap<String, Place>,
    /// The containers of `wasi:blobstore`, by name.
    pub blobstore: BTreeMap<String, Place>,
    /// The least that `wasi:logging` writes.
    pub log_level: LogLevel,
}

/// Where a store lies.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// With the node; each namespace has its own.
    Embedded,
    /// In the volume that is mounted here.
    Mounted(String),
    /// With a server.
    Remote {
        /// Where.
        url: String,
        /// As whom. May be empty.
        user: String,
        /// The proof.
        password: String,
    },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("Embedded"),
            Self::Mounted(path) => f.debug_tuple("Mounted").field(path).finish(),
            Self::Remote { url, .. } => f.debug_struct("Remote").field("url", url).finish_non_exhaustive(),
        }
    }
}

/// How much a line of `wasi:logging` matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the interface's own words")]
pub enum LogLevel {
    #[default]
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl LogLevel {
    /// The level of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            "critical" => Self::Critical,
            _ => return None,
        })
    }
}

/// What a container's standard input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// There is none.
    #[default]
    None,
    /// It is over with the first who joined.
    Once,
    /// It goes on with the next who joins.
    Lasting,
}

/// A directory of the host that a container sees.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it lies on the host.
    pub host_dir: PathBuf,
    /// The directory itself, where others could put another one in its place: what is open is what was looked at.
    pub opened: Option<Arc<std::fs::File>>,
    /// What has to be done before it is opened.
    pub made_by: Option<base::Making>,
    /// Where the container sees it.
    pub guest_path: String,
    /// Whether it may only read.
    pub read_only: bool,
}

/// One of a container's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `stdout`
    Stdout,
    /// `stderr`
    Stderr,
}

/// Where a container's output goes, line by line.
pub trait Output: Send + Sync + 'static {
    /// Takes one line without its line break. Does not block.
    fn write(&self, stream: Stream, line: &[u8]);

    /// `None` while there is room; otherwise the guest waits for the future before it writes on.
    fn room(&self) -> Option<BoxFuture<'static, ()>>;

    /// Takes what was written as it was written, for whoever wants bytes instead of lines. `false`: lines, please.
    fn bytes(&self, _stream: Stream, _bytes: &[u8]) -> bool {
        false
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 137 for whatever was killed.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// For people: the trap, or the limit that was passed. May be empty.
    pub message: String,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub finished: SystemTime,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It returned, or was stopped with nothing left to do.
    Completed,
    /// It failed, trapped or was killed.
    Error,
    /// It was refused memory and ended because of that.
    OomKilled,
    /// It spent its fuel.
    FuelExhausted,
    /// It ran past its deadline.
    DeadlineExceeded,
}

impl ExitReason {
    /// As it stands in a pod's status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::FuelExhausted => "FuelExhausted",
            Self::DeadlineExceeded => "DeadlineExceeded",
        }
    }
}

/// What a container uses and has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of memory over all live instances.
    pub memory_bytes: u64,
    /// The most that there ever was.
    pub memory_bytes_peak: u64,
    /// How often it was refused memory.
    pub growth_refused: u64,
    /// Time on a core.
    pub cpu_time: Duration,
    /// Time that it was held back by its CPU limit.
    pub throttled_time: Duration,
    /// How often it was held back.
    pub throttled: u64,
    /// Fuel that it burnt, where it is counted.
    pub fuel: u64,
    /// Requests taken.
    pub requests: u64,
    /// Requests or runs that ended in a trap.
    pub traps: u64,
    /// Requests that were not answered within their time.
    pub timeouts: u64,
    /// Requests that found no room, not even to wait.
    pub overloads: u64,
    /// Requests being answered.
    pub in_flight: u64,
    /// How long requests took, from their arrival to the end of their instance's work.
    pub latency: base::histogram::Snapshot,
    /// How long it took from the first request to the head of its response.
    pub first_byte: Option<Duration>,
}

/// Why an image cannot be made ready. Messages go into the pod's status.
#[derive(Clone, Debug, Error)]
pub enum PrepareError {
    /// It imports what the world does not offer, exports nothing that runs, or is not valid: waiting for ever would not
    /// help (`CreateContainerError`).
    #[error("{0}")]
    Unfit(String),
    /// Making it runnable costs more than this node allows (`ImageTooComplex`).
    #[error("{0}")]
    TooComplex(String),
    /// It may work later: no disk space, say (`CreateContainerError`, tried again).
    #[error("{0}")]
    Failed(String),
}

/// Why a container did not start. Messages go into the pod's status.
#[derive(Clone, Debug, Error)]
pub enum StartError {
    /// Another container of the pod serves on this port.
    #[error(
        "port {0} is already in use by another container of this pod; give each HTTP container a containerPort of its own"
    )]
    PortInUse(u16),
    /// It imports what the spec does not grant; the message holds the annotation to add (`CreateContainerConfigError`).
    #[error("{0}")]
    NotGranted(String),
    /// Its start failed.
    #[error("{0}")]
    Failed(String),
}
