//! A store that is gone when the process ends: for tests and `--ephemeral`.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::contract::{Check, CommitError, Entry, Event, EventStream, ListError, Page, Revision, Store, Txn};
use crate::history::{Bounds, Change, History, Record, page, page_at};

const BOUNDS: Bounds = Bounds { transactions_max: 10_000, bytes_max: 16 << 20 };

struct State {
    entries: BTreeMap<String, (Revision, Bytes)>,
    revision: Revision,
    closed: bool,
}

/// Everything in one ordered map.
pub struct Memory {
    state: Mutex<State>,
    history: History,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_bounds(BOUNDS)
    }

    pub(crate) fn with_bounds(bounds: Bounds) -> Self {
        // A list must never answer resourceVersion 0, which means "any" to clients.
        let revision = Revision(1);
        Self {
            state: Mutex::new(State { entries: BTreeMap::new(), revision, closed: false }),
            history: History::starting_at(revision, bounds),
        }
    }
}

impl State {
    fn check(&self, checks: &[Check]) -> Result<(), CommitError> {
        for check in checks {
            let (key, holds) = match check {
                Check::Absent(key) => (key, !self.entries.contains_key(key)),
                Check::Present(key) => (key, self.entries.contains_key(key)),
                Check::At(key, at) => (key, self.entries.get(key).is_some_and(|(revision, _)| revision == at)),
                Check::Holds(key, wanted) => (key, self.entries.get(key).is_some_and(|(_, value)| value == wanted)),
            };
            if !holds {
                return Err(CommitError::Stale { key: key.clone() });
            }
        }
        Ok(())
    }

    fn apply(&mut self, txn: Txn) -> Record {
        self.revision.0 += 1;
        let revision = self.revision;
        let mut changes = Vec::with_capacity(txn.puts.len() + txn.deletes.len());
        for (key, value) in txn.puts {
            let before = self.entries.insert(key.clone(), (revision, value.clone()));
            let existed = before.is_some();
            let before = before.map(|(revision, value)| Entry { key: key.clone(), revision, value });
            changes.push(Change { event: Event::Put { entry: Entry { key, revision, value }, existed }, before });
        }
        for key in txn.deletes {
            let Some((was, last)) = self.entries.remove(&key) else { continue };
            let before = Some(Entry { key: key.clone(), revision: was, value: last.clone() });
            changes.push(Change { event: Event::Delete { key, revision, last }, before });
        }
        Record { revision, changes: changes.into() }
    }

    fn entries(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = Entry> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let prefix = prefix.to_owned();
        self.entries
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(key, (revision, value))| Entry { key: key.clone(), revision: *revision, value: value.clone() })
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(CommitError::Unavailable { detail: "it was closed".to_owned() });
        }
        state.check(&txn.checks)?;
        let record = state.apply(txn);
        let revision = record.revision;
        // Still under the lock, so that the history is in order.
        self.history.push([record]);
        Ok(revision)
    }

    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, ListError> {
        let state = self.state.lock();
        match at.filter(|at| *at != state.revision) {
            None => Ok(page(state.entries(prefix, after), limit, state.revision)),
            Some(at) => {
                let undo = self.history.undo(at)?;
                Ok(page_at(state.entries(prefix, after), undo, (prefix, after, limit), at))
            }
        }
    }

    fn watch(&self, prefix: &str, from: Revision) -> EventStream {
        self.history.watch(prefix, from)
    }

    async fn revision(&self) -> Result<Revision, ListError> {
        Ok(self.state.lock().revision)
    }

    async fn close(&self) {
        self.state.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::tests::{Opened, suite};

    #[tokio::test]
    async fn keeps_the_contract() {
        let bounds = Bounds { transactions_max: 50, bytes_max: 1 << 20 };
        suite(|| Opened { store: std::sync::Arc::new(Memory::with_bounds(bounds)), keeps: 50, folder: None }).await;
    }

    #[test]
    fn agrees_with_the_model() {
        crate::contract::model::agrees(|| std::sync::Arc::new(Memory::new()), 128);
    }
}
