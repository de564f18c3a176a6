//! Kubernetes objects over a store of bytes: the cache and the verbs.
//!
//! *Owns*: the life of an object from the client's wish to the stored bytes and to every watcher: identity, revisions,
//! generation, finalizers, grace, preconditions, admission, addresses of Services; and the one cache that every read is
//! answered from.
//!
//! *Does not know*: HTTP, content types, who is allowed to do what, or what any kind means beyond its row in the table.
//!
//! *Entry point*: [`Objects`].
//!
//! ```text
//! create, update, patch, delete ── write ──→ store.commit
//!                                               │ watch
//! get, list, watch ←── cache ←──────── feed ←───┘
//! ```
//!
//! A write is answered after the cache has it: whoever wrote reads it.

#![forbid(unsafe_code)]

mod admission;
mod cache;
mod charges;
mod custom;
mod expiry;
mod feed;
mod form;
mod handover;
mod keys;
mod list;
mod managed_fields;
mod namespaces;
mod object;
mod options;
mod reader;
mod refusal;
pub mod scale;
mod service_addresses;
mod services;
mod shelf;
#[cfg(test)]
mod tests;
mod watch;
mod webhooks;
mod write;

use std::sync::Arc;
use std::time::Duration;

use api::{Kind, KindSet};
use arc_swap::ArcSwap;
use store::SharedStore;
use thiserror::Error;

pub use admission::{Admission, Operation, Rank, Review, Rounds, Subject};
use cache::{Cache, RingBounds};
pub use charges::{Along, Basis, Charge};
use handover::Handover;
pub use object::Object;
pub use options::{
    Annotations, DeleteOptions, Deleted, List, ListOptions, Patch, Propagation, RevisionMatch, Revisions, Sub,
    Warnings, WatchOptions, WriteOptions, Written,
};
pub use reader::Reader;
pub use services::ServiceRanges;
pub use shelf::{Moved, Shelf};
pub use store::Revision;
pub use watch::{Watch, WatchEvent};
pub use webhooks::{WebhookCaller, WebhookError};

/// How objects are kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Changes that are kept a kind, for watches and lists from earlier revisions.
    pub changes_max: usize,
    /// Bytes of changes that are kept a kind.
    pub change_bytes_max: usize,
    /// How long a change is kept.
    pub change_age_max: Duration,
    /// How long an event stays after it was seen last.
    pub events_kept: Duration,
    /// Where Services get their addresses and ports.
    pub services: ServiceRanges,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            changes_max: 100_000,
            change_bytes_max: 32 << 20,
            change_age_max: Duration::from_secs(300),
            events_kept: Duration::from_secs(3600),
            services: ServiceRanges::default(),
        }
    }
}

/// Why the objects could not be read at the start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The store did not answer.
    #[error("cannot read the objects out of the store")]
    Unreadable(#[from] store::ListError),
}

struct Inner {
    store: SharedStore,
    cache: Arc<Cache>,
    kinds: Arc<ArcSwap<KindSet>>,
    handover: Arc<Handover>,
    admission: ArcSwap<Vec<Arc<dyn Admission>>>,
    webhooks: ArcSwap<Arc<dyn WebhookCaller>>,
    config: Config,
    shutdown: base::Shutdown,
}

/// All objects. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    inner: Arc<Inner>,
}

impl Objects {
    /// Reads everything out of `store` and follows it from then on.
    pub async fn open(
        store: SharedStore,
        kinds: Vec<Arc<Kind>>,
        config: Config,
        tasks: &base::Tasks,
    ) -> Result<Self, OpenError> {
        let bounds = RingBounds {
            changes_max: config.changes_max,
            bytes_max: config.change_bytes_max,
            age_max: config.change_age_max,
        };
        let cache = Arc::new(Cache::new(bounds));
        let definitions = custom::Definitions::load(&store, kinds).await?;
        let kinds = Arc::new(ArcSwap::from_pointee(KindSet::new(definitions.rows())));
        let handover = Arc::new(Handover::default());
        let feed =
            feed::Feed { store: store.clone(), cache: cache.clone(), kinds: kinds.clone(), handover: handover.clone() };
        let from = feed.load().await?;
        tasks.service("objects feed", feed.run(from, tasks.shutdown()));
        let (admission, shutdown) = (ArcSwap::default(), tasks.shutdown());
        let webhooks = ArcSwap::from_pointee(Arc::new(webhooks::NoWebhooks) as Arc<dyn WebhookCaller>);
        let inner = Inner { store, cache, kinds, handover, admission, webhooks, config, shutdown };
        let objects = Self { inner: Arc::new(inner) };
        tasks.service("objects expiry", objects.clone().expire_events());
        tasks.service("custom resource definitions", objects.clone().follow_definitions(definitions));
        Ok(objects)
    }

    /// The kinds that are served now.
    pub fn kinds(&self) -> Arc<KindSet> {
        self.inner.kinds.load_full()
    }

    /// Adds a rule about requests, after those of its rank that are there.
    pub fn add_admission(&self, plugin: Arc<dyn Admission>) {
        self.inner.admission.rcu(|rules| {
            let mut rules = Vec::clone(rules);
            rules.push(plugin.clone());
            rules.sort_by_key(|rule| rule.rank());
            rules
        });
    }
}
