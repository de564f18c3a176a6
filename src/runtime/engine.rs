//! The engines: four kinds of code, each with two ways to allocate, made when first needed.
//!
//! An artifact does not depend on how instances are allocated, so the pool and the on-demand engine of one kind load the
//! same file. Kinds do differ: code that counts fuel is other code, and so is code of programs that have tasks of their own,
//! as those of WASI 0.3. What keeps account of tasks costs a fresh instance a third more, so those that have none go without.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

use crate::guest::Guest;
use crate::spec::Form;
use crate::ticker::Ticker;

/// Below this the pool is not worth having.
const POOL_SLOTS_MIN: u32 = 16;
/// Warm slots cost up to 384 KiB each while nobody uses them.
const WARM_SLOTS_PER_CORE: u32 = 16;
const KEEP_MEMORY_BYTES: usize = 256 << 10;
const KEEP_TABLE_BYTES: usize = 64 << 10;
const KEEP_STACK_BYTES: usize = 64 << 10;
/// Components hold a few core instances and tables beside their one memory.
const CORE_INSTANCES_PER_SLOT: u32 = 16;
/// See [`CORE_INSTANCES_PER_SLOT`].
pub(crate) const TABLES_PER_SLOT: u32 = 4;

/// What an engine's code is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub form: Form,
    /// Whether programs may have tasks of their own.
    pub tasks: bool,
}

impl Code {
    fn index(self) -> usize {
        usize::from(self.form.fuel) * 2 + usize::from(self.tasks)
    }
}

/// One engine with everything that guests import linked.
pub(crate) struct Host {
    pub engine: Engine,
    pub linker: Linker<Guest>,
    /// The pool's slots; `None` where instances are allocated on demand.
    pub slots: Option<Arc<Semaphore>>,
    pub slots_max: usize,
}

/// All engines of the process.
pub(crate) struct Engines {
    pool_slots_max: u32,
    cores: u32,
    ticker: Arc<Ticker>,
    on_demand: [OnceLock<Result<Arc<Host>, String>>; 4],
    pool: [OnceLock<Option<Arc<Host>>>; 4],
    keys: [OnceLock<String>; 2],
    /// The engine of drafts: code that is made in a fraction of the time, and is slower.
    draft: OnceLock<Result<Arc<Host>, String>>,
}

impl Engines {
    pub fn new(pool_slots_max: u32, cores: u32, ticker: Arc<Ticker>) -> Self {
        Self {
            pool_slots_max,
            cores,
            ticker,
            on_demand: Default::default(),
            pool: Default::default(),
            keys: Default::default(),
            draft: OnceLock::new(),
        }
    }

    /// The engine that compiles, inspects and runs what lives long.
    pub fn on_demand(&self, code: Code) -> Result<Arc<Host>, String> {
        let made = self.on_demand[code.index()].get_or_init(|| {
            let engine = compiler(code)?;
            self.host(engine, code, None).map_err(|error| format!("{error:#}"))
        });
        made.clone()
    }

    /// The engine that loads drafts, if this build and this machine have the compiler for them. Their instances are allocated
    /// on demand: a pool would be too much for what lives a few seconds.
    pub fn draft(&self) -> Result<Arc<Host>, String> {
        let made =
            self.draft.get_or_init(|| self.host(draft_compiler()?, DRAFT, None).map_err(|error| format!("{error:#}")));
        made.clone()
    }

    /// The pool, if this host's address space has room for one.
    pub fn pool(&self, code: Code) -> Option<Arc<Host>> {
        self.pool[code.index()].get_or_init(|| self.make_pool(code)).clone()
    }

    fn make_pool(&self, code: Code) -> Option<Arc<Host>> {
        let mut slots = self.pool_slots_max;
        while slots >= POOL_SLOTS_MIN {
            let strategy = InstanceAllocationStrategy::Pooling(pool_config(slots, self.cores));
            match Engine::new(&config(code, strategy)) {
                Ok(engine) => match self.host(engine, code, Some(slots)) {
                    Ok(host) => return Some(host),
                    Err(error) => {
                        tracing::warn!(%error, "cannot link into the instance pool; instances are allocated on demand");
                        return None;
                    }
                },
                Err(error) => tracing::debug!(slots, %error, "the address space has no room for this pool; halving it"),
            }
            slots /= 2;
        }
        if self.pool_slots_max >= POOL_SLOTS_MIN {
            tracing::warn!("the address space has no room for an instance pool; instances are allocated on demand");
        }
        None
    }

    fn host(&self, engine: Engine, code: Code, slots: Option<u32>) -> wasmtime::Result<Arc<Host>> {
        let linker = crate::linker::link(&engine, code.tasks)?;
        self.ticker.add(engine.weak());
        let slots_max = slots.map_or(usize::MAX, |slots| slots as usize);
        let slots = slots.map(|slots| Arc::new(Semaphore::new(slots as usize)));
        Ok(Arc::new(Host { engine, linker, slots, slots_max }))
    }

    /// What an artifact's usability depends on, besides the component: wasmtime's version, settings and the CPU. Whether a
    /// program has tasks is told by the component.
    pub fn key(&self, form: Form) -> Result<String, String> {
        let host = self.on_demand(Code { form, tasks: false })?;
        Ok(self.keys[usize::from(form.fuel)].get_or_init(|| compatibility_key(&host.engine)).clone())
    }
}

/// An engine that compiles what [`Engines`] of another process load, and does nothing else.
pub(crate) fn compiler(code: Code) -> Result<Engine, String> {
    Engine::new(&config(code, InstanceAllocationStrategy::OnDemand)).map_err(|error| format!("{error:#}"))
}

/// An engine that makes drafts and does nothing else.
pub(crate) fn draft_compiler() -> Result<Engine, String> {
    Engine::new(&draft_config()).map_err(|error| format!("{error:#}"))
}

/// What drafts are like, whatever the program: they do not live long.
pub(crate) const DRAFT: Code = Code { form: Form { fuel: false }, tasks: true };

/// The tunables are those of every engine; the compiler makes one pass over each function.
fn draft_config() -> Config {
    let mut config = config(DRAFT, InstanceAllocationStrategy::OnDemand);
    config.strategy(Strategy::Winch);
    config
}

/// What must be equal for an artifact of one engine to load in another.
pub(crate) fn compatibility_key(engine: &Engine) -> String {
    let mut hasher = ShaHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex::encode(&hasher.0.finalize()[..16])
}

/// std's hashers promise nothing across versions; the key names files that outlive this process.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// The one place where tunables are set: what differs between engines of the same code must not change it.
fn config(code: Code, strategy: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model_async(code.tasks)
        .concurrency_support(code.tasks)
        .consume_fuel(code.form.fuel)
        // Names of functions suffice; files and lines would make each artifact several times its size.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .allocation_strategy(strategy);
    config
}

fn pool_config(slots: u32, cores: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(slots)
        .max_tables_per_module(TABLES_PER_SLOT)
        .max_unused_warm_slots(WARM_SLOTS_PER_CORE * cores)
        .linear_memory_keep_resident(KEEP_MEMORY_BYTES)
        .table_keep_resident(KEEP_TABLE_BYTES)
        // Where the kernel can tell which pages were written (Linux 6.7), resetting a slot costs no page faults.
        .pagemap_scan(Enabled::Auto)
        .async_stack_keep_resident(KEEP_STACK_BYTES);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_allocations_of_a_code_share_artifacts_and_codes_do_not() {
        let engines = Engines::new(64, 1, Arc::new(Ticker::start()));
        let mut keys = Vec::new();
        for (fuel, tasks) in [(false, false), (false, true), (true, false), (true, true)] {
            let code = Code { form: Form { fuel }, tasks };
            let host = engines.on_demand(code).unwrap_or_else(|error| panic!("{error}"));
            let key = compatibility_key(&host.engine);
            assert_eq!(engines.pool(code).map(|host| compatibility_key(&host.engine)).as_ref(), Some(&key));
            assert!(!keys.contains(&key), "{code:?}");
            keys.push(key);
        }
    }
}
