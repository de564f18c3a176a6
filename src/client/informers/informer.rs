//! One kind's cache as its readers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Key;
use super::cache::{Cache, Change};

/// Returns whether it wants to be called again.
type Listener<K> = Box<dyn Fn(&Change<K>) -> bool + Send + Sync>;

const OWNER: &str = "owner";
const NODE: &str = "node";

/// A cache of all objects of one kind (or of a selection of them), kept current by a watch. Cheap to clone.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    cache: RwLock<Cache<K>>,
    listeners: RwLock<Vec<Listener<K>>>,
    synced: watch::Sender<bool>,
    changes: watch::Sender<u64>,
    /// The newest revision that an event carried.
    revision: AtomicU64,
    lists_begun: AtomicU64,
    lists_done: AtomicU64,
    retired: CancellationToken,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Resource + Send + Sync + 'static> Informer<K> {
    /// An informer that nothing feeds. Tests fill it with [`Informer::apply`].
    pub fn empty() -> Self {
        Self::fed(watch::Sender::new(false), CancellationToken::new())
    }

    fn fed(synced: watch::Sender<bool>, retired: CancellationToken) -> Self {
        let mut cache = Cache::new();
        cache.add_index(OWNER, Arc::new(|object: &K| owner_uids(object)));
        Self {
            shared: Arc::new(Shared {
                cache: RwLock::new(cache),
                listeners: RwLock::default(),
                synced,
                changes: watch::Sender::new(0),
                revision: AtomicU64::new(0),
                lists_begun: AtomicU64::new(0),
                lists_done: AtomicU64::new(0),
                retired,
            }),
        }
    }

    /// The informer of those of these objects that belong to something. It shares the objects, and needs no watch.
    pub fn those(&self, belongs: impl Fn(&K) -> bool + Send + Sync + 'static) -> Self {
        // Whoever waits for the first list waits for the same one: it has been told before it counts.
        let chosen = Self::fed(self.shared.synced.clone(), self.shared.retired.clone());
        let fed = chosen.clone();
        self.on_change(move |change| match &change.new {
            Some(object) if belongs(object) => fed.put(change.key.clone(), object.clone()),
            _ => {
                if let Some(last) = change.latest() {
                    fed.take(change.key.clone(), last.clone());
                }
            }
        });
        chosen
    }

    /// The object of that name; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.at(&Key::new(namespace, name))
    }

    /// The object at `key`.
    pub fn at(&self, key: &Key) -> Option<Arc<K>> {
        self.shared.cache.read().get(key).cloned()
    }

    /// Every object, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.cache.read().iter().map(|(_, object)| object.clone()).collect()
    }

    /// Every key, by namespace and name.
    pub fn keys(&self) -> Vec<Key> {
        self.shared.cache.read().iter().map(|(key, _)| key.clone()).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.cache.read().len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.cache.read().in_namespace(namespace)
    }

    /// The objects that have an owner reference (controlling or not) to `uid`.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.indexed(OWNER, uid)
    }

    /// Adds an index that [`Informer::indexed`] then answers from. Adding a name again changes nothing.
    pub fn add_index(&self, name: &'static str, by: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) {
        let mut cache = self.shared.cache.write();
        if !cache.has_index(name) {
            cache.add_index(name, Arc::new(by));
        }
    }

    /// The objects for which the index `name` gave `value`.
    pub fn indexed(&self, name: &'static str, value: &str) -> Vec<Arc<K>> {
        self.shared.cache.read().indexed(name, value)
    }

    /// Calls `listener` for every object that is there, and then for every change. It runs on the watch's own task: it
    /// must be quick, must not wait, and must not add listeners. The same change may come twice.
    pub fn on_change(&self, listener: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.on_change_while(move |change| {
            listener(change);
            true
        });
    }

    /// As [`Informer::on_change`], until `listener` says `false`.
    pub fn on_change_while(&self, listener: impl Fn(&Change<K>) -> bool + Send + Sync + 'static) {
        self.listen(Box::new(listener));
    }

    /// The keys that change, gathered while the reader is busy, so that a slow reader loses nothing and holds little.
    /// All keys that are there come first.
    pub fn changes(&self) -> Changes {
        let pending = Arc::new(Pending::default());
        let weak: Weak<Pending> = Arc::downgrade(&pending);
        self.listen(Box::new(move |change| {
            let Some(pending) = weak.upgrade() else { return false };
            pending.keys.lock().insert(change.key.clone());
            pending.added.notify_one();
            true
        }));
        Changes { pending }
    }

    /// A counter that grows with every change: for readers that recompute everything.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Waits until the cache has held a whole list once.
    pub async fn synced(&self) {
        // The sender lives as long as `self`.
        let _ = self.shared.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Whether the cache has held a whole list once.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// The newest revision that this cache has seen, where the server's revisions are numbers.
    pub fn revision(&self) -> u64 {
        self.shared.revision.load(Ordering::Acquire)
    }

    /// How many whole lists were begun and finished: a list that begins after a write holds that write.
    pub(crate) fn lists(&self) -> (u64, u64) {
        (self.shared.lists_begun.load(Ordering::Acquire), self.shared.lists_done.load(Ordering::Acquire))
    }

    /// Puts one object as the watch would.
    pub fn apply(&self, object: K) {
        self.put(Key::of(&object), Arc::new(object));
    }

    fn put(&self, key: Key, object: Arc<K>) {
        let change = self.shared.cache.write().put(key, object.clone());
        // Only now: whoever sees the revision may rely on the cache.
        self.note_revision(&object);
        self.tell(change.as_slice());
    }

    /// Takes one object out as the watch would; `last` is its last state.
    pub fn remove(&self, last: K) {
        self.take(Key::of(&last), Arc::new(last));
    }

    fn take(&self, key: Key, last: Arc<K>) {
        let change = self.shared.cache.write().remove(key, Some(last.clone()));
        self.note_revision(&last);
        self.tell(change.as_slice());
    }

    /// A whole list begins.
    pub(super) fn begin_list(&self) {
        self.shared.lists_begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes the cache hold exactly `objects`, as a fresh list does, and counts it as synced.
    pub fn replace(&self, objects: impl IntoIterator<Item = K>) {
        let mut fresh = BTreeMap::new();
        for object in objects {
            fresh.insert(Key::of(&object), Arc::new(object));
        }
        let listed: Vec<Arc<K>> = fresh.values().cloned().collect();
        let changes = self.shared.cache.write().replace(fresh);
        listed.iter().for_each(|object| self.note_revision(object));
        self.shared.lists_done.store(self.shared.lists_begun.load(Ordering::Acquire), Ordering::Release);
        self.tell(&changes);
        self.shared.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
    }

    pub(super) fn retire(&self) {
        self.shared.retired.cancel();
        self.replace([]);
    }

    pub(super) fn retired(&self) -> CancellationToken {
        self.shared.retired.clone()
    }

    fn note_revision(&self, object: &K) {
        let revision = object.meta().resource_version.as_deref().and_then(|text| text.parse().ok());
        if let Some(revision) = revision {
            self.shared.revision.fetch_max(revision, Ordering::AcqRel);
        }
    }

    fn listen(&self, listener: Listener<K>) {
        let mut listeners = self.shared.listeners.write();
        // Between the copy and the push a change may be told twice, never lost: the cache changes first.
        let present: Vec<_> =
            self.shared.cache.read().iter().map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, object) in present {
            listener(&Change { key, old: None, new: Some(object) });
        }
        listeners.push(listener);
    }

    fn tell(&self, changes: &[Change<K>]) {
        if changes.is_empty() {
            return;
        }
        let mut tired = false;
        {
            let listeners = self.shared.listeners.read();
            for change in changes {
                for listener in listeners.iter() {
                    tired |= !listener(change);
                }
            }
        }
        if tired {
            // A listener that is tired of one change is of every: an arbitrary one finds out.
            if let Some(change) = changes.first() {
                self.shared.listeners.write().retain(|listener| listener(change));
            }
        }
        self.shared.changes.send_modify(|count| *count += changes.len() as u64);
    }
}

impl Informer<Pod> {
    /// The pods that are bound to a node.
    pub fn on_node(&self, node: &str) -> Vec<Arc<Pod>> {
        if !self.shared.cache.read().has_index(NODE) {
            self.add_index(NODE, |pod: &Pod| {
                pod.spec.iter().filter_map(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()).collect()
            });
        }
        self.indexed(NODE, node)
    }
}

/// Keys that changed, from [`Informer::changes`].
pub struct Changes {
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    keys: Mutex<BTreeSet<Key>>,
    added: Notify,
}

impl Changes {
    /// Waits for a change and takes all keys that have changed since the last call.
    pub async fn next(&mut self) -> BTreeSet<Key> {
        loop {
            let keys = std::mem::take(&mut *self.pending.keys.lock());
            if !keys.is_empty() {
                return keys;
            }
            self.pending.added.notified().await;
        }
    }
}

fn owner_uids<K: Resource>(object: &K) -> Vec<String> {
    object.meta().owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
}
