//! Makes the claims of generic ephemeral volumes: they live as long as their pod, which owns them.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use kube::api::{Api, PostParams};

use crate::Rig;
use crate::owners::{controlled_by, controller_of, is_deleting, name, namespace};
use crate::storage_protection::{index_claims, users};

pub(crate) fn start(rig: Rig) {
    let pods = rig.informers.of::<Pod>();
    let claims = rig.informers.of::<PersistentVolumeClaim>();
    index_claims(&pods);
    let users_of = pods.clone();
    let controller = Controller::new("ephemeral_volume", &rig.metrics)
        .workers(4)
        .watch(&pods, |change| {
            let wants = |pod: &Pod| wanted(pod).next().is_some();
            let is_new = change.old.is_none();
            change.new.iter().filter(|pod| is_new && wants(pod)).map(|pod| Key::of(pod.as_ref())).collect()
        })
        // One that somebody deleted is made again.
        .watch(&claims, move |change| {
            let gone = change.new.is_none();
            let pods = if gone { users(&users_of, &change.key) } else { Vec::new() };
            pods.iter().map(|pod| Key::of(pod.as_ref())).collect()
        });
    let events = rig.recorder("ephemeral_volume");
    controller.start(&rig.tasks, Claims { client: rig.client, pods, claims, events });
}

struct Claims {
    client: Client,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    events: Recorder,
}

fn wanted(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(|volume| volume.ephemeral.is_some())
}

/// The claim of a volume of `pod`.
fn claim(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.clone()?;
    let mut metadata = template.metadata.unwrap_or_default();
    metadata.name = Some(format!("{}-{}", name(&pod.metadata), volume.name));
    metadata.namespace = pod.metadata.namespace.clone();
    metadata.owner_references = Some(vec![controlled_by(pod)]);
    Some(PersistentVolumeClaim { metadata, spec: Some(template.spec), ..PersistentVolumeClaim::default() })
}

#[async_trait]
impl Reconcile for Claims {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(pod) = self.pods.at(key).filter(|pod| !is_deleting(&pod.metadata)) else { return Ok(Next::Done) };
        for volume in wanted(&pod) {
            let Some(claim) = claim(&pod, volume) else { continue };
            let there = self.claims.get(namespace(&pod.metadata), name(&claim.metadata));
            if there.as_ref().is_some_and(|there| is_for(there, &pod)) {
                continue;
            }
            let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
            let there = match there {
                Some(there) => there.as_ref().clone(),
                None => match claims.create(&PostParams::default(), &claim).await {
                    Err(error) if client::is_conflict(&error) => claims.get(name(&claim.metadata)).await?,
                    made => made?,
                },
            };
            if !is_for(&there, &pod) {
                let message = format!(
                    "ephemeral volume {}: PVC {}/{} was not created for pod {key} (pod is not owner)",
                    volume.name,
                    key.namespace,
                    name(&claim.metadata)
                );
                self.events.warning(pod.as_ref(), "FailedBinding", message);
                return Err(RunError::Failed(format!("the claim of volume {:?} is somebody else's", volume.name)));
            }
        }
        Ok(Next::Done)
    }
}

fn is_for(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    controller_of(&claim.metadata).is_some_and(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_named_after_pod_and_volume_and_owned_by_the_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u" },
            "spec": { "containers": [], "volumes": [{ "name": "v", "ephemeral": { "volumeClaimTemplate": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
            } } }] },
        }))
        .unwrap();
        let volume = wanted(&pod).next().unwrap();
        let made = claim(&pod, volume).unwrap();
        assert_eq!((name(&made.metadata), namespace(&made.metadata)), ("p-v", "n"));
        assert!(is_for(&made, &pod) && made.metadata.labels.is_some_and(|labels| labels["a"] == "b"));
    }
}
