//! Runs WebAssembly components: as HTTP servers with an instance per request, and as commands.
//!
//! *Owns*: wasmtime: the engines and their two compiled forms, the instance pool, the linker, every limit (memory, CPU,
//! fuel, deadlines), the epoch ticker and the bulk threads.
//!
//! *Does not know*: Kubernetes, images, names and policy (they are behind [`Outbound`]), log files (behind [`Output`]).
//!
//! *Entry point*: [`Runtime`]: `compile` a component into an artifact, `load` the artifact, then `serve` or `run` it.
//!
//! # Where a guest runs
//!
//! ```text
//! request ─ data thread: instantiate and poll in place ─ done within a slice: no hop at all
//!                          └ 2 ms of CPU without waiting: the future moves, with its store, to
//! command ───────────────────────────────────────────────► bulk threads: low priority, shared fairly by weight
//! ```
//!
//! The ticker advances every engine's epoch each millisecond while any guest runs. The callback that a guest makes when it
//! sees a new epoch ([`meter`]) is the only place where a running guest is stopped, slowed or moved.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use base::metrics::Metrics;
use parking_lot::Mutex;

mod bulk;
mod capabilities;
mod clock;
mod command;
mod container;
mod cpu;
mod demand;
mod engine;
mod exchange;
mod failure;
mod guest;
mod habit;
mod handles;
mod leftover;
mod linker;
mod loaded;
mod memory;
mod meter;
mod metrics;
mod mounts;
mod next;
mod outbound;
mod output;
mod program;
mod reuse;
mod server;
mod shared;
pub mod spec;
mod stores;
mod task;
#[cfg(test)]
mod tests;
mod ticker;

pub use capabilities::sockets::Sockets;
pub use command::Running;
pub use container::Account;
pub use handles::Handles;
pub use program::{CompileError, LoadError, Program, compile_alone, draft_alone};
pub use server::{Server, StartError};
pub use spec::{
    Common, Exit, Form, Grants, Kind, Limits, LogLevel, Mount, NoOutput, OnTrap, Outbound, Output, Place, Reason,
    RunSpec, ServeSpec, Stats, Stdin, Stream, Target,
};

use bulk::Bulk;
use container::Container;
use demand::Crowd;
use engine::Engines;
use loaded::Loaded;
use metrics::Families;
use program::ProgramInner;
use stores::Stores;
use ticker::Ticker;

/// How the runtime is set up.
#[derive(Clone)]
pub struct Config {
    /// The tokio runtime whose timers and sockets guests use while they are on bulk threads. HTTP guests that are polled
    /// in place use the one that polls them.
    pub control: tokio::runtime::Handle,
    /// Where to count.
    pub metrics: Metrics,
    /// Cores of this machine: as many bulk threads are started.
    pub cores: usize,
    /// The most instances that the pool prepares for; it is halved until the address space has room. Less than 16 is none.
    pub pool_slots_max: u32,
    /// Where embedded stores of `wasi:keyvalue` and `wasi:blobstore` lie; without it nobody has one.
    pub stores: Option<PathBuf>,
}

impl Config {
    /// The usual: all cores, a pool of 1000 slots.
    pub fn new(control: tokio::runtime::Handle, metrics: Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { control, metrics, cores, pool_slots_max: 1000, stores: None }
    }
}

/// Compiles, loads and runs components. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    engines: Arc<Engines>,
    ticker: Arc<Ticker>,
    bulk: Bulk,
    crowd: Arc<Crowd>,
    families: Families,
    stores: Arc<Stores>,
    cores: usize,
    loaded: Mutex<Loaded<(PathBuf, Form), ProgramInner>>,
}

impl Runtime {
    /// Starts the bulk threads and the ticker. Engines and their pool are made when first needed.
    pub fn new(config: Config) -> Self {
        let Config { control, metrics, cores, pool_slots_max, stores } = config;
        let ticker = Arc::new(Ticker::start());
        let warm_cores = u32::try_from(cores).unwrap_or(1);
        let inner = Inner {
            engines: Arc::new(Engines::new(pool_slots_max, warm_cores, Arc::clone(&ticker))),
            ticker,
            bulk: Bulk::start(cores, &control),
            crowd: Arc::new(Crowd::new(cores)),
            families: Families::register(&metrics),
            stores: Arc::new(Stores::new(stores)),
            cores,
            loaded: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What an artifact is good for: to be part of its name in a cache, beside the component's digest.
    pub fn engine_key(&self, form: Form) -> Result<String, CompileError> {
        self.inner.engines.key(form).map_err(CompileError::Engine)
    }

    /// Compiles a component to an artifact. Blocks the calling thread; the work itself is done on threads of low priority.
    pub fn compile(&self, component: &[u8], form: Form) -> Result<Vec<u8>, CompileError> {
        let began = Instant::now();
        let compiled = program::compile(&self.inner.engines, component, form, self.inner.cores);
        self.inner.families.compile_seconds.inc_by(began.elapsed().as_secs_f64());
        compiled
    }

    /// What a draft is good for; nothing where drafts cannot be made. Small components compile in a blink and need none, and
    /// what counts fuel would count otherwise in a draft.
    pub fn draft_key(&self) -> Option<String> {
        let host = self.inner.engines.draft();
        let host = host.map_err(|why| tracing::debug!(why, "no drafts are made")).ok()?;
        Some(engine::compatibility_key(&host.engine))
    }

    /// As [`Runtime::load`], of a draft.
    pub fn load_draft(&self, path: &Path) -> Result<Program, LoadError> {
        ProgramInner::load_draft(&self.inner.engines, path).map(|inner| Program { inner: Arc::new(inner) })
    }

    /// Maps an artifact and finds out what it is. `path` must lie in a folder that only this user can write to, hold what
    /// [`Runtime::compile`] returned, and not be changed while it is in use (it may be deleted). An artifact that is in use
    /// already, or was until lately, is not mapped again.
    pub fn load(&self, path: &Path, form: Form) -> Result<Program, LoadError> {
        let key = (path.to_owned(), form);
        if let Some(inner) = self.inner.loaded.lock().get(&key) {
            return Ok(Program { inner });
        }
        let inner = Arc::new(ProgramInner::load(&self.inner.engines, path, form)?);
        self.inner.loaded.lock().add(key, &inner);
        Ok(Program { inner })
    }

    /// Starts an HTTP container. It answers from now on; no instance is made before the first request.
    pub fn serve(&self, program: &Program, spec: ServeSpec) -> Result<Server, StartError> {
        let container = self.container(spec.common.clone());
        Server::new(program, spec, container)
    }

    /// Starts a command.
    pub fn run(&self, program: &Program, spec: RunSpec) -> Result<Running, StartError> {
        let container = self.container(spec.common.clone());
        Running::start(program, &spec, container)
    }

    fn container(&self, spec: Common) -> Arc<Container> {
        let Inner { bulk, ticker, crowd, families, stores, .. } = &*self.inner;
        Container::new(spec, bulk, ticker, crowd, families, stores)
    }
}
