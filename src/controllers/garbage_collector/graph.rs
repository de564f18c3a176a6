//! Who owns whom, as far as the watches have told. Also says which objects a change makes worth a look.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use client::controller::Queue;
use client::informers::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

use super::plan::{FOREGROUND, ORPHAN, has_finalizer};
use crate::kinds::DiscoveredKind;
use crate::owners::is_deleting;

/// One object.
#[derive(Clone)]
pub(super) struct Entry {
    pub kind: Arc<DiscoveredKind>,
    pub key: Key,
    /// Uid of each owner and whether the reference blocks the owner's foreground deletion.
    pub owners: Vec<(String, bool)>,
    pub deleting: bool,
    /// Deletion waits for the dependents.
    pub waiting: bool,
}

#[derive(Default)]
pub(super) struct Graph {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, Entry>,
    dependents: HashMap<String, BTreeSet<String>>,
    queue: Option<Queue<Key>>,
}

impl Graph {
    pub(super) fn set_queue(&self, queue: Queue<Key>) {
        self.state.lock().queue = Some(queue);
    }

    pub(super) fn queue(&self) -> Option<Queue<Key>> {
        self.state.lock().queue.clone()
    }

    pub(super) fn get(&self, uid: &str) -> Option<Entry> {
        self.state.lock().objects.get(uid).cloned()
    }

    /// The objects that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<(String, Entry)> {
        let state = self.state.lock();
        let uids = state.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid.clone(), state.objects.get(uid)?.clone()))).collect()
    }

    /// Notes an object's present state. Returns the uids to look at.
    pub(super) fn put(&self, kind: &Arc<DiscoveredKind>, meta: &ObjectMeta) -> Vec<String> {
        let Some(uid) = meta.uid.clone() else { return Vec::new() };
        let entry = Entry {
            kind: kind.clone(),
            key: Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()),
            owners: meta
                .owner_references
                .iter()
                .flatten()
                .map(|owner| (owner.uid.clone(), owner.block_owner_deletion == Some(true)))
                .collect(),
            deleting: is_deleting(meta),
            waiting: is_deleting(meta) && has_finalizer(meta, FOREGROUND),
        };
        let holds = entry.waiting || (entry.deleting && has_finalizer(meta, ORPHAN));
        let mut state = self.state.lock();
        let before = state.link(&uid, entry.clone());
        let mut look_at = Vec::new();
        let owners_changed = before.as_ref().is_none_or(|before| before.owners != entry.owners);
        let is_unsure =
            || entry.owners.iter().any(|(owner, _)| state.objects.get(owner).is_none_or(|owner| owner.waiting));
        // References of kinds that are watched already can be trusted; the others are looked up.
        if holds || (owners_changed && !entry.deleting && is_unsure()) {
            look_at.push(uid);
        }
        // An owner that waits may have waited for just this reference.
        if let Some(before) = before.filter(|_| owners_changed) {
            look_at.extend(before.owners.into_iter().map(|(owner, _)| owner).filter(|owner| state.is_waiting(owner)));
        }
        look_at
    }

    /// Notes that an object is gone. Returns the uids to look at: what it owned, and owners that waited for it.
    pub(super) fn remove(&self, uid: &str) -> Vec<String> {
        let mut state = self.state.lock();
        let Some(entry) = state.unlink(uid) else { return Vec::new() };
        let mut look_at: Vec<String> = state.dependents.get(uid).into_iter().flatten().cloned().collect();
        look_at.extend(entry.owners.into_iter().map(|(owner, _)| owner).filter(|owner| state.is_deleting(owner)));
        look_at
    }
}

impl State {
    fn link(&mut self, uid: &str, entry: Entry) -> Option<Entry> {
        let before = self.unlink(uid);
        for (owner, _) in &entry.owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.to_owned());
        }
        self.objects.insert(uid.to_owned(), entry);
        before
    }

    fn unlink(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.objects.remove(uid)?;
        for (owner, _) in &entry.owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        Some(entry)
    }

    fn is_waiting(&self, uid: &str) -> bool {
        self.objects.get(uid).is_some_and(|entry| entry.waiting)
    }

    fn is_deleting(&self, uid: &str) -> bool {
        self.objects.get(uid).is_some_and(|entry| entry.deleting)
    }
}
