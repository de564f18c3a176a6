//! The newest changes, kept in memory: what watches read from, and what takes a list back to an earlier revision.
//!
//! A watcher holds no queue here. It holds the revision it has told up to and reads the next changes when it is polled, so
//! that a watcher that does not read costs nothing and can only lose its own place ([`Event::Compacted`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::contract::{Entry, Event, EventStream, ListError, Page, Revision};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Transactions.
    pub transactions_max: usize,
    /// Bytes of values, old and new.
    pub bytes_max: usize,
}

/// What one transaction did to one key.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub event: Event,
    /// What stood there before.
    pub before: Option<Entry>,
}

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub revision: Revision,
    pub changes: Arc<[Change]>,
}

impl Record {
    fn bytes(&self) -> usize {
        let change = |change: &Change| {
            let now = match &change.event {
                Event::Put { entry, .. } => entry.value.len() + entry.key.len(),
                Event::Delete { key, .. } => key.len(),
                Event::Progress(_) | Event::Compacted(_) => 0,
            };
            now + change.before.as_ref().map_or(0, |entry| entry.value.len()) + 128
        };
        64 + self.changes.iter().map(change).sum::<usize>()
    }
}

struct Kept {
    records: VecDeque<Record>,
    bytes: usize,
    /// A watch from before this cannot be served.
    oldest: Revision,
    newest: Revision,
}

/// The newest changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History {
    kept: Arc<Mutex<Kept>>,
    newest: watch::Sender<Revision>,
    bounds: Bounds,
}

/// How many transactions a watcher takes at once; more are read at its next poll.
const BATCH: usize = 256;

impl History {
    /// A history that begins after `newest`.
    pub fn starting_at(newest: Revision, bounds: Bounds) -> Self {
        let kept = Kept { records: VecDeque::new(), bytes: 0, oldest: newest, newest };
        Self { kept: Arc::new(Mutex::new(kept)), newest: watch::Sender::new(newest), bounds }
    }

    /// The newest revision that was told.
    pub fn newest(&self) -> Revision {
        self.kept.lock().newest
    }

    /// Adds transactions, in order, and wakes the watchers once.
    pub fn push(&self, records: impl IntoIterator<Item = Record>) {
        let mut kept = self.kept.lock();
        for record in records {
            kept.newest = record.revision;
            kept.bytes += record.bytes();
            kept.records.push_back(record);
            while kept.records.len() > self.bounds.transactions_max || kept.bytes > self.bounds.bytes_max {
                let Some(gone) = kept.records.pop_front() else { break };
                kept.bytes -= gone.bytes();
                kept.oldest = gone.revision;
            }
        }
        let newest = kept.newest;
        drop(kept);
        self.newest.send_replace(newest);
    }

    /// Everything under `prefix` after `from`.
    pub fn watch(&self, prefix: &str, from: Revision) -> EventStream {
        let (history, prefix) = (self.clone(), prefix.to_owned());
        let told = self.newest.subscribe();
        let batches = futures::stream::unfold(Some((history, prefix, told, from)), |state| async move {
            let (history, prefix, mut told, from) = state?;
            // The sender lives in `history`, so this ends only by a newer revision.
            if told.wait_for(|newest| *newest > from).await.is_err() {
                return None;
            }
            match history.since(&prefix, from) {
                Ok((events, upto)) => Some((events, Some((history, prefix, told, upto)))),
                Err(oldest) => Some((vec![Event::Compacted(oldest)], None)),
            }
        });
        let events: BoxStream<'static, Event> = batches.flat_map(futures::stream::iter).boxed();
        events
    }

    /// The next events after `from` and the revision that they reach, or the oldest revision that can be served.
    fn since(&self, prefix: &str, from: Revision) -> Result<(Vec<Event>, Revision), Revision> {
        let kept = self.kept.lock();
        if from < kept.oldest {
            return Err(kept.oldest);
        }
        let start = kept.records.partition_point(|record| record.revision <= from);
        let records: Vec<Record> = kept.records.range(start..).take(BATCH).cloned().collect();
        drop(kept);
        let (mut events, mut upto, mut said) = (Vec::new(), from, from);
        for record in records {
            upto = record.revision;
            let before = events.len();
            events.extend(record.changes.iter().map(|change| &change.event).filter(|e| is_under(e, prefix)).cloned());
            if events.len() > before {
                events.push(Event::Progress(upto));
                said = upto;
            }
        }
        if said < upto {
            events.push(Event::Progress(upto));
        }
        Ok((events, upto))
    }

    /// What stood under every key that changed after `at`, as of `at`.
    pub fn undo(&self, at: Revision) -> Result<BTreeMap<String, Option<Entry>>, ListError> {
        let kept = self.kept.lock();
        if at > kept.newest {
            return Err(ListError::Future { asked: at, newest: kept.newest });
        }
        if at < kept.oldest {
            return Err(ListError::Compacted { asked: at, oldest: kept.oldest });
        }
        let mut undo = BTreeMap::new();
        for record in kept.records.iter().rev().take_while(|record| record.revision > at) {
            for change in record.changes.iter() {
                if let Event::Put { entry: Entry { key, .. }, .. } | Event::Delete { key, .. } = &change.event {
                    undo.insert(key.clone(), change.before.clone());
                }
            }
        }
        Ok(undo)
    }
}

fn is_under(event: &Event, prefix: &str) -> bool {
    match event {
        Event::Put { entry, .. } => entry.key.starts_with(prefix),
        Event::Delete { key, .. } => key.starts_with(prefix),
        Event::Progress(_) | Event::Compacted(_) => true,
    }
}

/// The page of `now` (all entries under `prefix` after `after`, in order) as it was before the changes in `undo`.
pub(crate) fn page_at(
    now: impl Iterator<Item = Entry>,
    undo: BTreeMap<String, Option<Entry>>,
    (prefix, after, limit): (&str, Option<&str>, usize),
    revision: Revision,
) -> Page {
    let mut then: BTreeMap<String, Entry> = now.map(|entry| (entry.key.clone(), entry)).collect();
    for (key, before) in undo {
        if !key.starts_with(prefix) || after.is_some_and(|after| key.as_str() <= after) {
            continue;
        }
        match before {
            Some(entry) => then.insert(key, entry),
            None => then.remove(&key),
        };
    }
    page(then.into_values(), limit, revision)
}

/// The first `limit` of `entries`.
pub(crate) fn page(mut entries: impl Iterator<Item = Entry>, limit: usize, revision: Revision) -> Page {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let first: Vec<Entry> = entries.by_ref().take(limit).collect();
    Page { revision, entries: first, more: entries.next().is_some() }
}
