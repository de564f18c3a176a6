//! Pods that wait for a node: those to look at now, by priority and age, and those that did not fit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::informers::Key;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

/// A pod that failed is not looked at again before this, doubling, however much changes.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Without any change a pod that did not fit is looked at again after this.
const STALE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Queue {
    entries: HashMap<Key, Entry>,
    active: BTreeMap<(Reverse<i32>, u64), Key>,
    waiting: HashSet<Key>,
    tickets: u64,
}

struct Entry {
    pod: Arc<Pod>,
    place: Place,
    failures: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Under this ticket.
    Active(Reverse<i32>, u64),
    /// With the scheduler.
    Taken,
    /// Did not fit: not before `not_before`, and then when something changes (`woken`) or when it is stale.
    Waiting { not_before: Instant, woken: bool },
}

impl Queue {
    /// A pod that wants a node. One that is known already keeps its place, unless what it wants has changed.
    pub(crate) fn add(&mut self, key: &Key, pod: &Arc<Pod>) {
        match self.entries.get_mut(key) {
            Some(entry) if entry.pod.metadata.uid != pod.metadata.uid => self.remove(key),
            Some(entry) => {
                let changed = entry.pod.spec != pod.spec;
                entry.pod = pod.clone();
                if changed && self.waiting.contains(key) {
                    self.activate(key);
                }
                return;
            }
            None => {}
        }
        self.entries.insert(key.clone(), Entry { pod: pod.clone(), place: Place::Taken, failures: 0 });
        self.activate(key);
    }

    fn activate(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.tickets += 1;
        let priority = Reverse(entry.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0));
        entry.place = Place::Active(priority, self.tickets);
        self.active.insert((priority, self.tickets), key.clone());
        self.waiting.remove(key);
    }

    /// The pod wants no node any more.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.waiting.remove(key);
        if let Some(Entry { place: Place::Active(priority, ticket), .. }) = self.entries.remove(key) {
            self.active.remove(&(priority, ticket));
        }
    }

    /// As [`Queue::remove`], for one pod of that name and no later one.
    pub(crate) fn remove_pod(&mut self, key: &Key, uid: &str) {
        if self.entries.get(key).is_some_and(|entry| entry.pod.metadata.uid.as_deref() == Some(uid)) {
            self.remove(key);
        }
    }

    /// The next pod to look at. It stays known until it is removed or has failed.
    pub(crate) fn take(&mut self) -> Option<Key> {
        let (_, key) = self.active.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.place = Place::Taken;
        }
        Some(key)
    }

    /// The pod fits nowhere, or could not be bound (`retry`: then it is tried again by itself).
    pub(crate) fn failed(&mut self, key: &Key, now: Instant, retry: bool) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.place == Place::Taken) else { return };
        let wait = BACKOFF_FIRST.saturating_mul(1u32.checked_shl(entry.failures).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
        entry.failures = (entry.failures + 1).min(31);
        entry.place = Place::Waiting { not_before: now + wait, woken: retry };
        self.waiting.insert(key.clone());
    }

    /// Something changed that may make pods fit.
    pub(crate) fn wake(&mut self) {
        for key in &self.waiting {
            if let Some(Entry { place: Place::Waiting { woken, .. }, .. }) = self.entries.get_mut(key) {
                *woken = true;
            }
        }
    }

    fn due(&self) -> impl Iterator<Item = (&Key, Instant)> {
        self.waiting.iter().filter_map(|key| match self.entries.get(key)?.place {
            Place::Waiting { not_before, woken: true } => Some((key, not_before)),
            Place::Waiting { not_before, woken: false } => Some((key, not_before + STALE)),
            _ => None,
        })
    }

    /// Makes those active whose wait is over.
    pub(crate) fn promote(&mut self, now: Instant) {
        let due: Vec<Key> = self.due().filter(|(_, due)| *due <= now).map(|(key, _)| key.clone()).collect();
        due.iter().for_each(|key| self.activate(key));
    }

    /// When the next wait is over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due().map(|(_, due)| due).min()
    }

    /// Whether a pod is to be looked at now.
    pub(crate) fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// How many pods want a node.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
