//! Which images pods of this node name, and what goes when the disk runs short: the kubelet's image garbage collection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use client::events::{Recorder, Severity};
use client::informers::Informer;
use images::{ImageStore, Limits, Use, Users};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

/// As often as the kubelet looks.
const EVERY: Duration = Duration::from_secs(300);

/// The pods of this node, by the images that they name.
struct PodImages(Informer<Pod>);

impl Users for PodImages {
    fn uses(&self) -> Option<Vec<Use>> {
        self.0.is_synced().then(|| self.0.list().iter().flat_map(|pod| uses_of(pod)).collect())
    }
}

fn uses_of(pod: &Pod) -> Vec<Use> {
    let meta = &pod.metadata;
    let name =
        format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let containers =
        spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let ephemeral = spec.into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
    // What runs may be older than what its tag means now.
    let running = status.into_iter().flat_map(|status| {
        let statuses =
            [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        statuses.into_iter().flatten().flatten().map(|container| container.image_id.clone())
    });
    let composed = meta.annotations.iter().flatten().filter(|(key, _)| key.ends_with("coracle.dev/compose"));
    containers
        .filter_map(|container| container.image.clone())
        .chain(ephemeral.filter_map(|container| container.image.clone()))
        .chain(volumes.filter_map(|volume| volume.image.as_ref()?.reference.clone()))
        .chain(composed.flat_map(|(_, parts)| parts.split(',').map(|part| part.trim().to_owned())))
        .chain(running)
        .filter(|image| !image.is_empty())
        .map(|image| Use { image, pod: name.clone() })
        .collect()
}

/// What the collection is about.
pub(crate) struct Collection {
    pub images: ImageStore,
    pub pods: Informer<Pod>,
    pub events: Recorder,
    pub node: ObjectReference,
    /// Any folder on the disk that images lie on.
    pub folder: PathBuf,
    pub limits: Limits,
}

/// Looks at the disk from time to time, for as long as the node runs.
pub(crate) fn start(collection: Collection, tasks: &Tasks) {
    collection.images.set_users(Arc::new(PodImages(collection.pods.clone())));
    let shutdown = tasks.shutdown();
    tasks.service("image collection", async move {
        let collect = async {
            loop {
                tokio::time::sleep(EVERY).await;
                collection.run().await;
            }
        };
        tokio::select! {
            () = collect => {}
            () = shutdown.cancelled() => {}
        }
    });
}

impl Collection {
    async fn run(&self) {
        let folder = self.folder.clone();
        let room = tokio::task::spawn_blocking(move || base::os::disk(&folder)).await.ok().flatten();
        let (total, available) = room.map_or((0, 0), |room| (room.total, room.available));
        let used = available.min(total).saturating_mul(100).checked_div(total).map_or(0, |free| 100 - free);
        let used = u8::try_from(used).unwrap_or(100);
        let tell = |reason: &str, message: String| {
            self.events.event(self.node.clone(), Severity::Warning, reason, message);
        };
        match self.images.collect(self.limits, used, total).await {
            Ok(collected) if used >= self.limits.high_percent => {
                let wanted = total / 100 * u64::from(used.saturating_sub(self.limits.low_percent));
                if collected.bytes < wanted {
                    let found = collected.bytes;
                    tell(
                        "FreeDiskSpaceFailed",
                        format!(
                            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {found} bytes eligible to free."
                        ),
                    );
                }
            }
            Ok(_) => {}
            Err(error) => tell("ImageGCFailed", base::report(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_pod_that_names_an_image_counts() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p", "namespace": "n", "annotations": { "a.coracle.dev/compose": "c, d:v1" } },
            "spec": {
                "containers": [{ "name": "a", "image": "a:v1" }],
                "initContainers": [{ "name": "b", "image": "b:v1" }],
                "volumes": [{ "name": "v", "image": { "reference": "files:v1" } }],
            },
            "status": { "containerStatuses": [
                { "name": "a", "image": "a:v1", "imageID": "docker.io/library/a@sha256:0", "ready": true, "restartCount": 0 },
            ] },
        }))
        .unwrap();
        let uses = uses_of(&pod);
        let images: Vec<&str> = uses.iter().map(|used| used.image.as_str()).collect();
        assert_eq!(images, ["a:v1", "b:v1", "files:v1", "c", "d:v1", "docker.io/library/a@sha256:0"]);
        assert!(uses.iter().all(|used| used.pod == "n/p"));
    }
}
