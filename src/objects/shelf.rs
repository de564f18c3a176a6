//! One kind's objects as the cache has them now, for parts of the server that look things up on every request and may
//! wait for nothing.

use std::sync::Arc;

use store::Revision;
use tokio::sync::watch;

use crate::cache::KindCache;
use crate::{Object, Objects, keys};

/// A kind's place in the cache. Cheap to clone, never waits.
///
/// *Guarantee*: whoever was answered a write finds it here.
#[derive(Clone)]
pub struct Shelf {
    cache: Arc<KindCache>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Shelf")
    }
}

/// One object that came, changed or went.
#[derive(Clone, Debug)]
pub struct Moved {
    /// `NAMESPACE/NAME`, or `NAME` at cluster scope.
    pub place: Arc<str>,
    /// As it is now; `None` when it went.
    pub object: Option<Arc<Object>>,
}

impl Objects {
    /// The objects of a resource, whether or not its kind is served (yet).
    pub fn shelf(&self, group: &str, plural: &str) -> Shelf {
        Shelf { cache: self.inner.cache.kind(&keys::resource_of(group, plural)) }
    }
}

impl Shelf {
    /// One object.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<Object>> {
        self.cache.get(&keys::place(namespace, name))
    }

    /// All objects, and the revision up to which they are known.
    pub fn all(&self) -> (Vec<Moved>, Revision) {
        let snapshot = self.cache.snapshot();
        let moved =
            |(place, object): (&Arc<str>, &Arc<Object>)| Moved { place: place.clone(), object: Some(object.clone()) };
        (snapshot.items.iter().map(moved).collect(), snapshot.revision)
    }

    /// The objects of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Object>> {
        self.cache.snapshot().range(Some(namespace), None).map(|(_, object)| object.clone()).collect()
    }

    /// The revision of the latest change to any of them.
    pub fn last_change(&self) -> Revision {
        self.cache.last()
    }

    /// What changed after `revision`, in order, and the revision that is reached with it. `None` when that is too long ago.
    pub fn since(&self, revision: Revision) -> Option<(Vec<Moved>, Revision)> {
        let (changes, reached) = self.cache.since(revision, usize::MAX).ok()?;
        let moved = |change: crate::cache::Change| Moved {
            place: change.place,
            object: (!change.deleted).then_some(change.object),
        };
        Some((changes.into_iter().map(moved).collect(), reached))
    }

    /// Wakes when something changes.
    pub fn news(&self) -> watch::Receiver<Revision> {
        self.cache.news()
    }
}
