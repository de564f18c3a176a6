//! The bulk threads: a small executor for guests that compute, shared fairly between containers by weight.
//!
//! Each container has a virtual time that runs slower the heavier it is; whoever is furthest behind goes next. A container
//! that comes back after waiting starts where the others are: it has no claim on what it left unused.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use async_task::{FallibleTask, Runnable};
use base::os::{Urgency, set_thread_urgency};
use parking_lot::{Condvar, Mutex};

use crate::clock::nanos;

/// A weight of this much makes virtual time run as fast as time.
const WEIGHT_UNIT: u64 = 1000;

#[derive(Default)]
struct Queue {
    weight: u64,
    virtual_ns: u64,
    runnables: VecDeque<Runnable>,
}

#[derive(Default)]
struct State {
    queues: HashMap<u64, Queue>,
    /// The queues that are not empty, by virtual time.
    ready: BTreeSet<(u64, u64)>,
    /// No container that has something to do is further behind than this.
    floor_ns: u64,
    next_id: u64,
    stopping: bool,
}

impl State {
    fn push(&mut self, id: u64, runnable: Runnable) -> Option<Runnable> {
        if self.stopping {
            return Some(runnable);
        }
        let floor_ns = self.floor_ns;
        let Some(queue) = self.queues.get_mut(&id) else { return Some(runnable) };
        if queue.runnables.is_empty() {
            queue.virtual_ns = queue.virtual_ns.max(floor_ns);
            self.ready.insert((queue.virtual_ns, id));
        }
        queue.runnables.push_back(runnable);
        None
    }

    fn pop(&mut self) -> Option<(u64, Runnable)> {
        let (virtual_ns, id) = self.ready.pop_first()?;
        self.floor_ns = self.floor_ns.max(virtual_ns);
        let queue = self.queues.get_mut(&id)?;
        let runnable = queue.runnables.pop_front()?;
        if !queue.runnables.is_empty() {
            self.ready.insert((queue.virtual_ns, id));
        }
        Some((id, runnable))
    }

    fn charge(&mut self, id: u64, spent_ns: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let waits = self.ready.remove(&(queue.virtual_ns, id));
        queue.virtual_ns = queue.virtual_ns.saturating_add(spent_ns.saturating_mul(WEIGHT_UNIT) / queue.weight);
        if waits {
            self.ready.insert((queue.virtual_ns, id));
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

/// The executor. Its threads end when it is dropped, after the slice that they are in.
pub(crate) struct Bulk {
    shared: Arc<Shared>,
}

impl Bulk {
    /// `control` is the runtime whose timers and sockets the guests use.
    pub fn start(threads: usize, control: &tokio::runtime::Handle) -> Self {
        let shared = Arc::new(Shared::default());
        for number in 0..threads.max(1) {
            let (shared, control) = (Arc::clone(&shared), control.clone());
            let started = std::thread::Builder::new().name(format!("bulk-{number}")).spawn(move || {
                set_thread_urgency(Urgency::Idle);
                let _context = control.enter();
                shared.run();
            });
            if let Err(error) = started {
                tracing::error!(%error, "cannot start a bulk thread");
            }
        }
        Self { shared }
    }

    /// A share of the threads.
    pub fn group(&self, weight: u32) -> Arc<Group> {
        let mut state = self.shared.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.queues.insert(id, Queue { weight: u64::from(weight.max(1)), ..Queue::default() });
        Arc::new(Group { id, shared: Arc::clone(&self.shared) })
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.state.lock();
            state.stopping = true;
            state.ready.clear();
            state.queues.values_mut().flat_map(|queue| queue.runnables.drain(..)).collect::<Vec<_>>()
        };
        self.shared.work.notify_all();
        // Dropping a task drops its guest, which may take this module's lock.
        drop(left);
    }
}

/// One container's share of the bulk threads.
pub(crate) struct Group {
    id: u64,
    shared: Arc<Shared>,
}

impl Group {
    /// Another share from now on.
    pub fn set_weight(&self, weight: u32) {
        if let Some(queue) = self.shared.state.lock().queues.get_mut(&self.id) {
            queue.weight = u64::from(weight.max(1));
        }
    }

    /// Runs a future on the bulk threads. Dropping the handle cancels it.
    pub fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> FallibleTask<T> {
        let group = Arc::clone(self);
        let (runnable, task) = async_task::spawn(future, move |runnable| group.schedule(runnable));
        runnable.schedule();
        task.fallible()
    }

    fn schedule(&self, runnable: Runnable) {
        let refused = self.shared.state.lock().push(self.id, runnable);
        if refused.is_none() {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Every task holds its group, so the queue is empty by now.
        let queue = {
            let mut state = self.shared.state.lock();
            let queue = state.queues.remove(&self.id);
            if let Some(queue) = &queue {
                state.ready.remove(&(queue.virtual_ns, self.id));
            }
            queue
        };
        drop(queue);
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let Some((id, runnable)) = self.next() else { return };
            let began = Instant::now();
            // A panic in a host function must not cost a thread; its task is closed and whoever waits for it is told.
            if std::panic::catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
                tracing::error!("a host function panicked on a bulk thread");
            }
            self.state.lock().charge(id, nanos(began.elapsed()));
        }
    }

    fn next(&self) -> Option<(u64, Runnable)> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(found) = state.pop() {
                return Some(found);
            }
            self.work.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(state: &mut State, id: u64, weight: u64) {
        state.queues.insert(id, Queue { weight, ..Queue::default() });
    }

    /// Runs `rounds` slices of 1000 ns where every group always has something to do, and counts each group's.
    fn shares(weights: &[u64], rounds: usize) -> Vec<usize> {
        let mut state = State::default();
        let mut counts = vec![0; weights.len()];
        for (id, weight) in weights.iter().enumerate() {
            queued(&mut state, id as u64, *weight);
        }
        let idle = || {
            let (runnable, task) = async_task::spawn(async {}, |_| {});
            task.detach();
            runnable
        };
        for id in 0..weights.len() {
            assert!(state.push(id as u64, idle()).is_none());
        }
        for _ in 0..rounds {
            let Some((id, _)) = state.pop() else { panic!("nothing is ready") };
            counts[id as usize] += 1;
            state.charge(id, 1000);
            assert!(state.push(id, idle()).is_none());
        }
        counts
    }

    #[test]
    fn containers_share_by_weight() {
        assert_eq!(shares(&[100, 100], 100), [50, 50]);
        let counts = shares(&[100, 300], 400);
        assert!(counts[0].abs_diff(100) <= 2 && counts[1].abs_diff(300) <= 2, "{counts:?}");
    }

    #[tokio::test]
    async fn tasks_run_and_their_handles_answer() {
        let bulk = Bulk::start(2, &tokio::runtime::Handle::current());
        let group = bulk.group(100);
        let task = group.spawn(async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            7
        });
        assert_eq!(task.await, Some(7));
        let failing = group.spawn(async { panic!("on purpose") });
        let ended: Option<()> = failing.await;
        assert_eq!(ended, None);
        assert_eq!(group.spawn(async { 8 }).await, Some(8));
    }
}
