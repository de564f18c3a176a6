//! From component to artifact to program: compiling, loading, and finding out what a component is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use base::os::{Urgency, set_thread_urgency};
use thiserror::Error;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre};
use world::next::ServicePre;
use world::{CommandPre, ProxyPre, WASI_LINE, WASI_LINE_NEXT};

use crate::engine::{Code, DRAFT, Engines, Host, TABLES_PER_SLOT};
use crate::guest::Guest;
use crate::spec::{Form, Kind};

/// Below this a component compiles in a blink, and more threads would only get in each other's way.
const PARALLEL_BYTES_MIN: usize = 512 << 10;
const WASM_PAGE_BYTES: u64 = 64 << 10;
/// What the names of WASI 0.3's interfaces have in them.
const NEXT_NAMES: &[u8] = b"@0.3.";

/// Why a component cannot be compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The bytes are something else.
    #[error("not a WebAssembly file: it does not begin with `\\0asm`")]
    NotWasm,
    /// The bytes are a core module.
    #[error(
        "a core module, not a component; only modules that import nothing but WASI preview 1 can be turned into one"
    )]
    CoreModule,
    /// The component breaks a rule of the format.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// This machine cannot compile.
    #[error("the engine cannot be started: {0}")]
    Engine(String),
}

/// Why an artifact does not become a program.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file is none of this engine's; compile the component again.
    #[error("the compiled artifact cannot be used: {0}")]
    Artifact(String),
    /// It imports what no world offers.
    #[error("component imports {}, which Coracle does not offer; the worlds that it can be written against are in wit/",
        quoted(.imports))]
    UnknownImports {
        /// Each import, with its version.
        imports: Vec<String>,
    },
    /// It imports what is offered, but not so.
    #[error("component imports an interface in a form that Coracle does not offer: {0}")]
    ImportMismatch(String),
    /// It exports neither an HTTP handler nor `run`.
    #[error("component exports none of wasi:http/incoming-handler@0.2, wasi:http/handler@0.3, wasi:cli/run@0.2 and wasi:cli/run@0.3, so it cannot be run; it exports {}",
        quoted(.exports))]
    NothingToRun {
        /// What it exports.
        exports: Vec<String>,
    },
    /// The engine cannot be started.
    #[error("the engine cannot be started: {0}")]
    Engine(String),
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Compiles a component. Blocks the calling thread for as long as it takes: give it one that has the time.
pub(crate) fn compile(engines: &Engines, bytes: &[u8], form: Form, cores: usize) -> Result<Vec<u8>, CompileError> {
    compile_for(bytes, cores, form, |code| Ok(engines.on_demand(code)?.engine.clone()))
}

/// Compiles a component without a [`Runtime`](crate::Runtime), for a process that does nothing else: on all cores, at low
/// priority.
///
/// # Errors
/// Why the component does not compile.
pub fn compile_alone(bytes: &[u8], form: Form) -> Result<Vec<u8>, CompileError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    compile_for(bytes, cores, form, crate::engine::compiler)
}

/// As code without tasks where that will do.
fn compile_for(
    bytes: &[u8],
    cores: usize,
    form: Form,
    engine: impl Fn(Code) -> Result<Engine, String>,
) -> Result<Vec<u8>, CompileError> {
    if memchr::memmem::find(bytes, NEXT_NAMES).is_none() {
        let compiled = compile_with(bytes, cores, || engine(Code { form, tasks: false }));
        // What is of no line at all, or has tasks without importing anything of WASI's.
        if !matches!(compiled, Err(CompileError::Invalid(_))) {
            return compiled;
        }
    }
    compile_with(bytes, cores, || engine(Code { form, tasks: true }))
}

/// As [`compile_alone`], by the compiler that takes a fraction of the time and makes slower code.
///
/// # Errors
/// Why it does not compile; some features of WebAssembly are beyond this compiler.
pub fn draft_alone(bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    compile_with(bytes, cores, crate::engine::draft_compiler)
}

fn compile_with(
    bytes: &[u8],
    cores: usize,
    engine: impl FnOnce() -> Result<Engine, String>,
) -> Result<Vec<u8>, CompileError> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
        Some([0, b'a', b's', b'm', ..]) => return Err(CompileError::CoreModule),
        _ => return Err(CompileError::NotWasm),
    }
    let engine = engine().map_err(CompileError::Engine)?;
    let compiled = on_bulk_threads(if bytes.len() < PARALLEL_BYTES_MIN { 1 } else { cores }, || {
        engine.precompile_component(bytes)
    });
    compiled.map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

/// Cranelift spreads over the current thread pool; the process-wide one would compete with those who serve.
fn on_bulk_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("compile-{number}"))
        .start_handler(|_| set_thread_urgency(Urgency::Bulk))
        .build();
    match pool {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

/// One way of making instances.
pub(crate) struct Maker<P> {
    pub host: Arc<Host>,
    pub pre: P,
}

/// A component that serves, by the line of WASI that its handler is of.
pub(crate) enum HttpPre {
    First(ProxyPre<Guest>),
    Next(ServicePre<Guest>),
}

/// A component that runs, by the same.
pub(crate) enum RunPre {
    First(CommandPre<Guest>),
    Next(world::next::CommandPre<Guest>),
}

pub(crate) enum Ready {
    Http { fresh: Arc<Maker<HttpPre>>, reuse: OnceLock<Result<Arc<Maker<HttpPre>>, String>> },
    Command(Maker<RunPre>),
}

/// A program that can be served or run, any number of times. Cheap to clone.
#[derive(Clone)]
pub struct Program {
    pub(crate) inner: Arc<ProgramInner>,
}

pub(crate) struct ProgramInner {
    pub code: Code,
    pub ready: Ready,
    /// What an instance holds before it has run.
    pub initial_bytes: u64,
    /// How many of the pool's slots an instance takes.
    pub slots: u32,
    /// What it imports, with versions.
    pub imports: Vec<String>,
    path: PathBuf,
    engines: Arc<Engines>,
    /// Made in haste.
    draft: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("path", &self.inner.path).field("kind", &self.kind()).finish()
    }
}

impl Program {
    /// Whether it serves or runs.
    pub fn kind(&self) -> Kind {
        match self.inner.ready {
            Ready::Http { .. } => Kind::Http,
            Ready::Command(_) => Kind::Command,
        }
    }

    /// Whether it is a draft, slower than it could be.
    pub fn is_draft(&self) -> bool {
        self.inner.draft
    }

    /// The form that it was compiled in.
    pub fn form(&self) -> Form {
        self.inner.code.form
    }
}

impl ProgramInner {
    pub fn load(engines: &Arc<Engines>, path: &Path, form: Form) -> Result<Self, LoadError> {
        let plain = Code { form, tasks: false };
        // The file says which code it is.
        let (code, (host, component)) = match load_code(engines, path, plain) {
            Ok(found) => (plain, found),
            Err(why) => {
                let code = Code { tasks: true, ..plain };
                (code, load_code(engines, path, code).map_err(|_| why)?)
            }
        };
        Self::link(engines, path, (code, false), host, component)
    }

    /// As [`ProgramInner::load`], of a draft.
    pub fn load_draft(engines: &Arc<Engines>, path: &Path) -> Result<Self, LoadError> {
        let host = engines.draft().map_err(LoadError::Engine)?;
        let component = deserialize(&host.engine, path).map_err(|error| LoadError::Artifact(format!("{error:#}")))?;
        Self::link(engines, path, (DRAFT, true), host, component)
    }

    fn link(
        engines: &Arc<Engines>,
        path: &Path,
        (code, draft): (Code, bool),
        host: Arc<Host>,
        component: Component,
    ) -> Result<Self, LoadError> {
        let exports = exports(&component);
        let imports = imports(&component);
        let (initial_bytes, slots) = needs(&component);
        let build = |ready| Self {
            code,
            ready,
            initial_bytes,
            slots,
            imports,
            path: path.to_owned(),
            engines: Arc::clone(engines),
            draft,
        };
        match Entry::of(&exports) {
            Some(Entry::Http(line)) => {
                let pre = http_pre(link(&host, &component)?, line)?;
                Ok(build(Ready::Http { fresh: Arc::new(Maker { host, pre }), reuse: OnceLock::new() }))
            }
            Some(Entry::Command(line)) => {
                let (host, component) =
                    if host.slots.is_some() { on_demand(engines, path, code)? } else { (host, component) };
                let pre = run_pre(link(&host, &component)?, line)?;
                Ok(build(Ready::Command(Maker { host, pre })))
            }
            None => Err(LoadError::NothingToRun { exports }),
        }
    }

    /// Makes instances that live long: reused ones are allocated on demand, from the same artifact.
    pub fn reusable(&self) -> Result<Arc<Maker<HttpPre>>, String> {
        let Ready::Http { fresh, reuse } = &self.ready else { return Err("the program is a command".to_owned()) };
        let line = if matches!(fresh.pre, HttpPre::First(_)) { WASI_LINE } else { WASI_LINE_NEXT };
        let made = reuse.get_or_init(|| {
            if self.draft {
                // Allocated on demand already.
                return Ok(Arc::clone(fresh));
            }
            let (host, component) =
                on_demand(&self.engines, &self.path, self.code).map_err(|error| error.to_string())?;
            let pre = link(&host, &component).and_then(|pre| http_pre(pre, line)).map_err(|error| error.to_string())?;
            Ok(Arc::new(Maker { host, pre }))
        });
        made.clone()
    }
}

/// What a component does when it is started, and the line of WASI that this is of.
enum Entry {
    Http(&'static str),
    Command(&'static str),
}

impl Entry {
    /// A handler goes before `run`, the line that most are written against before the other.
    fn of(exports: &[String]) -> Option<Self> {
        let has = |name, line| exports.iter().any(|export| world::is_version_of(export, name, line));
        if has(world::HTTP_EXPORT, WASI_LINE) {
            Some(Self::Http(WASI_LINE))
        } else if has(world::HTTP_EXPORT_NEXT, WASI_LINE_NEXT) {
            Some(Self::Http(WASI_LINE_NEXT))
        } else if has(world::COMMAND_EXPORT, WASI_LINE) {
            Some(Self::Command(WASI_LINE))
        } else if has(world::COMMAND_EXPORT, WASI_LINE_NEXT) {
            Some(Self::Command(WASI_LINE_NEXT))
        } else {
            None
        }
    }
}

fn http_pre(pre: InstancePre<Guest>, line: &str) -> Result<HttpPre, LoadError> {
    let pre = if line == WASI_LINE {
        ProxyPre::new(pre).map(HttpPre::First)
    } else {
        ServicePre::new(pre).map(HttpPre::Next)
    };
    pre.map_err(|error| LoadError::ImportMismatch(format!("{error:#}")))
}

fn run_pre(pre: InstancePre<Guest>, line: &str) -> Result<RunPre, LoadError> {
    let pre = if line == WASI_LINE {
        CommandPre::new(pre).map(RunPre::First)
    } else {
        world::next::CommandPre::new(pre).map(RunPre::Next)
    };
    pre.map_err(|error| LoadError::ImportMismatch(format!("{error:#}")))
}

/// Out of the pool; a component that is too big for its slots loads where there are none.
fn load_code(engines: &Engines, path: &Path, code: Code) -> Result<(Arc<Host>, Component), LoadError> {
    let pooled = engines.pool(code).and_then(|pool| deserialize(&pool.engine, path).ok().map(|found| (pool, found)));
    pooled.map_or_else(|| on_demand(engines, path, code), Ok)
}

fn on_demand(engines: &Engines, path: &Path, code: Code) -> Result<(Arc<Host>, Component), LoadError> {
    let host = engines.on_demand(code).map_err(LoadError::Engine)?;
    let component = deserialize(&host.engine, path).map_err(|error| LoadError::Artifact(format!("{error:#}")))?;
    Ok((host, component))
}

/// Maps an artifact into memory.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file has to hold what this version of wasmtime compiled, unchanged for as long as it is mapped. Callers
    // give paths inside their artifact cache only: a folder that is private to this user, whose files are written by
    // `compile` alone, whole under another name and then renamed, never rewritten, and named after `engine_key`. Whoever
    // can write there can already write this process' own data. wasmtime checks version, settings and CPU besides.
    unsafe { Component::deserialize_file(engine, path) }
}

fn exports(component: &Component) -> Vec<String> {
    component.component_type().exports(component.engine()).map(|(name, _)| name.to_owned()).collect()
}

fn imports(component: &Component) -> Vec<String> {
    component.component_type().imports(component.engine()).map(|(name, _)| name.to_owned()).collect()
}

/// The memory and the pool slots that an instance takes.
fn needs(component: &Component) -> (u64, u32) {
    let Some(resources) = component.resources_required() else { return (0, 1) };
    let pages = resources.max_initial_memory_size.unwrap_or(0);
    let elements = resources.max_initial_table_size.unwrap_or(0);
    let memory = pages.saturating_mul(WASM_PAGE_BYTES).saturating_mul(u64::from(resources.num_memories));
    let tables = elements.saturating_mul(size_of::<usize>() as u64).saturating_mul(u64::from(resources.num_tables));
    let slots = resources.num_memories.max(resources.num_tables.div_ceil(TABLES_PER_SLOT)).max(1);
    (memory.saturating_add(tables), slots)
}

fn link(host: &Host, component: &Component) -> Result<InstancePre<Guest>, LoadError> {
    host.linker.instantiate_pre(component).map_err(|error| {
        let mut imports = imports(component);
        imports.retain(|name| !world::is_offered(name));
        if imports.is_empty() {
            LoadError::ImportMismatch(format!("{error:#}"))
        } else {
            LoadError::UnknownImports { imports }
        }
    })
}
