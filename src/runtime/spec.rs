//! What a container is given, and what comes of it: the plain data at this room's door.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use network::{CallError, Connection, HttpRequest, HttpResponse};
use parking_lot::Mutex;
use tokio::io::AsyncRead;

use crate::capabilities::sockets::Sockets;
use crate::container::Account;
use crate::handles::Handles;

/// Which compiled form an artifact has. Fuel costs up to 80 % on call-heavy code, so only those who ask for a budget get
/// it; epochs are in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// Whether the code counts fuel.
    pub fuel: bool,
}

/// What a program does when it is started, by what it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exports `wasi:http/incoming-handler`: it serves requests.
    Http,
    /// Exports `wasi:cli/run`: it runs until it returns.
    Command,
}

/// One of a guest's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `stdout`
    Stdout,
    /// `stderr`
    Stderr,
}

/// Where a guest's output goes, line by line.
pub trait Output: Send + Sync + 'static {
    /// Takes one line, without its line break. Called on the thread that runs the guest, so it must not block; a long
    /// line comes in pieces of 16 KiB.
    fn write(&self, stream: Stream, line: &[u8]);

    /// `None` while there is room. Otherwise the guest waits for the future before it may write on: this is what keeps
    /// one that floods its log from filling memory.
    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Takes what was written as it was written, for whoever wants bytes instead of lines. `false`: lines, please.
    fn bytes(&self, _stream: Stream, _bytes: &[u8]) -> bool {
        false
    }
}

/// What a guest reads from its standard input. It is given to the first instance that asks.
#[derive(Clone, Default)]
pub struct Stdin {
    reader: Arc<Mutex<Option<Reader>>>,
    terminal: bool,
}
type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;

impl Stdin {
    /// Reads from this.
    pub fn new(reader: impl AsyncRead + Send + Sync + Unpin + 'static) -> Self {
        Self { reader: Arc::new(Mutex::new(Some(Box::new(reader)))), terminal: false }
    }

    /// The same, where somebody types.
    pub fn terminal(reader: impl AsyncRead + Send + Sync + Unpin + 'static) -> Self {
        Self { terminal: true, ..Self::new(reader) }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn take(&self) -> Option<Reader> {
        self.reader.lock().take()
    }
}

/// An [`Output`] that forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutput;

impl Output for NoOutput {
    fn write(&self, _stream: Stream, _line: &[u8]) {}
}

/// Where a guest's outgoing request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, from the authority or the scheme.
    pub port: u16,
    /// Whether the guest asked for `https`.
    pub https: bool,
}

/// Who carries a guest's outgoing HTTP requests. Services, policy and egress live behind it.
pub trait Outbound: Send + Sync + 'static {
    /// Carries one request. `connection` already is the callee's: its source is this container's address, its depth one
    /// more than the caller's, its deadline no later. An error becomes the matching `wasi:http` error code.
    fn call(
        &self,
        target: Target,
        request: HttpRequest,
        connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>>;
}

/// A directory of the host that a guest sees.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it lies on the host.
    pub host_dir: PathBuf,
    /// The directory itself; then its path is not followed any more.
    pub opened: Option<Arc<std::fs::File>>,
    /// What has to be done before it is opened; until then it need not be there.
    pub made_by: Option<base::Making>,
    /// Where the guest sees it.
    pub guest_path: String,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// What a container is granted beside what every container has.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// What `wasi:config` answers; `None` is without it.
    pub config: Option<Vec<(String, String)>>,
    /// The stores of `wasi:keyvalue`, by the name that the guest opens.
    pub keyvalue: BTreeMap<String, Place>,
    /// The containers of `wasi:blobstore`, by name.
    pub blobstore: BTreeMap<String, Place>,
    /// The least that `wasi:logging` passes on.
    pub log_level: LogLevel,
}

/// Where a store lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In [`crate::Config::stores`], apart from every other scope: a namespace, say.
    Embedded {
        /// Whose it is.
        scope: String,
    },
    /// In the volume that is mounted here.
    Mounted(String),
    /// With a server: `redis://HOST:PORT/DB`, `s3://BUCKET?endpoint=URL&region=NAME`.
    Remote {
        /// Where it is.
        url: String,
        /// As whom: a user, or the id of an access key. May be empty.
        user: String,
        /// The proof.
        password: String,
    },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { scope } => f.debug_struct("Embedded").field("scope", scope).finish(),
            Self::Mounted(path) => f.debug_tuple("Mounted").field(path).finish(),
            Self::Remote { url, .. } => f.debug_struct("Remote").field("url", url).finish_non_exhaustive(),
        }
    }
}

/// How much a line of `wasi:logging` matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Each step.
    #[default]
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
    /// What cannot go on.
    Critical,
}

/// What servers and commands have in common.
#[derive(Clone)]
pub struct Common {
    /// What logs and messages call the container: `namespace/pod/container`.
    pub name: String,
    /// The whole argument vector, the program's name first. When it is empty the guest sees [`Common::name`] alone.
    pub args: Vec<String>,
    /// Where relative paths begin, for programs that ask.
    pub working_dir: Option<String>,
    /// The environment, nothing else is inherited.
    pub env: Vec<(String, String)>,
    /// Directories that the guest sees.
    pub mounts: Vec<Mount>,
    /// The container's address on the pod network: the source of its outgoing calls.
    pub address: IpAddr,
    /// Whose memory and CPU it uses; the limits are theirs then. `None` has an account of its own.
    pub account: Option<Account>,
    /// Memory over all live instances; `None` is without limit.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core that it may use; `None` is without limit.
    pub cpu_millis: Option<u64>,
    /// Its share where cores are short, relative to others: Kubernetes' `requests.cpu` in thousandths of a core.
    pub cpu_weight: u32,
    /// Fuel for each request or for the run; needs a program of a form with fuel.
    pub fuel: Option<u64>,
    /// Where its output goes.
    pub output: Arc<dyn Output>,
    /// What it reads; nothing unless said otherwise.
    pub stdin: Option<Stdin>,
    /// Who carries its outgoing requests; `None` denies all.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// Its way onto the network by sockets; `None` denies all.
    pub sockets: Option<Arc<dyn Sockets>>,
    /// What it may have open at once.
    pub handles: Handles,
    /// What it is granted.
    pub grants: Grants,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            name: "container".to_owned(),
            args: Vec::new(),
            working_dir: None,
            env: Vec::new(),
            mounts: Vec::new(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            account: None,
            memory_bytes: None,
            cpu_millis: None,
            cpu_weight: 100,
            fuel: None,
            output: Arc::new(NoOutput),
            stdin: None,
            outbound: None,
            sockets: None,
            handles: Handles::default(),
            grants: Grants::default(),
        }
    }
}

/// Called with the message and back-trace of each request that failed in the guest.
pub type OnTrap = Arc<dyn Fn(&str) + Send + Sync>;

/// How to serve an HTTP program.
#[derive(Clone)]
pub struct ServeSpec {
    /// What it shares with commands.
    pub common: Common,
    /// How long a request may take, waiting included.
    pub request_timeout: Duration,
    /// Whether an instance may answer more than one request, one after the other. Off: every request has a fresh one.
    pub reuse: bool,
    /// How many requests may run at once; `None` takes what the memory limit and the pool allow.
    pub concurrency: Option<usize>,
    /// How many may wait beyond that; more are answered 503.
    pub queue: usize,
    /// Told about each trap.
    pub on_trap: Option<OnTrap>,
}

impl Default for ServeSpec {
    fn default() -> Self {
        Self {
            common: Common::default(),
            request_timeout: Duration::from_secs(30),
            reuse: false,
            concurrency: None,
            queue: 1024,
            on_trap: None,
        }
    }
}

/// How to run a command.
#[derive(Clone, Default)]
pub struct RunSpec {
    /// What it shares with servers.
    pub common: Common,
    /// How long it may run; `None` is for ever.
    pub deadline: Option<Duration>,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It returned, or was stopped while it had nothing to do.
    Completed,
    /// It failed, trapped or was killed.
    Error,
    /// It ended because it was refused memory.
    OomKilled,
    /// It spent its fuel.
    FuelExhausted,
    /// It ran past its deadline.
    DeadlineExceeded,
}

impl Reason {
    /// Kubernetes' word for it.
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

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 137 for whatever was killed.
    pub code: i32,
    /// Why.
    pub reason: Reason,
    /// For people: the trap and its back-trace, or what limit was passed. Empty when there is nothing to say.
    pub message: String,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub finished: SystemTime,
}

/// What of a container's limits can change while it runs. What is `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory over all live instances.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Its share where cores are short.
    pub cpu_weight: u32,
}

/// What a container uses and has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of linear memory and tables, over all live instances.
    pub memory_bytes: u64,
    /// The most that there ever was.
    pub memory_bytes_peak: u64,
    /// Time on a core.
    pub cpu_time: Duration,
    /// Time that it was held back by its CPU limit.
    pub throttled_time: Duration,
    /// How often it was held back.
    pub throttled: u64,
    /// Fuel that it burnt, where it is counted.
    pub fuel: u64,
    /// How long requests took, from their arrival to the end of their instance's work.
    pub latency: base::histogram::Snapshot,
    /// How long it took from the first request to the head of its response.
    pub first_byte: Option<Duration>,
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
    /// How often it was refused memory.
    pub growth_refused: u64,
}
