//! Shared informers: what the process knows of the cluster.
//!
//! ```text
//! server ── watch ──▶ feed (one task a kind) ──▶ cache (Arc<K>, indexes) ──▶ listeners: controllers' queues, Changes
//! ```
//!
//! *Guarantees*: one watch, one decode and one `Arc` a kind and selection, however many rooms ask. A listener is called
//! on the feed's task right after the cache has the change, with no timer between. After a broken watch the cache is
//! compared with a fresh list, so that no deletion is missed.
//!
//! *Caveat*: a cache may lag behind a write that this process just made; see
//! [`Expectations`](crate::controller::Expectations).

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use base::Tasks;
use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Client, Resource};
use lean::Lean;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

mod cache;
mod feed;
mod informer;
mod lean;
#[cfg(test)]
mod tests;

pub use cache::Change;
pub use informer::{Changes, Informer};

/// Where an object is: its namespace (empty for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace, empty when the kind has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Where `object` is.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// A typed kind that can be watched.
pub trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K> Watched for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// An object of any kind of which only the metadata was asked for.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// Which objects of a kind to watch. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// A field selector, as in `spec.nodeName=here`.
    pub fields: Option<String>,
    /// A label selector, as in `app=web`.
    pub labels: Option<String>,
}

impl Selection {
    /// The objects that a field selector picks.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: Some(selector.into()), labels: None }
    }

    fn config(&self, strategy: feed::Strategy) -> watcher::Config {
        let mut config = watcher::Config::default();
        if let Some(fields) = &self.fields {
            config = config.fields(fields);
        }
        if let Some(labels) = &self.labels {
            config = config.labels(labels);
        }
        match strategy {
            feed::Strategy::Stream => config.streaming_lists(),
            feed::Strategy::List => config,
        }
    }
}

/// The process' informers. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Informers {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    tasks: Tasks,
    known: Mutex<HashMap<Feed, Box<dyn Any + Send + Sync>>>,
}

/// What makes two requests for an informer the same.
#[derive(PartialEq, Eq, Hash)]
struct Feed {
    kind: TypeId,
    /// `group/version/plural` of a kind that is known at run time only.
    resource: String,
    selection: Selection,
}

impl Informers {
    /// Informers that watch through `client` on `tasks`. Nothing is watched until it is asked for.
    pub fn new(client: Client, tasks: &Tasks) -> Self {
        Self { shared: Arc::new(Shared { client, tasks: tasks.clone(), known: Mutex::default() }) }
    }

    /// The informer of all objects of a kind.
    pub fn of<K: Watched>(&self) -> Informer<K> {
        self.selected(&Selection::default())
    }

    /// The informer of the objects of a kind that `selection` picks. In a process that also has an informer of all of
    /// them, an index of that one is cheaper.
    pub fn selected<K: Watched>(&self, selection: &Selection) -> Informer<K> {
        let feed = Feed { kind: TypeId::of::<K>(), resource: String::new(), selection: selection.clone() };
        self.share(feed, |informer| {
            let (api, selection) = (Api::<Lean<K>>::all(self.shared.client.clone()), selection.clone());
            let feed =
                feed::run(K::plural(&()).into_owned(), informer, self.shared.tasks.shutdown(), move |strategy| {
                    watcher::watcher(api.clone(), selection.config(strategy)).boxed()
                });
            self.shared.tasks.service(format!("informer {}", K::plural(&())), feed);
        })
    }

    /// The informer of the metadata of all objects of a kind: for kinds whose content is secret, large or unknown.
    pub fn metadata_of<K: Watched>(&self) -> Informer<Metadata> {
        self.metadata(&ApiResource::erase::<K>(&()))
    }

    /// The informer of the metadata of all objects of a kind that discovery named.
    pub fn metadata(&self, resource: &ApiResource) -> Informer<Metadata> {
        self.share(Feed::metadata(resource), |informer| {
            let api = Api::<Lean<Metadata>>::all_with(self.shared.client.clone(), resource);
            let feed = feed::run(resource.plural.clone(), informer, self.shared.tasks.shutdown(), move |strategy| {
                watcher::watcher(api.clone(), Selection::default().config(strategy)).boxed()
            });
            self.shared.tasks.job("metadata informer", feed);
        })
    }

    /// Ends the watch that [`Informers::metadata`] started, because the kind is gone. Its cache is emptied, so that
    /// listeners see every object go.
    pub fn forget(&self, resource: &ApiResource) {
        let known = self.shared.known.lock().remove(&Feed::metadata(resource));
        if let Some(informer) = known.and_then(|known| known.downcast::<Informer<Metadata>>().ok()) {
            informer.retire();
        }
    }

    fn share<K>(&self, feed: Feed, start: impl FnOnce(Informer<K>)) -> Informer<K>
    where
        K: Resource + Send + Sync + 'static,
    {
        let mut known = self.shared.known.lock();
        if let Some(informer) = known.get(&feed).and_then(|known| known.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }
        let informer = Informer::<K>::empty();
        known.insert(feed, Box::new(informer.clone()));
        start(informer.clone());
        informer
    }
}

impl Feed {
    fn metadata(resource: &ApiResource) -> Self {
        Self {
            kind: TypeId::of::<Metadata>(),
            resource: format!("{}/{}", resource.api_version, resource.plural),
            selection: Selection::default(),
        }
    }
}
