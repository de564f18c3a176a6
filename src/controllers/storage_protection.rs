//! Lets go of claims that no pod uses any more, and of volumes that no claim is bound to: admission gave them finalizers
//! when they were made.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Resource;
use kube::api::Api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::owners::is_deleting;
use crate::pods::is_finished;
use crate::{Rig, changed};

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
const BY_CLAIM: &str = "pods by claim";

/// Claims.
pub(crate) fn start_claims(rig: Rig) {
    let claims = rig.informers.of::<PersistentVolumeClaim>();
    let pods = rig.informers.of::<Pod>();
    index_claims(&pods);
    let controller = Controller::new("pvc_protection", &rig.metrics).workers(4).each(&claims).watch(&pods, |change| {
        let mut keys: Vec<Key> = change.states().flat_map(|pod| claims_of(pod)).collect();
        keys.dedup();
        keys
    });
    controller.start(&rig.tasks, Claims { client: rig.client, claims, pods });
}

/// Volumes.
pub(crate) fn start_volumes(rig: Rig) {
    let volumes = rig.informers.of::<PersistentVolume>();
    let controller = Controller::new("pv_protection", &rig.metrics).workers(4).each(&volumes);
    controller.start(&rig.tasks, Volumes { client: rig.client, volumes });
}

/// Lets [`users`] find the pods of a claim.
pub(crate) fn index_claims(pods: &Informer<Pod>) {
    pods.add_index(BY_CLAIM, |pod: &Pod| claims_of(pod).iter().map(Key::to_string).collect());
}

/// The pods that name a claim. The informer must have been given to [`index_claims`].
pub(crate) fn users(pods: &Informer<Pod>, claim: &Key) -> Vec<std::sync::Arc<Pod>> {
    pods.indexed(BY_CLAIM, &claim.to_string())
}

/// The claims that a pod names, those made for it among them.
pub(crate) fn claims_of(pod: &Pod) -> Vec<Key> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        (None, None) => None,
    });
    claims.map(|claim| Key::new(namespace.clone(), claim)).collect()
}

struct Claims {
    client: Client,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

struct Volumes {
    client: Client,
    volumes: Informer<PersistentVolume>,
}

/// What the finalizers of an object should be, or `None` when they are that.
fn wanted(held: Option<&Vec<String>>, finalizer: &str, deleting: bool, used: bool) -> Option<Vec<String>> {
    let mut all = held.cloned().unwrap_or_default();
    let has = all.iter().any(|name| name == finalizer);
    match (has, deleting) {
        (true, true) if !used => all.retain(|name| name != finalizer),
        (false, false) => all.push(finalizer.to_owned()),
        _ => return None,
    }
    Some(all)
}

async fn write<K>(api: Api<K>, object: &K, finalizers: Vec<String>) -> Result<Next, RunError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    match changed::write(&api, object, false, &json!({ "metadata": { "finalizers": finalizers } })).await {
        Err(error) if client::is_not_found(&error) => Ok(Next::Done),
        other => Ok(other.map(|_| Next::Done)?),
    }
}

#[async_trait]
impl Reconcile for Claims {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(claim) = self.claims.at(key) else { return Ok(Next::Done) };
        let runs = |pod: &Pod| {
            let is_bound =
                pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
            is_bound && !is_finished(pod)
        };
        let used = users(&self.pods, key).iter().any(|pod| runs(pod));
        let deleting = is_deleting(&claim.metadata);
        match wanted(claim.metadata.finalizers.as_ref(), OF_CLAIMS, deleting, used) {
            Some(finalizers) => write(Api::namespaced(self.client.clone(), &key.namespace), &*claim, finalizers).await,
            None => Ok(Next::Done),
        }
    }
}

#[async_trait]
impl Reconcile for Volumes {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(volume) = self.volumes.at(key) else { return Ok(Next::Done) };
        let used = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        match wanted(volume.metadata.finalizers.as_ref(), OF_VOLUMES, is_deleting(&volume.metadata), used) {
            Some(finalizers) => write(Api::all(self.client.clone()), &*volume, finalizers).await,
            None => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finalizer_stays_while_something_is_used() {
        let held = vec!["f".to_owned(), "other".to_owned()];
        for (held, deleting, used, expected) in [
            (Some(&held), true, false, Some(vec!["other"])),
            (Some(&held), true, true, None),
            (Some(&held), false, false, None),
            (None, false, false, Some(vec!["f"])),
            (None, true, false, None),
        ] {
            let expected = expected.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(wanted(held, "f", deleting, used), expected);
        }
    }
}
