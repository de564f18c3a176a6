//! A container: what all instances of one have in common, its accounts and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base::histogram::Histogram;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bulk::{Bulk, Group};
use crate::capabilities::blobstore::OpenBlobs;
use crate::capabilities::keyvalue::OpenStores;
use crate::demand::{Crowd, Demand};
use crate::habit::Habit;
use crate::metrics::Families;
use crate::spec::{Common, Exit, Limits, Reason, Stats};
use crate::stores::Stores;
use crate::ticker::Ticker;
use crate::{cpu, memory};

/// The exit code of whatever was killed: 128 + SIGKILL.
pub(crate) const KILLED: i32 = 137;

/// What a container counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub requests: AtomicU64,
    pub traps: AtomicU64,
    pub timeouts: AtomicU64,
    pub overloads: AtomicU64,
    pub in_flight: AtomicU64,
    pub fuel: AtomicU64,
    pub latency: Histogram,
    /// How long the first response took, in nanoseconds; nought before it.
    pub first_byte_ns: AtomicU64,
}

/// Where memory and CPU are booked. Several programs may share one: what is run in a container by somebody who looks
/// into it is the container's to pay.
#[derive(Clone)]
pub struct Account {
    memory: Arc<memory::Ledger>,
    cpu: Arc<cpu::Ledger>,
    group: Arc<Group>,
}

impl Account {
    fn new(spec: &Common, bulk: &Bulk) -> Self {
        Self {
            memory: Arc::new(memory::Ledger::of_container(spec.memory_bytes)),
            cpu: Arc::new(cpu::Ledger::new(spec.cpu_millis)),
            group: bulk.group(spec.cpu_weight),
        }
    }
}

/// One container.
pub(crate) struct Container {
    pub spec: Common,
    pub memory: Arc<memory::Ledger>,
    /// How many sockets it has.
    pub sockets: Arc<AtomicUsize>,
    pub cpu: Arc<cpu::Ledger>,
    pub counts: Counts,
    pub habit: Habit,
    pub demand: Demand,
    pub group: Arc<Group>,
    pub ticker: Arc<Ticker>,
    pub families: Families,
    /// The node's stores, and those of them that this container has opened.
    pub stores: Arc<Stores>,
    pub keyvalue: OpenStores,
    pub blobstore: OpenBlobs,
    started: SystemTime,
    ended: AtomicBool,
    /// Wakes guests that wait when the container ends.
    pub cancel: CancellationToken,
    /// Tells guests that ask that they should come to their end.
    pub stopping: CancellationToken,
    exit: watch::Sender<Option<Exit>>,
    ending: Mutex<()>,
}

impl Container {
    pub fn new(
        spec: Common,
        bulk: &Bulk,
        ticker: &Arc<Ticker>,
        crowd: &Arc<Crowd>,
        families: &Families,
        stores: &Arc<Stores>,
    ) -> Arc<Self> {
        let Account { memory, cpu, group } = spec.account.clone().unwrap_or_else(|| Account::new(&spec, bulk));
        Arc::new(Self {
            memory,
            sockets: Arc::default(),
            cpu,
            counts: Counts::default(),
            habit: Habit::default(),
            demand: Demand::new(crowd),
            group,
            ticker: Arc::clone(ticker),
            families: families.clone(),
            stores: Arc::clone(stores),
            keyvalue: OpenStores::default(),
            blobstore: OpenBlobs::default(),
            started: SystemTime::now(),
            ended: AtomicBool::new(false),
            cancel: CancellationToken::new(),
            stopping: CancellationToken::new(),
            exit: watch::Sender::new(None),
            ending: Mutex::new(()),
            spec,
        })
    }

    /// Where it books what it uses.
    pub fn account(&self) -> Account {
        Account { memory: Arc::clone(&self.memory), cpu: Arc::clone(&self.cpu), group: Arc::clone(&self.group) }
    }

    /// Whether it is over, so that its guests have to stop.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Ends the container, unless it has ended already: its guests stop, and whoever waits learns why.
    pub fn end(&self, code: i32, reason: Reason, message: String) {
        let _only_one = self.ending.lock();
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        if reason == Reason::OomKilled {
            self.families.oom_kills.inc();
        }
        let exit = Exit { code, reason, message, started: self.started, finished: SystemTime::now() };
        self.exit.send_replace(Some(exit));
        self.cancel.cancel();
    }

    /// Ends the container because a guest failed after it was refused memory.
    pub fn end_out_of_memory(&self, detail: &str) {
        let what = match self.memory.limit() {
            Some(limit) => format!("the memory limit of {limit} bytes was reached"),
            None => "what this machine has for containers without a memory limit is used up".to_owned(),
        };
        self.end(KILLED, Reason::OomKilled, format!("{what}; {detail}"));
    }

    /// How it ended; waits until it has.
    pub fn exit(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.exit.subscribe();
        let started = self.started;
        Box::pin(async move {
            let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
            ended.unwrap_or_else(|| Exit {
                code: KILLED,
                reason: Reason::Error,
                message: "the container was dropped".to_owned(),
                started,
                finished: SystemTime::now(),
            })
        })
    }

    /// Books the fuel that an instance has used of its budget.
    pub fn burnt<T>(&self, store: &wasmtime::Store<T>) {
        if let Some(budget) = self.spec.fuel
            && let Ok(left) = store.get_fuel()
        {
            self.counts.fuel.fetch_add(budget.saturating_sub(left), Ordering::Relaxed);
        }
    }

    /// Holds it to other limits from now on.
    pub fn resize(&self, limits: Limits) {
        self.memory.set_limit(limits.memory_bytes);
        self.cpu.set_limit(limits.cpu_millis);
        self.group.set_weight(limits.cpu_weight);
    }

    pub fn stats(&self) -> Stats {
        Stats {
            memory_bytes: self.memory.used(),
            memory_bytes_peak: self.memory.peak(),
            cpu_time: self.cpu.used(),
            throttled_time: self.cpu.throttled(),
            throttled: self.cpu.throttled_times(),
            fuel: self.counts.fuel.load(Ordering::Relaxed),
            latency: self.counts.latency.snapshot(),
            first_byte: self.first_byte(),
            requests: self.counts.requests.load(Ordering::Relaxed),
            traps: self.counts.traps.load(Ordering::Relaxed),
            timeouts: self.counts.timeouts.load(Ordering::Relaxed),
            overloads: self.counts.overloads.load(Ordering::Relaxed),
            in_flight: self.counts.in_flight.load(Ordering::Relaxed),
            growth_refused: self.memory.refused(),
        }
    }

    pub fn pulse(&self) -> (Duration, Option<Duration>) {
        (self.cpu.used(), self.first_byte())
    }

    fn first_byte(&self) -> Option<Duration> {
        let nanos = self.counts.first_byte_ns.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}
