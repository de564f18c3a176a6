//! Seats, and the queues before them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How a level is meant to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub name: Arc<str>,
    /// Needs no seats.
    pub exempt: bool,
    /// Seats in proportion to those of the others.
    pub shares: u64,
    /// How much of its seats others may use while it does not.
    pub lendable_percent: u64,
    /// How many seats beyond its own it may use, in percent of its own; any number when not said.
    pub borrowing_limit_percent: Option<u64>,
    /// Who finds no seat waits here; without queues it is sent away.
    pub queuing: Option<Queuing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queuing {
    pub queues: usize,
    /// How many queues a flow is dealt, of which it takes the shortest.
    pub hand: usize,
    pub length: usize,
}

/// One level at work.
#[derive(Default)]
struct Level {
    plan: Plan,
    nominal: usize,
    /// What others may not take.
    kept: usize,
    most: usize,
    taken: usize,
    queues: Vec<VecDeque<oneshot::Sender<Seat>>>,
    waiting: usize,
    /// The queue that is served next.
    turn: usize,
}

#[derive(Default)]
struct State {
    levels: HashMap<Arc<str>, Level>,
}

/// All levels.
#[derive(Clone)]
pub(super) struct Levels {
    total: usize,
    state: Arc<Mutex<State>>,
}

/// A seat of a level; free again when dropped.
pub(crate) struct Seat {
    level: Option<(Levels, Arc<str>)>,
}

/// What became of a request at the door of its level.
pub(super) enum Entered {
    Seated(Seat),
    Waiting(Waiting),
    Refused,
}

/// Ends with a seat.
pub(super) struct Waiting(oneshot::Receiver<Seat>);

impl Future for Waiting {
    type Output = Result<Seat, oneshot::error::RecvError>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Levels {
    pub fn new(total: usize) -> Self {
        Self { total: total.max(1), state: Arc::default() }
    }

    /// Takes new plans. Who sits stays seated; who waits at a level that is gone is sent away.
    pub fn plan(&self, plans: &[Plan]) {
        let shares: u64 = plans.iter().map(|plan| plan.shares).sum::<u64>().max(1);
        let mut state = self.state.lock();
        state.levels.retain(|name, level| level.taken > 0 || plans.iter().any(|plan| plan.name == *name));
        for plan in plans {
            let level = state.levels.entry(plan.name.clone()).or_default();
            let share = |part: u64, whole: u64| usize::try_from(part.div_ceil(whole)).unwrap_or(usize::MAX);
            level.nominal = share(plan.shares.saturating_mul(self.total as u64), shares);
            level.kept =
                level.nominal - share(level.nominal as u64 * plan.lendable_percent.min(100), 100).min(level.nominal);
            level.most = match plan.borrowing_limit_percent {
                Some(percent) => {
                    level.nominal.saturating_add(share((level.nominal as u64).saturating_mul(percent), 100))
                }
                None => self.total,
            };
            if level.plan.queuing != plan.queuing {
                level.queues.clear();
                level.waiting = 0;
                level.queues.resize_with(plan.queuing.map_or(0, |queuing| queuing.queues), VecDeque::new);
            }
            level.plan = plan.clone();
        }
    }

    /// Lets a request of `flow` in, or shows it its queue.
    pub fn enter(&self, name: &Arc<str>, flow: u64) -> Entered {
        let mut state = self.state.lock();
        let free = state.is_free(name, self.total);
        let Some(level) = state.levels.get_mut(name) else { return Entered::Seated(Seat { level: None }) };
        if level.plan.exempt {
            return Entered::Seated(Seat { level: None });
        }
        if free && level.waiting == 0 {
            level.taken += 1;
            return Entered::Seated(self.seat(name));
        }
        let Some(queuing) = level.plan.queuing else { return Entered::Refused };
        let hand = dealt(flow, queuing);
        let shortest = hand.into_iter().min_by_key(|at| level.queues.get(*at).map_or(usize::MAX, VecDeque::len));
        let Some(queue) = shortest.and_then(|at| level.queues.get_mut(at)) else { return Entered::Refused };
        if queue.len() >= queuing.length {
            return Entered::Refused;
        }
        let (sender, receiver) = oneshot::channel();
        queue.push_back(sender);
        level.waiting += 1;
        let called = self.call(&mut state);
        drop(state);
        deliver(called);
        Entered::Waiting(Waiting(receiver))
    }

    fn seat(&self, name: &Arc<str>) -> Seat {
        Seat { level: Some((self.clone(), name.clone())) }
    }

    fn leave(&self, name: &Arc<str>) {
        let mut state = self.state.lock();
        if let Some(level) = state.levels.get_mut(name) {
            level.taken = level.taken.saturating_sub(1);
        }
        let called = self.call(&mut state);
        // Who has gone meanwhile gives the seat back, which takes the lock again.
        drop(state);
        deliver(called);
    }

    /// Who waits and can have a seat now.
    fn call(&self, state: &mut State) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut called = Vec::new();
        let names: Vec<Arc<str>> =
            state.levels.iter().filter(|(_, level)| level.waiting > 0).map(|(name, _)| name.clone()).collect();
        for name in names {
            while state.is_free(&name, self.total) {
                let Some(waiter) = state.levels.get_mut(&name).and_then(Level::next) else { break };
                if let Some(level) = state.levels.get_mut(&name) {
                    level.taken += 1;
                }
                called.push((waiter, self.seat(&name)));
            }
        }
        called
    }
}

fn deliver(called: Vec<(oneshot::Sender<Seat>, Seat)>) {
    for (waiter, seat) in called {
        let _ = waiter.send(seat);
    }
}

impl State {
    /// Whether the level has a seat left, its own or a borrowed one.
    fn is_free(&self, name: &str, total: usize) -> bool {
        let Some(level) = self.levels.get(name) else { return true };
        if level.taken < level.nominal {
            return true;
        }
        if level.taken >= level.most {
            return false;
        }
        let others = self.levels.iter().filter(|(other, _)| &***other != name);
        let spoken_for: usize = others.map(|(_, other)| other.taken.max(other.kept)).sum();
        spoken_for + level.taken < total
    }
}

impl Level {
    /// The next one of the queue whose turn it is; who has gone is passed over.
    fn next(&mut self) -> Option<oneshot::Sender<Seat>> {
        let count = self.queues.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            while let Some(waiter) = self.queues.get_mut(at).and_then(VecDeque::pop_front) {
                self.waiting -= 1;
                if !waiter.is_closed() {
                    self.turn = (at + 1) % count;
                    return Some(waiter);
                }
            }
        }
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((levels, name)) = self.level.take() {
            levels.leave(&name);
        }
    }
}

/// The queues that a flow may use: always the same ones, and hardly ever the same as another flow's (shuffle sharding).
fn dealt(flow: u64, Queuing { queues, hand, .. }: Queuing) -> Vec<usize> {
    let mut deck: Vec<usize> = (0..queues).collect();
    let mut rest = flow;
    (0..hand.min(queues))
        .map(|_| {
            let left = deck.len() as u64;
            let at = usize::try_from(rest % left).unwrap_or_default();
            rest = (rest / left) ^ flow.rotate_left(17);
            deck.swap_remove(at)
        })
        .collect()
}
