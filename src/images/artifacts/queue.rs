//! Turns: so many at once, and owners one after the other, however much one of them asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(super) struct Queue {
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Owners who wait, in the order of their next turns.
    owners: VecDeque<String>,
    waiting: HashMap<String, VecDeque<oneshot::Sender<Permit>>>,
}

/// The right to work. Its end is the next one's turn.
pub(super) struct Permit {
    queue: Option<Arc<Queue>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.state.lock().free += 1;
            queue.next();
        }
    }
}

impl Queue {
    pub fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: at_once, owners: VecDeque::new(), waiting: HashMap::new() }) })
    }

    /// Waits for a turn. Who stops waiting loses nothing but that.
    pub async fn turn(self: &Arc<Self>, owner: &str) -> Permit {
        loop {
            let (sender, receiver) = oneshot::channel();
            {
                let mut state = self.state.lock();
                if !state.waiting.contains_key(owner) {
                    state.owners.push_back(owner.to_owned());
                }
                state.waiting.entry(owner.to_owned()).or_default().push_back(sender);
            }
            self.next();
            // The sender is only dropped with the queue, which this call holds.
            if let Ok(permit) = receiver.await {
                return permit;
            }
        }
    }

    /// Hands out turns while there are any.
    fn next(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            if state.free == 0 {
                return;
            }
            let Some(owner) = state.owners.pop_front() else { return };
            let next = state.waiting.get_mut(&owner).and_then(VecDeque::pop_front);
            if state.waiting.get(&owner).is_some_and(VecDeque::is_empty) {
                state.waiting.remove(&owner);
            } else {
                state.owners.push_back(owner);
            }
            let Some(next) = next else { continue };
            state.free -= 1;
            drop(state);
            if let Err(mut unwanted) = next.send(Permit { queue: Some(Arc::clone(self)) }) {
                // Nobody waits for this one any more. Taken back by hand: its end would come here again.
                unwanted.queue = None;
                self.state.lock().free += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn owners_take_turns() {
        let queue = Queue::new(1);
        let first = queue.turn("a").await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |owner: &'static str| {
            let (queue, order) = (Arc::clone(&queue), Arc::clone(&order));
            async move {
                let _permit = queue.turn(owner).await;
                order.lock().push(owner);
            }
        };
        let all = futures::future::join_all(["a", "a", "a", "b", "c"].map(wait));
        tokio::pin!(all);
        assert!(futures::poll!(all.as_mut()).is_pending());
        {
            // Who goes away is passed over.
            let gone = queue.turn("a");
            tokio::pin!(gone);
            assert!(futures::poll!(gone.as_mut()).is_pending());
        }
        drop(first);
        all.await;
        assert_eq!(*order.lock(), ["a", "b", "c", "a", "a"]);
        assert_eq!(queue.state.lock().free, 1);
    }
}
