//! A queue of keys in which a key waits at most once and is with at most one worker.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Next;

/// How long a key that failed waits. Each failure in a row doubles the wait.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub max: Duration,
    /// After the first conflict.
    pub conflict_first: Duration,
    /// At most, for conflicts.
    pub conflict_max: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(5),
            max: Duration::from_secs(60),
            conflict_first: Duration::from_millis(1),
            conflict_max: Duration::from_secs(1),
        }
    }
}

/// The queue. Cheap to clone; clones share everything.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<K> {
    delays: Delays,
    state: Mutex<State<K>>,
    wake: Notify,
    closed: AtomicBool,
}

struct State<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    running: HashSet<K>,
    /// Added while running: run again afterwards.
    again: HashSet<K>,
    /// Of `again`, those that need not rest.
    hurried: HashSet<K>,
    /// Of `later`, those that come no sooner unless somebody hurries them.
    resting: HashSet<K>,
    later: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    tickets: u64,
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            hurried: HashSet::new(),
            resting: HashSet::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            tickets: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    /// Returns whether a worker should wake.
    fn add(&mut self, key: K) -> bool {
        if self.running.contains(&key) {
            self.again.insert(key);
            return false;
        }
        if self.resting.contains(&key) {
            return false;
        }
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
            return true;
        }
        false
    }

    /// As `add`, without any rest.
    fn hurry(&mut self, key: K) -> bool {
        if self.running.contains(&key) {
            self.hurried.insert(key.clone());
        } else if self.resting.remove(&key)
            && let Some(due) = self.due.remove(&key)
        {
            self.later.remove(&due);
        }
        self.add(key)
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if let Some(due) = self.due.get(&key) {
            if due.0 <= at {
                return;
            }
            self.later.remove(due);
        }
        self.tickets += 1;
        let due = (at, self.tickets);
        self.later.insert(due, key.clone());
        self.due.insert(key, due);
    }

    /// Takes the next key, or says when one is due.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.resting.remove(&key);
            self.add(key);
        }
        let Some(key) = self.ready.pop_front() else {
            return Err(self.later.first_key_value().map(|((at, _), _)| *at));
        };
        self.queued.remove(&key);
        self.running.insert(key.clone());
        // The run that begins now decides anew when to come back.
        if let Some(due) = self.due.remove(&key) {
            self.later.remove(&due);
        }
        Ok(key)
    }

    fn release(&mut self, key: &K, rest: Duration) -> bool {
        self.running.remove(key);
        let hurried = self.hurried.remove(key);
        if !self.again.remove(key) {
            return false;
        }
        if rest.is_zero() || hurried {
            return self.add(key.clone());
        }
        self.resting.insert(key.clone());
        self.add_at(key.clone(), Instant::now() + rest);
        true
    }

    fn count_failure(&mut self, key: &K) -> u32 {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        *failures - 1
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue.
    pub fn new(delays: Delays) -> Self {
        let (state, wake, closed) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { delays, state, wake, closed }) }
    }

    /// Nobody takes keys any more: whoever adds some may stop to, and those that are here go.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        *self.shared.state.lock() = State::default();
    }

    /// Whether nobody takes keys any more.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Asks for a run as soon as a worker is free.
    pub fn add(&self, key: K) {
        if !self.is_closed() && self.shared.state.lock().add(key) {
            self.shared.wake.notify_one();
        }
    }

    /// The same for a key that somebody wishes something new of: it does not rest before.
    pub fn hurry(&self, key: K) {
        if !self.is_closed() && self.shared.state.lock().hurry(key) {
            self.shared.wake.notify_one();
        }
    }

    /// Asks for a run after a while. Of several such wishes for a key the earliest counts.
    pub fn add_after(&self, key: K, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        self.shared.state.lock().add_at(key, Instant::now() + wait);
        self.shared.wake.notify_one();
    }

    /// How many keys wait for a worker.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// Whether no key waits for a worker.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for a key. Whoever takes it must hand it back with one of the methods below.
    pub async fn next(&self) -> K {
        loop {
            let taken = {
                let mut state = self.shared.state.lock();
                let taken = state.take(Instant::now());
                if taken.is_ok() && !state.ready.is_empty() {
                    // A permit may have been used up by this worker for several keys.
                    self.shared.wake.notify_one();
                }
                taken
            };
            match taken {
                Ok(key) => return key,
                Err(None) => self.shared.wake.notified().await,
                Err(Some(due)) => {
                    let _ = tokio::time::timeout_at(due, self.shared.wake.notified()).await;
                }
            }
        }
    }

    /// Hands a key back after a run that did its work. Where something changed meanwhile, the next run begins after `rest`.
    pub fn succeeded(&self, key: &K, next: Next, rest: Duration) {
        self.shared.state.lock().failures.remove(key);
        if let Next::After(wait) = next {
            self.shared.state.lock().add_at(key.clone(), Instant::now() + wait);
        }
        self.hand_back(key, rest);
        if next != Next::Done {
            self.shared.wake.notify_one();
        }
    }

    /// Hands a key back after a conflict: it comes again soon.
    pub fn conflicted(&self, key: &K) {
        let Delays { conflict_first, conflict_max, .. } = self.shared.delays;
        self.again_after_failure(key, conflict_first, conflict_max);
    }

    /// Hands a key back after a failure: it comes again after the wait that is returned.
    pub fn failed(&self, key: &K) -> Duration {
        let Delays { first, max, .. } = self.shared.delays;
        self.again_after_failure(key, first, max)
    }

    fn again_after_failure(&self, key: &K, first: Duration, max: Duration) -> Duration {
        let wait = {
            let mut state = self.shared.state.lock();
            let failures = state.count_failure(key);
            let wait = first.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(max);
            let wait = wait.mul_f64(rand::random_range(1.0..1.25));
            state.add_at(key.clone(), Instant::now() + wait);
            wait
        };
        self.hand_back(key, Duration::ZERO);
        self.shared.wake.notify_one();
        wait
    }

    fn hand_back(&self, key: &K, rest: Duration) {
        if self.shared.state.lock().release(key, rest) {
            self.shared.wake.notify_one();
        }
    }
}
