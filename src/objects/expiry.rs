//! Events do not stay for ever: what happened is forgotten some time after it happened last.

use std::time::Duration;

use api::meta;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use store::{Check, CommitError, Revision, Txn};

use crate::{Object, Objects, keys};

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(60);
/// How many are taken away by one transaction.
const AT_ONCE: usize = 200;

impl Objects {
    /// Takes events away that are older than the configuration says, for ever.
    pub(crate) async fn expire_events(self) {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                _ = tick.tick() => self.expire_once(Timestamp::now()).await,
                () = self.inner.shutdown.cancelled() => return,
            }
        }
    }

    pub(crate) async fn expire_once(&self, now: Timestamp) {
        let age = SignedDuration::try_from(self.inner.config.events_kept).unwrap_or(SignedDuration::MAX);
        let Ok(oldest) = now.checked_sub(age) else { return };
        let resource = keys::resource_of("", "events");
        let snapshot = self.inner.cache.kind(&resource).snapshot();
        let old = snapshot.items.iter().filter(|(_, event)| is_over(event, oldest));
        let old: Vec<(String, Revision)> =
            old.map(|(place, event)| (format!("{}{resource}/{place}", keys::OBJECTS), event.revision)).collect();
        for some in old.chunks(AT_ONCE) {
            let checks = some.iter().map(|(key, revision)| Check::At(key.clone(), *revision)).collect();
            let deletes = some.iter().map(|(key, _)| key.clone()).collect();
            match self.inner.store.commit(Txn { checks, deletes, ..Txn::default() }).await {
                // One of them happened again meanwhile, or is gone; the next look sees that.
                Ok(_) | Err(CommitError::Stale { .. }) => {}
                Err(error) => return tracing::warn!(%error, "old events are still there"),
            }
        }
    }
}

/// Whether nothing happened since `oldest`. Only what is old enough by its creation is decoded.
fn is_over(event: &Object, oldest: Timestamp) -> bool {
    event.meta.creation_timestamp.is_some_and(|created| created < oldest) && last_seen(&event.value()) < Some(oldest)
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = ["/lastTimestamp", "/series/lastObservedTime", "/deprecatedLastTimestamp", "/eventTime"];
    times.into_iter().filter_map(|pointer| meta::time(event.pointer(pointer))).max()
}
