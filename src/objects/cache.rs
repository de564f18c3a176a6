//! Everything that is stored, in memory, with what changed lately.
//!
//! One ordered, immutable map a kind: whoever lists takes a copy of it that costs nothing, at one revision. The feed
//! ([`crate::feed`]) is the only writer. Readers of changes hold a revision, not a queue, so that a slow one costs
//! nothing and loses only its own place.

mod ring;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::Kind;
use imbl::OrdMap;
use parking_lot::RwLock;
use store::Revision;
use tokio::sync::watch;

use crate::Object;
use ring::Ring;
pub(crate) use ring::{Change, RingBounds};

pub(crate) type Items = OrdMap<Arc<str>, Arc<Object>>;

/// All objects of a kind at one revision.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub items: Items,
    pub revision: Revision,
}

impl Snapshot {
    /// The objects of `namespace` (of all when `None`) that come after the place `after`, in order.
    pub fn range(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<Object>)> {
        let prefix = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let start = match after {
            Some(after) if after >= prefix.as_str() => Bound::Excluded(Arc::from(after)),
            _ => Bound::Included(Arc::from(prefix.as_str())),
        };
        let range: (Bound<Arc<str>>, Bound<Arc<str>>) = (start, Bound::Unbounded);
        self.items.range(range).take_while(move |(place, _)| place.starts_with(&prefix))
    }
}

struct KindState {
    items: Items,
    ring: Ring,
    /// The last revision that changed anything here.
    last: Revision,
}

/// All objects of one kind.
pub(crate) struct KindCache {
    state: RwLock<KindState>,
    news: watch::Sender<Revision>,
    progress: watch::Sender<Revision>,
    /// The kind is gone for good: whoever follows it has nothing to wait for.
    over: AtomicBool,
}

/// A change to one object, ready to be put in.
pub(crate) struct Incoming {
    pub place: Arc<str>,
    pub revision: Revision,
    /// `None` when it was removed.
    pub object: Option<Arc<Object>>,
}

impl KindCache {
    fn new(oldest: Revision, bounds: RingBounds, progress: watch::Sender<Revision>) -> Self {
        let state = KindState { items: Items::new(), ring: Ring::new(oldest, bounds), last: Revision(0) };
        Self {
            state: RwLock::new(state),
            news: watch::Sender::new(Revision(0)),
            progress,
            over: AtomicBool::new(false),
        }
    }

    pub fn get(&self, place: &str) -> Option<Arc<Object>> {
        self.state.read().items.get(place).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.state.read().items.is_empty()
    }

    /// The revision that changed anything here last.
    pub fn last(&self) -> Revision {
        self.state.read().last
    }

    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.read();
        // Read while the lock is held: progress cannot pass a change to this kind that is not in yet.
        let revision = state.last.max(*self.progress.borrow());
        Snapshot { items: state.items.clone(), revision }
    }

    /// The objects as they were at `revision`, or the oldest revision that can be gone back to.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, Revision> {
        let state = self.state.read();
        let mut items = state.items.clone();
        let changes = state.ring.after(revision)?;
        for change in changes.rev() {
            match &change.before {
                Some(before) => items.insert(change.place.clone(), before.clone()),
                None => items.remove(&change.place),
            };
        }
        Ok(Snapshot { items, revision })
    }

    /// At most `max` changes after `position`, and the revision that everything is told up to with them.
    pub fn since(&self, position: Revision, max: usize) -> Result<(Vec<Change>, Revision), Revision> {
        let state = self.state.read();
        let mut changes = state.ring.after(position)?;
        let mut first: Vec<Change> = changes.by_ref().take(max).cloned().collect();
        let Some(last) = first.last().map(|change| change.revision) else {
            return Ok((first, position.max(*self.progress.borrow())));
        };
        // Those of one transaction stay together.
        first.extend(changes.take_while(|change| change.revision == last).cloned());
        Ok((first, last))
    }

    /// Reads every object by the rules of `kind` for field selectors.
    pub fn reread(&self, kind: &Kind) {
        let mut state = self.state.write();
        state.items = state.items.iter().map(|(place, object)| (place.clone(), object.reread(kind))).collect();
    }

    /// Whether the kind is gone for good.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub fn news(&self) -> watch::Receiver<Revision> {
        self.news.subscribe()
    }

    fn apply(&self, incoming: Vec<Incoming>) {
        let now = Instant::now();
        let mut state = self.state.write();
        for Incoming { place, revision, object } in incoming {
            let before = match &object {
                Some(object) => state.items.insert(place.clone(), object.clone()),
                None => state.items.remove(&place),
            };
            let Some(shown) = object.clone().or_else(|| before.as_ref().map(|before| before.moved_to(revision))) else {
                continue;
            };
            state.last = revision;
            state.ring.push(Change { place, revision, object: shown, before, deleted: object.is_none(), at: now });
        }
    }

    /// Puts other content in place of everything; whoever watched from before has lost its place.
    fn replace(&self, items: Items, revision: Revision) {
        let mut state = self.state.write();
        state.items = items;
        state.ring.restart(revision);
        state.last = revision;
    }
}

/// Every kind's objects.
pub(crate) struct Cache {
    kinds: RwLock<HashMap<String, Arc<KindCache>>>,
    progress: watch::Sender<Revision>,
    bounds: RingBounds,
    /// Changes before this were never seen.
    oldest: RwLock<Revision>,
}

impl Cache {
    pub fn new(bounds: RingBounds) -> Self {
        Self {
            kinds: RwLock::default(),
            progress: watch::Sender::new(Revision(0)),
            bounds,
            oldest: RwLock::new(Revision(0)),
        }
    }

    pub fn kind(&self, resource: &str) -> Arc<KindCache> {
        if let Some(kind) = self.kinds.read().get(resource) {
            return kind.clone();
        }
        let mut kinds = self.kinds.write();
        let oldest = *self.oldest.read();
        let made = || Arc::new(KindCache::new(oldest, self.bounds, self.progress.clone()));
        kinds.entry(resource.to_owned()).or_insert_with(made).clone()
    }

    pub fn progress(&self) -> Revision {
        *self.progress.borrow()
    }

    /// Waits until everything up to `revision` is in.
    pub async fn reached(&self, revision: Revision) {
        if self.progress() >= revision {
            return;
        }
        // The sender lives as long as the cache.
        let _ = self.progress.subscribe().wait_for(|now| *now >= revision).await;
    }

    /// As [`Self::reached`], for at most `patience`.
    pub async fn reached_within(&self, revision: Revision, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.reached(revision)).await.is_ok()
    }

    /// Puts in what one or more transactions did, up to and with `revision`.
    pub fn apply(&self, changes: Vec<(String, Incoming)>, revision: Revision) {
        let mut by_kind: HashMap<String, Vec<Incoming>> = HashMap::new();
        for (resource, incoming) in changes {
            by_kind.entry(resource).or_default().push(incoming);
        }
        let touched: Vec<Arc<KindCache>> = by_kind
            .into_iter()
            .map(|(resource, incoming)| {
                let kind = self.kind(&resource);
                kind.apply(incoming);
                kind
            })
            .collect();
        self.progress.send_replace(revision);
        for kind in touched {
            kind.news.send_replace(revision);
        }
    }

    /// Forgets everything and takes `all`, read at `revision`.
    pub fn replace(&self, mut all: HashMap<String, Items>, revision: Revision) {
        *self.oldest.write() = revision;
        for resource in all.keys() {
            self.kind(resource);
        }
        let kinds: Vec<(String, Arc<KindCache>)> =
            self.kinds.read().iter().map(|(resource, kind)| (resource.clone(), kind.clone())).collect();
        for (resource, kind) in &kinds {
            kind.replace(all.remove(resource).unwrap_or_default(), revision);
        }
        self.progress.send_replace(revision);
        for (_, kind) in kinds {
            kind.news.send_replace(revision);
        }
    }

    /// Lets go of a kind that is gone for good. Its watches end.
    pub fn forget(&self, resource: &str) {
        let Some(kind) = self.kinds.write().remove(resource) else { return };
        kind.over.store(true, Ordering::Release);
        kind.news.send_modify(|_| {});
    }

    /// Lets go of changes that are too old to be asked for.
    pub fn forget_old(&self) {
        let now = Instant::now();
        for kind in self.kinds.read().values() {
            kind.state.write().ring.forget_old(now);
        }
    }
}
