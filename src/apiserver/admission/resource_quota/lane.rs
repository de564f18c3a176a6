//! The line of those who write in one namespace: each begins with the figures that the one before is about to write, so that
//! many writes share one sync of the store and none undoes another's attempt.
//!
//! ```text
//! cache (used 3, revision 7) ← write A (used 4, if at revision 7) ← write B (used 5, if A's bytes are there) ← …
//! ```
//!
//! The store decides: where a link did not come about, those behind it fail, and begin again with what the cache has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

/// One namespace's line.
#[derive(Default)]
pub(super) struct Lane {
    /// Held from looking at the figures until the write is in the store's queue.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    chains: Mutex<Chains>,
    /// Told when a chain ends.
    ended: Notify,
}

#[derive(Default)]
struct Chains {
    by_quota: HashMap<String, Chain>,
    made: u64,
}

/// The writes of one quota that are on their way.
struct Chain {
    number: u64,
    value: Value,
    stored: Bytes,
    on_their_way: usize,
}

impl Lane {
    /// The quota as the last write on its way leaves it, and its bytes.
    pub fn head(&self, quota: &str) -> Option<(Value, Bytes)> {
        let chains = self.chains.lock();
        chains.by_quota.get(quota).map(|chain| (chain.value.clone(), chain.stored.clone()))
    }

    /// One more write is on its way. Answers which chain it belongs to.
    pub fn push(&self, quota: &str, value: Value, stored: Bytes) -> u64 {
        let mut chains = self.chains.lock();
        if let Some(chain) = chains.by_quota.get_mut(quota) {
            (chain.value, chain.stored) = (value, stored);
            chain.on_their_way += 1;
            return chain.number;
        }
        chains.made += 1;
        let number = chains.made;
        chains.by_quota.insert(quota.to_owned(), Chain { number, value, stored, on_their_way: 1 });
        number
    }

    /// A write has happened, and the cache has it; or it has not, and nobody may build on it.
    pub fn settle(&self, links: &[(String, u64)], has_happened: bool) {
        let mut chains = self.chains.lock();
        for (quota, number) in links {
            let Some(chain) = chains.by_quota.get_mut(quota).filter(|chain| chain.number == *number) else { continue };
            chain.on_their_way -= 1;
            if !has_happened || chain.on_their_way == 0 {
                chains.by_quota.remove(quota);
                self.ended.notify_waiters();
            }
        }
    }

    /// Whether any write is on its way.
    pub fn is_busy(&self) -> bool {
        !self.chains.lock().by_quota.is_empty()
    }

    /// Waits until no write is on its way, for whoever has the turn.
    pub async fn settled(&self, patience: Duration) {
        let all = async {
            loop {
                let mut ended = std::pin::pin!(self.ended.notified());
                ended.as_mut().enable();
                if !self.is_busy() {
                    return;
                }
                ended.await;
            }
        };
        // Those who wait longer look at what the cache has by then.
        let _ = tokio::time::timeout(patience, all).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(lane: &Lane) -> Option<Value> {
        lane.head("q").map(|(value, _)| value)
    }

    #[test]
    fn a_chain_lasts_while_its_writes_are_on_their_way() {
        let lane = Lane::default();
        assert_eq!(head(&lane), None);
        let first = lane.push("q", json!(1), Bytes::from_static(b"1"));
        let second = lane.push("q", json!(2), Bytes::from_static(b"2"));
        assert_eq!((first, head(&lane)), (second, Some(json!(2))));
        lane.settle(&[("q".to_owned(), first)], true);
        assert_eq!(head(&lane), Some(json!(2)));
        lane.settle(&[("q".to_owned(), second)], true);
        assert_eq!(head(&lane), None);
    }

    #[test]
    fn nobody_builds_on_a_write_that_did_not_happen() {
        let lane = Lane::default();
        let broken = lane.push("q", json!(1), Bytes::from_static(b"1"));
        lane.push("q", json!(2), Bytes::from_static(b"2"));
        lane.settle(&[("q".to_owned(), broken)], false);
        assert_eq!(head(&lane), None);
        let sound = lane.push("q", json!(3), Bytes::from_static(b"3"));
        // The second of the broken ones fails too, and breaks nothing more.
        lane.settle(&[("q".to_owned(), broken)], false);
        assert_eq!(head(&lane), Some(json!(3)));
        assert_ne!(broken, sound);
    }
}
