//! What rules about writes see of the other objects: the cache, without a way to change anything.

use std::sync::Arc;
use std::time::Duration;

use store::SharedStore;

use crate::cache::Cache;
use crate::{Object, Objects, keys};

/// How long a reader waits for the cache to catch up with the store.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at what is stored. It may be held by what [`Objects`] itself holds. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    cache: Arc<Cache>,
    store: SharedStore,
}

impl Objects {
    /// A look at what is stored, for rules about writes.
    pub fn reader(&self) -> Reader {
        Reader { cache: Arc::clone(&self.inner.cache), store: Arc::clone(&self.inner.store) }
    }
}

impl Reader {
    /// One object as the cache has it, in the form in which it is stored. Whatever was answered to a client is there.
    pub fn get(&self, group: &str, plural: &str, namespace: Option<&str>, name: &str) -> Option<Arc<Object>> {
        self.cache.kind(&keys::resource_of(group, plural)).get(&keys::place(namespace, name))
    }

    /// The objects of a kind in a namespace, or all of them, by name.
    pub fn list(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let snapshot = self.cache.kind(&keys::resource_of(group, plural)).snapshot();
        snapshot.range(namespace, None).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Whether there is any object of a kind in a namespace.
    pub fn any(&self, group: &str, plural: &str, namespace: &str) -> bool {
        let kind = self.cache.kind(&keys::resource_of(group, plural));
        !kind.is_empty() && kind.snapshot().range(Some(namespace), None).next().is_some()
    }

    /// Waits until the cache has what the store has now: before something is refused because it is not there.
    pub async fn catch_up(&self) {
        if let Ok(newest) = self.store.revision().await {
            self.cache.reached_within(newest, PATIENCE).await;
        }
    }

    /// Waits until `look` finds something after a change to a kind, for at most `patience`.
    pub async fn wait<T>(
        &self,
        group: &str,
        plural: &str,
        patience: Duration,
        look: impl Fn() -> Option<T>,
    ) -> Option<T> {
        let mut news = self.cache.kind(&keys::resource_of(group, plural)).news();
        let found = async {
            loop {
                news.mark_unchanged();
                if let Some(found) = look() {
                    return Some(found);
                }
                news.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }
}
