//! What a controller has written and its cache does not show yet.
//!
//! A run that plans from a cache that lags would create again what it just created. So a run first asks whether the
//! cache has [caught up](Expectations::met) with the writes that earlier runs made for the same owner; if not it does
//! nothing: the event that it waits for brings it back.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::informers::{Informer, Key};

/// After this long a write that never showed is forgotten: a plan from a cache that lags is better than none for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// The open writes of one controller, by the owner that they were made for.
#[derive(Default)]
pub struct Expectations {
    open: Mutex<HashMap<Key, Vec<Open>>>,
}

struct Open {
    key: Key,
    uid: String,
    wanted: Wanted,
    since: Instant,
}

enum Wanted {
    /// It is there, or the cache is past the revision of its creation.
    Created { revision: Option<u64>, lists_begun: u64 },
    /// It is gone, or marked as being deleted.
    Deleted,
    /// The cache is past the revision of the write.
    Written { revision: Option<u64>, lists_begun: u64 },
}

impl Expectations {
    /// Notes that `object` was created for `owner`, as the server answered it.
    pub fn created<K: Resource + Send + Sync + 'static>(&self, owner: &Key, object: &ObjectMeta, cache: &Informer<K>) {
        let revision = revision(object);
        self.note(owner, object, Wanted::Created { revision, lists_begun: cache.lists().0 });
    }

    /// Notes that `object` was deleted for `owner`.
    pub fn deleted(&self, owner: &Key, object: &ObjectMeta) {
        self.note(owner, object, Wanted::Deleted);
    }

    /// Notes that `object` was changed for `owner`, as the server answered it: a plan from what it was before would only
    /// end in a conflict.
    pub fn wrote<K: Resource + Send + Sync + 'static>(&self, owner: &Key, object: &ObjectMeta, cache: &Informer<K>) {
        let revision = revision(object);
        self.note(owner, object, Wanted::Written { revision, lists_begun: cache.lists().0 });
    }

    fn note(&self, owner: &Key, object: &ObjectMeta, wanted: Wanted) {
        let open = Open {
            key: Key::new(object.namespace.clone().unwrap_or_default(), object.name.clone().unwrap_or_default()),
            uid: object.uid.clone().unwrap_or_default(),
            wanted,
            since: Instant::now(),
        };
        self.open.lock().entry(owner.clone()).or_default().push(open);
    }

    /// Whether `cache` shows every write that was made for `owner`.
    pub fn met<K: Resource + Send + Sync + 'static>(&self, owner: &Key, cache: &Informer<K>) -> bool {
        let mut all = self.open.lock();
        let Some(open) = all.get_mut(owner) else { return true };
        open.retain(|open| !open.shows(cache) && open.since.elapsed() < PATIENCE);
        if open.is_empty() {
            all.remove(owner);
            return true;
        }
        false
    }

    /// Forgets an owner that is gone.
    pub fn forget(&self, owner: &Key) {
        self.open.lock().remove(owner);
    }
}

impl Open {
    fn shows<K: Resource + Send + Sync + 'static>(&self, cache: &Informer<K>) -> bool {
        let seen = cache.at(&self.key).filter(|object| object.meta().uid.as_deref() == Some(self.uid.as_str()));
        match &self.wanted {
            Wanted::Created { revision, lists_begun } => {
                seen.is_some()
                    || revision.is_some_and(|revision| cache.revision() >= revision)
                    || cache.lists().1 > *lists_begun
            }
            Wanted::Written { revision, lists_begun } => {
                revision.is_none_or(|revision| cache.revision() >= revision) || cache.lists().1 > *lists_begun
            }
            Wanted::Deleted => seen.is_none_or(|object| object.meta().deletion_timestamp.is_some()),
        }
    }
}

/// Where the server's revisions are numbers they can be compared.
fn revision(object: &ObjectMeta) -> Option<u64> {
    object.resource_version.as_deref()?.parse().ok()
}
