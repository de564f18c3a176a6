//! Forgets Events that are an hour old, as Kubernetes' API server does by itself.
//!
//! *Guarantees*: an Event that was counted up meanwhile stays. Nothing is cached: Events are many and short of life, so
//! they are read in pages when it is time.

use std::time::Duration;

use base::Tasks;
use client::Client;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};

use crate::Rig;
use crate::owners::{name, namespace};

const LIFE: SignedDuration = SignedDuration::from_hours(1);
const PERIOD: Duration = Duration::from_secs(300);
const PAGE: u32 = 500;
const DELETIONS_AT_ONCE: usize = 16;

pub(crate) fn start(rig: Rig) {
    let Rig { client, tasks, .. } = rig;
    run(client, &tasks);
}

fn run(client: Client, tasks: &Tasks) {
    let shutdown = tasks.shutdown();
    tasks.service("controller event_expiry", async move {
        let periodically = async {
            loop {
                tokio::time::sleep(PERIOD).await;
                if let Err(error) = sweep(&client, Timestamp::now()).await {
                    tracing::debug!(error = client::explain(&error), "expired events stay for now");
                }
            }
        };
        tokio::select! {
            () = periodically => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// Goes through all Events once.
async fn sweep(client: &Client, now: Timestamp) -> Result<(), kube::Error> {
    let all = Api::<Event>::all(client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = all.list(&page).await?;
        let expired: Vec<_> =
            list.items.iter().filter(|event| is_expired(event, now)).map(|event| remove(client, event)).collect();
        futures::stream::iter(expired).buffer_unordered(DELETIONS_AT_ONCE).collect::<Vec<_>>().await;
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

async fn remove(client: &Client, event: &Event) {
    let meta = &event.metadata;
    let preconditions = Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
    let api = Api::<Event>::namespaced(client.clone(), namespace(meta));
    if let Err(error) = api.delete(name(meta), &DeleteParams::default().preconditions(preconditions)).await {
        tracing::debug!(error = client::explain(&error), "an expired event stays for now");
    }
}

/// Whether nothing was said for so long. The newest of an Event's times counts, as Kubernetes counts from the last write.
fn is_expired(event: &Event, now: Timestamp) -> bool {
    let times = [
        event.last_timestamp.as_ref().map(|time| time.0),
        event.first_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().max().is_some_and(|last| now.duration_since(last) > LIFE)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    use super::*;

    #[test]
    fn an_event_lives_for_an_hour_from_the_last_time_it_was_said() {
        let said = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let event = Event {
            metadata: ObjectMeta { creation_timestamp: Some(Time(said(0))), ..ObjectMeta::default() },
            last_timestamp: Some(Time(said(5))),
            ..Event::default()
        };
        assert!(!is_expired(&event, said(6)));
        assert!(is_expired(&event, said(6) + SignedDuration::from_secs(1)));
        assert!(!is_expired(&Event::default(), said(9)));
    }
}
