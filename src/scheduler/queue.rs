//! Pods that wait for a node.
//!
//! ```text
//! add ─▶ active ─▶ taken ─┬▶ bound
//!          ▲   ▲          ├▶ unschedulable ── an event that concerns what refused it, or five minutes ──┐
//!          │   └──────────┼───────────── backoff ◀──────────────────────────────────────────────────────┘
//! gates gone              └▶ backoff (an error: tried again by itself)
//! ```
//!
//! Active pods come by priority, then by age. When none is active, a pod whose back-off has only just begun need not sit it
//! out: back-off keeps failing pods from crowding out others, and there are none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::informers::Key;
use tokio::time::Instant;

use crate::ask::Ask;
use crate::events::Event;
use crate::plugins::ALL;

/// Without any event a pod that did not fit is looked at again after this.
const STALE: Duration = Duration::from_secs(300);
/// When nothing else is to be done, this share of the back-off is enough.
const EARLY: u32 = 20;

pub(crate) struct Queue {
    entries: HashMap<Key, Entry>,
    active: BTreeMap<(Reverse<i32>, u64), Key>,
    backoff: BTreeSet<(Instant, Key)>,
    /// Those of `backoff` that may come early, by when.
    early: BTreeSet<(Instant, Key)>,
    unschedulable: HashSet<Key>,
    /// When the next of `unschedulable` has waited for too long, at the earliest.
    stale: Option<Instant>,
    tickets: u64,
    first: Duration,
    max: Duration,
}

struct Entry {
    ask: Arc<Ask>,
    place: Place,
    attempts: u32,
    tried: Option<Instant>,
    /// The rows of the table of plug-ins that refused it, as bits.
    rejected_by: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    /// Under this ticket.
    Active(Reverse<i32>, u64),
    /// With the scheduler.
    Taken,
    Backoff(Instant, Option<Instant>),
    Unschedulable(Instant),
    /// Its gates are closed.
    Gated,
}

/// Whether the pod is held back by gates.
pub(crate) fn is_gated(ask: &Ask) -> bool {
    ask.pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

impl Queue {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            active: BTreeMap::new(),
            backoff: BTreeSet::new(),
            early: BTreeSet::new(),
            unschedulable: HashSet::new(),
            stale: None,
            tickets: 0,
            first,
            max,
        }
    }

    /// A pod that wants a node. One that is known already keeps its place, unless what it wants has changed.
    pub(crate) fn add(&mut self, key: &Key, pod: &Arc<k8s_openapi::api::core::v1::Pod>) {
        let mut attempts = 0;
        match self.entries.get_mut(key) {
            Some(entry) if entry.ask.is_of(pod) => return,
            Some(entry) => {
                let same = entry.ask.pod.metadata.uid == pod.metadata.uid;
                if same && entry.place == Place::Taken {
                    entry.ask = Ask::of(pod);
                    return;
                }
                attempts = if same { entry.attempts } else { 0 };
                self.remove(key);
            }
            None => {}
        }
        let ask = Ask::of(pod);
        let gated = is_gated(&ask);
        let entry = Entry { ask, place: Place::Gated, attempts, tried: None, rejected_by: 0 };
        self.entries.insert(key.clone(), entry);
        if !gated {
            self.activate(key);
        }
    }

    fn activate(&mut self, key: &Key) {
        self.unplace(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.tickets += 1;
        let priority = Reverse(entry.ask.priority);
        entry.place = Place::Active(priority, self.tickets);
        self.active.insert((priority, self.tickets), key.clone());
    }

    /// Takes a pod out of wherever it waits.
    fn unplace(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match std::mem::replace(&mut entry.place, Place::Taken) {
            Place::Active(priority, ticket) => {
                self.active.remove(&(priority, ticket));
            }
            Place::Backoff(due, early) => {
                self.backoff.remove(&(due, key.clone()));
                if let Some(early) = early {
                    self.early.remove(&(early, key.clone()));
                }
            }
            Place::Unschedulable(_) => {
                self.unschedulable.remove(key);
            }
            Place::Taken | Place::Gated => {}
        }
    }

    /// The pod wants no node any more.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.unplace(key);
        self.entries.remove(key);
    }

    /// As [`Queue::remove`], for one pod of that name and no later one.
    pub(crate) fn remove_pod(&mut self, key: &Key, uid: &str) {
        if self.entries.get(key).is_some_and(|entry| entry.ask.uid == uid) {
            self.remove(key);
        }
    }

    /// The next pod to look at. It stays known until it is removed or has failed.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Arc<Ask>> {
        self.promote(now);
        let key = match self.active.first_key_value() {
            Some((_, key)) => key.clone(),
            None => self.early.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())?,
        };
        self.unplace(&key);
        let entry = self.entries.get_mut(&key)?;
        entry.attempts = (entry.attempts + 1).min(31);
        entry.tried = Some(now);
        Some(entry.ask.clone())
    }

    /// The pod fits nowhere: it waits for an event that those which refused it care about.
    pub(crate) fn refused(&mut self, key: &Key, now: Instant, rejected_by: u32) {
        let Some(entry) = self.taken(key) else { return };
        entry.rejected_by = rejected_by;
        if is_gated(&entry.ask) {
            entry.place = Place::Gated;
            return;
        }
        entry.place = Place::Unschedulable(now);
        self.unschedulable.insert(key.clone());
        self.stale = Some(self.stale.map_or(now + STALE, |stale| stale.min(now + STALE)));
    }

    /// Something went wrong that has nothing to do with the pod: it is tried again by itself.
    pub(crate) fn failed(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.taken(key) {
            entry.rejected_by = 0;
            self.back_off(key, now, false);
        }
    }

    fn taken(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(key).filter(|entry| entry.place == Place::Taken)
    }

    /// Waits until its back-off is over, or goes on when it is.
    fn back_off(&mut self, key: &Key, now: Instant, may_be_early: bool) {
        let Some(entry) = self.entries.get(key) else { return };
        let doubled = 1u32.checked_shl(entry.attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = self.first.saturating_mul(doubled).min(self.max);
        let tried = entry.tried.unwrap_or(now);
        let due = tried + wait;
        if due <= now {
            return self.activate(key);
        }
        self.unplace(key);
        let early = may_be_early.then(|| tried + wait / EARLY);
        self.backoff.insert((due, key.clone()));
        if let Some(early) = early {
            self.early.insert((early, key.clone()));
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = Place::Backoff(due, early);
        }
    }

    /// Something happened: pods that it may make fit are looked at again.
    pub(crate) fn wake(&mut self, event: &Event, now: Instant) {
        let concerned = |entry: &Entry| match event {
            Event::Anything => true,
            _ if entry.rejected_by == u32::MAX => matches!(event, Event::NodeAdded(_)),
            event => ALL
                .iter()
                .enumerate()
                .any(|(row, plugin)| entry.rejected_by & 1 << row != 0 && (plugin.wakes)(&entry.ask, event)),
        };
        let waiting = self.unschedulable.iter().filter_map(|key| Some((key, self.entries.get(key)?)));
        let mut woken: Vec<Key> = waiting.filter(|(_, entry)| concerned(entry)).map(|(key, _)| key.clone()).collect();
        // A set has no order of its own, and the order is part of what a seed decides.
        woken.sort();
        woken.iter().for_each(|key| self.back_off(key, now, true));
    }

    /// Makes those active whose wait is over.
    fn promote(&mut self, now: Instant) {
        while let Some((due, key)) = self.backoff.first().cloned()
            && due <= now
        {
            self.activate(&key);
        }
        if self.stale.is_some_and(|stale| stale <= now) {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        let since = |key: &Key| match self.entries.get(key)?.place {
            Place::Unschedulable(since) => Some(since),
            _ => None,
        };
        let waits: Vec<(Key, Instant)> =
            self.unschedulable.iter().filter_map(|key| Some((key.clone(), since(key)?))).collect();
        let (old, fresh): (Vec<_>, Vec<_>) = waits.into_iter().partition(|(_, since)| *since + STALE <= now);
        self.stale = fresh.iter().map(|(_, since)| *since + STALE).min();
        old.iter().for_each(|(key, _)| self.back_off(key, now, true));
    }

    /// When the next wait is over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, Key)>| set.first().map(|(at, _)| *at);
        [first(&self.backoff), first(&self.early), self.stale].into_iter().flatten().min()
    }

    /// Whether a pod is to be looked at now.
    pub(crate) fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// How many pods are active, backing off, unschedulable and gated.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 4] {
        let gated = self.entries.values().filter(|entry| entry.place == Place::Gated).count();
        [
            ("active", self.active.len()),
            ("backoff", self.backoff.len()),
            ("unschedulable", self.unschedulable.len()),
            ("gated", gated),
        ]
    }

    /// How many pods want a node.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
