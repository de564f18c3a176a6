//! The objects of one informer and their indexes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::Resource;

use super::Key;

/// One object that appeared (`old` is none), changed, or went (`new` is none).
#[derive(Debug)]
pub struct Change<K> {
    /// Where the object is.
    pub key: Key,
    /// What the cache held before.
    pub old: Option<Arc<K>>,
    /// What it holds now.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest known state.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Both states, the old first.
    pub fn states(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

pub(super) type IndexBy<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

struct Index<K> {
    by: IndexBy<K>,
    entries: HashMap<String, BTreeMap<Key, Arc<K>>>,
}

impl<K> Index<K> {
    fn insert(&mut self, key: &Key, object: &Arc<K>) {
        for value in (self.by)(object) {
            self.entries.entry(value).or_default().insert(key.clone(), object.clone());
        }
    }

    fn remove(&mut self, key: &Key, object: &K) {
        for value in (self.by)(object) {
            if let Some(entry) = self.entries.get_mut(&value) {
                entry.remove(key);
                if entry.is_empty() {
                    self.entries.remove(&value);
                }
            }
        }
    }
}

/// Ordered by key, so that a namespace is a range.
pub(super) struct Cache<K> {
    objects: BTreeMap<Key, Arc<K>>,
    indexes: HashMap<&'static str, Index<K>>,
}

impl<K: Resource> Cache<K> {
    pub(super) fn new() -> Self {
        Self { objects: BTreeMap::new(), indexes: HashMap::new() }
    }

    pub(super) fn has_index(&self, name: &'static str) -> bool {
        self.indexes.contains_key(name)
    }

    pub(super) fn add_index(&mut self, name: &'static str, by: IndexBy<K>) {
        let mut index = Index { by, entries: HashMap::new() };
        for (key, object) in &self.objects {
            index.insert(key, object);
        }
        self.indexes.insert(name, index);
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<K>)> {
        self.objects.iter()
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.objects
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(super) fn indexed(&self, name: &'static str, value: &str) -> Vec<Arc<K>> {
        self.indexes
            .get(name)
            .and_then(|index| index.entries.get(value))
            .map(|entry| entry.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Puts an object. None when the cache already has this state of it.
    pub(super) fn put(&mut self, key: Key, object: Arc<K>) -> Option<Change<K>> {
        let old = self.objects.insert(key.clone(), object.clone());
        for index in self.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(&key, old);
            }
            index.insert(&key, &object);
        }
        let same = old.as_ref().is_some_and(|old| same_state(old.as_ref(), object.as_ref()));
        (!same).then_some(Change { key, old, new: Some(object) })
    }

    /// Takes an object out. `last` is its last state, as the server told it.
    pub(super) fn remove(&mut self, key: Key, last: Option<Arc<K>>) -> Option<Change<K>> {
        let cached = self.objects.remove(&key)?;
        for index in self.indexes.values_mut() {
            index.remove(&key, &cached);
        }
        Some(Change { key, old: last.or(Some(cached)), new: None })
    }

    /// Makes the cache hold exactly `objects` and says what changed.
    pub(super) fn replace(&mut self, objects: BTreeMap<Key, Arc<K>>) -> Vec<Change<K>> {
        let gone: Vec<Key> = self.objects.keys().filter(|key| !objects.contains_key(key)).cloned().collect();
        let mut changes: Vec<_> = gone.into_iter().filter_map(|key| self.remove(key, None)).collect();
        changes.extend(objects.into_iter().filter_map(|(key, object)| self.put(key, object)));
        changes
    }
}

fn same_state<K: Resource>(one: &K, other: &K) -> bool {
    let (one, other) = (one.meta(), other.meta());
    one.uid == other.uid && one.resource_version.is_some() && one.resource_version == other.resource_version
}
