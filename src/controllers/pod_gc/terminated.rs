//! Keeps no more than so many pods that have ended: the oldest go first, and before them those that were evicted.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use client::informers::{Informer, Key};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;

use super::remove;
use crate::Rig;
use crate::owners::is_deleting;
use crate::pods::is_finished;

/// How many are kept unless somebody says otherwise.
const KEPT: usize = 12_500;
const PERIOD: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 32;

pub(super) fn start(rig: &Rig, pods: &Informer<Pod>) {
    let kept = rig.config.terminated_pods.unwrap_or(KEPT);
    // As in Kubernetes, nothing is kept from growing when the number is 0.
    if kept == 0 {
        return;
    }
    let (client, pods, shutdown) = (rig.client.clone(), pods.clone(), rig.tasks.shutdown());
    rig.tasks.service("terminated pods", async move {
        let sweep = async {
            loop {
                tokio::time::sleep(PERIOD).await;
                // Most of the time a count is all that is needed.
                if pods.len() <= kept {
                    continue;
                }
                futures::stream::iter(surplus(pods.list(), kept))
                    .map(|pod| remove_ended(client.clone(), pod))
                    .buffer_unordered(AT_ONCE)
                    .collect::<Vec<()>>()
                    .await;
            }
        };
        tokio::select! {
            () = sweep => {}
            () = shutdown.cancelled() => {}
        }
    });
}

async fn remove_ended(client: Client, pod: Arc<Pod>) {
    let key = Key::of(pod.as_ref());
    if let Err(error) = remove(&client, &pod, &key).await {
        tracing::debug!(pod = %key, error = client::explain(&error), "not removed");
    }
}

/// Those that are too many, in the order in which they go.
fn surplus(pods: Vec<Arc<Pod>>, kept: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<Arc<Pod>> =
        pods.into_iter().filter(|pod| is_finished(pod) && !is_deleting(&pod.metadata)).collect();
    let evicted = |pod: &Pod| pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted");
    ended.sort_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (Reverse(evicted(pod)), created, pod.metadata.name.clone())
    });
    ended.truncate(ended.len().saturating_sub(kept));
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evicted_and_the_oldest_go_first() {
        let pod = |name: &str, phase: &str, reason: &str, second: u8| {
            let pod = serde_json::json!({
                "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
                "status": {"phase": phase, "reason": reason},
            });
            Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
        };
        let pods = || {
            vec![
                pod("new", "Succeeded", "", 9),
                pod("old", "Failed", "", 1),
                pod("runs", "Running", "", 0),
                pod("out", "Failed", "Evicted", 8),
            ]
        };
        let names = |kept: usize| {
            surplus(pods(), kept).iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((names(3).as_str(), names(1).as_str(), names(0).as_str()), ("", "out old", "out old new"));
    }
}
