//! Removes the folders of persistent volumes that are to be deleted, and lets go of the objects.
//!
//! The volumes of the local provisioner lie on the node, so it is the node that empties them: the provisioner deletes the
//! PersistentVolume, which waits for this finalizer.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::bound::{DRIVER, is_plain};
use super::{Volumes, remove_tree};

const FINALIZER: &str = "coracle.dev/local-path";
const PROTECTION: &str = "kubernetes.io/pv-protection";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Whether the folder of this volume is to go now.
fn is_due(volume: &PersistentVolume, node: &str) -> bool {
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    let spec = volume.spec.as_ref();
    let is_ours = spec.and_then(|spec| spec.csi.as_ref()).is_some_and(|csi| csi.driver == DRIVER);
    let deletes = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    volume.metadata.deletion_timestamp.is_some()
        && is_ours
        && lies_on(volume, node)
        && deletes
        && has(FINALIZER)
        && !has(PROTECTION)
}

fn lies_on(volume: &PersistentVolume, node: &str) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let terms = affinity.into_iter().flat_map(|required| &required.node_selector_terms);
    let mut hosts = terms.flat_map(|term| term.match_expressions.iter().flatten()).filter(|term| term.key == HOSTNAME);
    hosts.any(|term| term.values.iter().flatten().any(|value| value == node))
}

/// Starts the task.
pub(super) fn start(volumes: &Volumes) {
    let surface = &volumes.0.surface;
    let all = surface.persistent.clone();
    let (client, storage, node) = (surface.client.clone(), volumes.storage(), surface.node.clone());
    let shutdown = surface.tasks.shutdown();
    surface.tasks.service("volume reclaim", async move {
        let mut changes = all.changes();
        loop {
            let keys = tokio::select! {
                keys = changes.next() => keys,
                () = shutdown.cancelled() => return,
            };
            for key in keys {
                let Some(volume) = all.at(&key).filter(|volume| is_due(volume, &node) && is_plain(&key.name)) else {
                    continue;
                };
                let folder = storage.join(&key.name);
                let _ = tokio::task::spawn_blocking(move || remove_tree(&folder)).await;
                if let Err(error) = let_go(&client, &volume).await {
                    tracing::warn!(volume = %key, %error, "cannot let go of a volume whose folder is removed");
                }
            }
        }
    });
}

async fn let_go(client: &client::Client, volume: &PersistentVolume) -> Result<(), kube::Error> {
    let mut finalizers = volume.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    let patch = json!({ "metadata": {
        "uid": volume.metadata.uid, "resourceVersion": volume.metadata.resource_version, "finalizers": finalizers,
    } });
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let api = Api::<PersistentVolume>::all(client.clone());
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(error) if client::is_not_found(&error) => Ok(()),
        // The change that came between brings it back.
        Err(error) if client::is_conflict(&error) => Ok(()),
        other => other.map(drop),
    }
}
