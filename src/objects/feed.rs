//! Keeps the cache as the store is: reads everything once, then follows the store's watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::KindSet;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::StreamExt;
use store::{Event, Revision, SharedStore};

use crate::cache::{Cache, Incoming, Items};
use crate::handover::Handover;
use crate::{Object, keys};

/// How many keys are read at once.
const PAGE: usize = 1000;
/// How many events are put in at once.
const BATCH: usize = 512;
/// How long after a failure to read the store it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often changes that are too old are let go.
const FORGET: Duration = Duration::from_secs(30);

pub(crate) struct Feed {
    pub store: SharedStore,
    pub cache: Arc<Cache>,
    pub kinds: Arc<ArcSwap<KindSet>>,
    pub handover: Arc<Handover>,
}

impl Feed {
    /// Reads everything. Returns the revision to go on from.
    pub async fn load(&self) -> Result<Revision, store::ListError> {
        let (mut all, mut after, mut at) = (HashMap::<String, Items>::new(), None::<String>, None);
        loop {
            let page = self.store.list(keys::OBJECTS, at, after.as_deref(), PAGE).await?;
            at = Some(page.revision);
            after = page.entries.last().map(|entry| entry.key.clone());
            for entry in &page.entries {
                let Some((resource, place, object)) = self.decode(&entry.key, &entry.value, entry.revision) else {
                    continue;
                };
                all.entry(resource).or_default().insert(place, object);
            }
            if !page.more {
                self.cache.replace(all, page.revision);
                return Ok(page.revision);
            }
        }
    }

    /// Follows the store for ever.
    pub async fn run(self, mut from: Revision, shutdown: base::Shutdown) {
        let mut forget = tokio::time::interval(FORGET);
        loop {
            let mut events = self.store.watch(keys::OBJECTS, from).ready_chunks(BATCH);
            let mut waiting = Vec::new();
            loop {
                let batch = tokio::select! {
                    batch = events.next() => batch,
                    _ = forget.tick() => { self.cache.forget_old(); continue }
                    () = shutdown.cancelled() => return,
                };
                let Some(batch) = batch else { break };
                self.take(batch, &mut waiting, &mut from);
            }
            // The watch ended: it fell behind, or the store went away. Either way the truth is read anew.
            tracing::warn!(%from, "the store's watch ended, reading everything again");
            loop {
                match self.load().await {
                    Ok(revision) => {
                        from = revision;
                        break;
                    }
                    Err(error) => tracing::error!(%error, "cannot read the store"),
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = shutdown.cancelled() => return,
                }
            }
        }
    }

    fn take(&self, batch: Vec<Event>, waiting: &mut Vec<(String, Incoming)>, from: &mut Revision) {
        let mut complete = None;
        let mut whole = 0;
        for event in batch {
            match event {
                Event::Put { entry, .. } => {
                    let revision = entry.revision;
                    if let Some((resource, place, object)) = self.decode(&entry.key, &entry.value, revision) {
                        waiting.push((resource, Incoming { place, revision, object: Some(object) }));
                    }
                }
                Event::Delete { key, revision, .. } => {
                    if let Some((resource, place)) = keys::parts(&key) {
                        let incoming = Incoming { place: place.into(), revision, object: None };
                        waiting.push((resource.to_owned(), incoming));
                    }
                }
                Event::Progress(revision) => (complete, whole) = (Some(revision), waiting.len()),
                Event::Compacted(_) => {}
            }
        }
        if let Some(revision) = complete {
            let rest = waiting.split_off(whole);
            self.cache.apply(std::mem::replace(waiting, rest), revision);
            *from = revision;
        }
    }

    fn decode(&self, key: &str, value: &Bytes, revision: Revision) -> Option<(String, Arc<str>, Arc<Object>)> {
        let (resource, place) = keys::parts(key)?;
        if let Some(facts) = self.handover.take(value) {
            let object = Arc::new(Object::known(value, revision, facts));
            return Some((resource.to_owned(), place.into(), object));
        }
        let kinds = self.kinds.load();
        let kind = kinds.by_storage(resource);
        match Object::stored(value, revision, kind.map(Arc::as_ref)) {
            Ok(object) => Some((resource.to_owned(), place.into(), Arc::new(object))),
            Err(error) => {
                tracing::error!(key, %error, "an object in the store cannot be read, it is left out");
                None
            }
        }
    }
}
