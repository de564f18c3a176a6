//! What every controller runs in: a queue of keys, one run a key at a time, back-off, batches, metrics and spans.
//!
//! ```text
//! informers ── change → keys ──▶ Queue ──▶ worker ──▶ Reconcile::reconcile(key) ──▶ Done | After(d) | error → later
//! ```
//!
//! *Guarantees*: a key is never reconciled twice at once; a key that changes during its run is run again; nothing is run
//! before every watched cache is whole. A run gets the key and nothing else, so that a signal, a resync and a restart
//! take the same path.
//!
//! Where several processes have the same task, [`Controller::start`] is what a [lease](crate::leases) guards: a controller ends
//! with the tasks that it was started on, and is put together anew when this process leads again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::Tasks;
use base::os::thread_cpu_time;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use thiserror::Error;
use tokio::time::Instant;
use tracing::Instrument;

use crate::informers::{Change, Informer, Key};

mod batches;
mod expectations;
mod metrics;
mod queue;
#[cfg(test)]
mod tests;

pub use batches::in_doubling_batches;
pub use expectations::Expectations;
pub use metrics::ControllerMetrics;
pub use queue::{Delays, Queue};

/// What a run that did not fail asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until something changes.
    Done,
    /// Another run after this long, or earlier when something changes.
    After(Duration),
}

/// Why a run failed. The key is run again later.
#[derive(Debug, Error)]
pub enum RunError {
    /// The server refused, or could not be reached.
    #[error("{}", crate::explain(.0))]
    Api(#[from] kube::Error),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl RunError {
    /// Whether somebody else changed the object first, so that another look is all that is needed.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(error) if crate::is_conflict(error))
    }
}

/// Brings one object's world to what the object wants.
#[async_trait]
pub trait Reconcile: Send + Sync + 'static {
    /// Looks, plans and acts once for the object at `key`, which may be gone.
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError>;
}

type Keys = Box<dyn Fn() -> Vec<Key> + Send + Sync>;

/// A controller that is being put together; [`Controller::start`] sets it running.
pub struct Controller {
    name: &'static str,
    queue: Queue<Key>,
    metrics: ControllerMetrics,
    workers: usize,
    caches: Vec<BoxFuture<'static, ()>>,
    resync: Vec<Keys>,
}

/// No change waits longer for a rest to end.
const REST_MAX: Duration = Duration::from_millis(100);

/// How often every object is looked at without a reason, in case a mapping forgot one.
const RESYNC: Duration = Duration::from_secs(600);

impl Controller {
    /// A controller with nothing to watch. `name` shows in spans and metrics.
    pub fn new(name: &'static str, metrics: &ControllerMetrics) -> Self {
        Self {
            name,
            queue: Queue::new(Delays::default()),
            metrics: metrics.clone(),
            workers: 8,
            caches: Vec::new(),
            resync: Vec::new(),
        }
    }

    /// How many keys are reconciled at the same time.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Reconciles every object of this kind whenever it changes, and without any rest when it is wished otherwise.
    #[must_use]
    pub fn each<K: Resource + Send + Sync + 'static>(mut self, informer: &Informer<K>) -> Self {
        let all = informer.clone();
        self.resync.push(Box::new(move || all.keys()));
        self.told(informer, |queue, change| match is_wish(change) {
            true => queue.hurry(change.key.clone()),
            false => queue.add(change.key.clone()),
        })
    }

    /// Reconciles the objects of kind `owner` that control an object of this kind, when that changes.
    #[must_use]
    pub fn controlled<K: Resource + Send + Sync + 'static>(self, informer: &Informer<K>, owner: &'static str) -> Self {
        self.watch(informer, move |change| {
            let mut keys: Vec<Key> =
                change.states().filter_map(|object| controller_key(object.as_ref(), owner)).collect();
            keys.dedup();
            keys
        })
    }

    /// Reconciles the keys that `keys` finds for a change.
    #[must_use]
    pub fn watch<K: Resource + Send + Sync + 'static>(
        self,
        informer: &Informer<K>,
        keys: impl Fn(&Change<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        self.told(informer, move |queue, change| keys(change).into_iter().for_each(|key| queue.add(key)))
    }

    fn told<K: Resource + Send + Sync + 'static>(
        mut self,
        informer: &Informer<K>,
        tell: impl Fn(&Queue<Key>, &Change<K>) + Send + Sync + 'static,
    ) -> Self {
        let queue = self.queue.clone();
        informer.on_change_while(move |change| {
            // The informer outlives a controller that may act no longer.
            if queue.is_closed() {
                return false;
            }
            tell(&queue, change);
            true
        });
        let cache = informer.clone();
        self.caches.push(async move { cache.synced().await }.boxed());
        self
    }

    /// The queue, for what asks for runs from outside of any watch.
    pub fn queue(&self) -> Queue<Key> {
        self.queue.clone()
    }

    /// Runs until `tasks` are told to stop.
    pub fn start(self, tasks: &Tasks, reconcile: impl Reconcile) {
        let shutdown = tasks.shutdown();
        let (name, queue) = (self.name, self.queue.clone());
        tasks.service(format!("controller {name}"), async move {
            tokio::select! {
                () = self.run(Arc::new(reconcile)) => {}
                () = shutdown.cancelled() => {}
            }
            queue.close();
        });
    }

    async fn run(self, reconcile: Arc<dyn Reconcile>) {
        let Self { name, queue, metrics, workers, caches, resync } = self;
        futures::future::join_all(caches).await;
        tracing::debug!(controller = name, "caches are whole");
        let working: futures::stream::FuturesUnordered<_> =
            (0..workers).map(|_| work(name, &queue, &metrics, reconcile.as_ref())).collect();
        let working = working.for_each(|()| std::future::ready(()));
        tokio::join!(working, look_at_all(&queue, &resync));
    }
}

/// Whether an object came or went, or is wished otherwise: more than its status changed.
fn is_wish<K: Resource>(change: &Change<K>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let (was, is) = (old.meta(), new.meta());
    was.generation != is.generation || was.deletion_timestamp != is.deletion_timestamp
}

/// A run that takes less is none of an owner of thousands.
const BRIEF: Duration = Duration::from_millis(4);

/// How long a key rests that changed during its run: an owner of thousands whose objects change one by one takes a tenth of a
/// core and sees many changes at once, where it would take all of one to see them one by one. Those of few rest a moment only,
/// because somebody may wait for what they do.
fn rest_after(busy: Duration) -> Duration {
    (busy * 2).max(busy.saturating_sub(BRIEF) * 9).min(REST_MAX)
}

/// Runs a future, and says how long it had a core, or a thread where the operating system does not tell.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = std::pin::pin!(future);
    let mut busy = Duration::ZERO;
    let outcome = std::future::poll_fn(|cx| {
        let (began, on_core) = (std::time::Instant::now(), thread_cpu_time());
        let polled = future.as_mut().poll(cx);
        let computed = on_core.and_then(|before| thread_cpu_time()?.checked_sub(before));
        busy += computed.unwrap_or_else(|| began.elapsed());
        polled
    });
    (outcome.await, busy)
}

/// Takes keys for ever.
async fn work(name: &'static str, queue: &Queue<Key>, metrics: &ControllerMetrics, reconcile: &dyn Reconcile) {
    loop {
        let key = queue.next().await;
        metrics.depth(name, queue.len());
        let started = Instant::now();
        let span = tracing::debug_span!("reconcile", controller = name, object = %key);
        let (run, busy) = timed(AssertUnwindSafe(reconcile.reconcile(&key).instrument(span)).catch_unwind()).await;
        let outcome = match run {
            Ok(Ok(next)) => {
                queue.succeeded(&key, next, rest_after(busy));
                "done"
            }
            Ok(Err(error)) if error.is_conflict() => {
                tracing::debug!(controller = name, object = %key, %error, "conflict; looking again");
                queue.conflicted(&key);
                "conflict"
            }
            Ok(Err(RunError::Api(error))) if crate::is_namespace_terminating(&error) => {
                tracing::debug!(controller = name, object = %key, "the namespace is being deleted; nothing to do");
                queue.succeeded(&key, Next::Done, Duration::ZERO);
                "moot"
            }
            Ok(Err(error)) => {
                let wait = queue.failed(&key);
                tracing::warn!(controller = name, object = %key, %error, ?wait, "run failed");
                "error"
            }
            Err(_panic) => {
                let wait = queue.failed(&key);
                tracing::error!(controller = name, object = %key, ?wait, "run panicked");
                "panic"
            }
        };
        metrics.ran(name, outcome, started.elapsed());
    }
}

async fn look_at_all(queue: &Queue<Key>, resync: &[Keys]) {
    loop {
        tokio::time::sleep(RESYNC).await;
        for key in resync.iter().flat_map(|keys| keys()) {
            // Spread, so that a resync is never a burst.
            queue.add_after(key, RESYNC.mul_f64(rand::random_range(0.0..0.1)));
        }
    }
}

/// The key of the object of kind `owner` that controls `object`.
pub fn controller_key<K: Resource>(object: &K, owner: &str) -> Option<Key> {
    let meta = object.meta();
    let reference = meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))?;
    (reference.kind == owner).then(|| Key::new(meta.namespace.clone().unwrap_or_default(), reference.name.clone()))
}
