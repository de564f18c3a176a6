//! Makes volumes on the nodes' own disks for claims of classes whose provisioner is `coracle.dev/local-path`, and deletes them when
//! their claims are gone.
//!
//! *Owns*: the PersistentVolumes that it makes. The folder behind one is the node's: it is made when a pod mounts it first, and
//! removed before the node lets go of the object's finalizer.
//!
//! ```text
//! claim, its class, its node → PersistentVolume (claimRef, node affinity, finalizer) → the binder binds both
//! claim gone → Released → deleted → the node removes the folder, then the finalizer → gone
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use serde_json::json;

use crate::Rig;
use crate::changed::write;
use crate::owners::name;
use crate::persistent_volume::class_of_claim;
use crate::storage_protection::{claims_of, index_claims, users};

mod plan;
pub(crate) use plan::DRIVER;
#[cfg(test)]
mod tests;

use plan::{Around, ClaimPlan, VolumePlan};

pub(crate) fn start(rig: Rig) {
    let provisioner = Arc::new(Provisioner {
        client: rig.client.clone(),
        claims: rig.informers.of::<PersistentVolumeClaim>(),
        volumes: rig.informers.of::<PersistentVolume>(),
        classes: rig.informers.of::<StorageClass>(),
        nodes: rig.informers.of::<Node>(),
        pods: rig.informers.of::<Pod>(),
        events: rig.recorder(plan::PROVISIONER),
    });
    index_claims(&provisioner.pods);
    let waiting = provisioner.claims.clone();
    let pending = move || -> Vec<Key> {
        let all = waiting.list();
        all.iter().filter(|claim| plan::waits_for_us(claim)).map(|claim| Key::of(claim.as_ref())).collect()
    };
    let for_classes = pending.clone();
    let claims =
        Controller::new("local_path_claims", &rig.metrics)
            .each(&provisioner.claims)
            .watch(&provisioner.classes, move |_| for_classes())
            // Nodes come and go; that they are well again is told every few seconds.
            .watch(&provisioner.nodes, move |change| {
                if change.old.is_some() == change.new.is_some() { Vec::new() } else { pending() }
            })
            .watch(&provisioner.pods, |change| {
                let node = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                let is_news = change.old.as_ref().and_then(node) != change.new.as_ref().and_then(node);
                if is_news { change.new.as_ref().map(|pod| claims_of(pod)).unwrap_or_default() } else { Vec::new() }
            });
    let volumes = Controller::new("local_path_volumes", &rig.metrics)
        .each(&provisioner.volumes)
        .watch(&provisioner.claims, |change| match (&change.old, &change.new) {
            (Some(old), None) => {
                let volume = old.spec.as_ref().and_then(|spec| spec.volume_name.clone());
                volume.map(|volume| Key::new("", volume)).into_iter().collect()
            }
            _ => Vec::new(),
        })
        .watch(&provisioner.nodes, {
            let volumes = provisioner.volumes.clone();
            move |change| {
                if change.new.is_some() {
                    return Vec::new();
                }
                let all = volumes.list();
                let deleting = all.iter().filter(|volume| volume.metadata.deletion_timestamp.is_some());
                deleting.map(|volume| Key::of(volume.as_ref())).collect()
            }
        });
    claims.start(&rig.tasks, Claims(Arc::clone(&provisioner)));
    volumes.start(&rig.tasks, Volumes(provisioner));
}

struct Provisioner {
    client: Client,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    events: Recorder,
}

struct Claims(Arc<Provisioner>);
struct Volumes(Arc<Provisioner>);

#[async_trait]
impl Reconcile for Claims {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let all = &self.0;
        let Some(claim) = all.claims.at(key).filter(|claim| plan::waits_for_us(claim)) else { return Ok(Next::Done) };
        let Some(class) = class_of_claim(&claim).and_then(|class| all.classes.get("", class)) else {
            return Ok(Next::Done);
        };
        let of_consumer = users(&all.pods, key).iter().find_map(|pod| pod.spec.as_ref()?.node_name.clone());
        let mut held = BTreeMap::new();
        for volume in all.volumes.list() {
            if let Some(node) = plan::node_of(&volume) {
                *held.entry(node.to_owned()).or_insert(0usize) += 1;
            }
        }
        let around =
            Around { class: &class, nodes: &all.nodes.list(), of_consumer: of_consumer.as_deref(), held: &held };
        match plan::claim(&claim, &around) {
            ClaimPlan::Nothing => Ok(Next::Done),
            ClaimPlan::Fail(why) => {
                let class = name(&class.metadata);
                let message = format!("failed to provision volume with StorageClass {class:?}: {why}");
                all.events.warning(claim.as_ref(), "ProvisioningFailed", message);
                Ok(Next::Done)
            }
            ClaimPlan::Reschedule(node) => {
                let class = name(&class.metadata);
                let message = format!(
                    "failed to provision volume with StorageClass {class:?}: failed to get target node: node {node:?} not found"
                );
                all.events.warning(claim.as_ref(), "ProvisioningFailed", message);
                let claims = Api::<PersistentVolumeClaim>::namespaced(all.client.clone(), &key.namespace);
                let change = json!({ "metadata": { "annotations": { plan::SELECTED_NODE: null } } });
                Ok(write(&claims, &*claim, false, &change).await.map(|_| Next::Done)?)
            }
            ClaimPlan::Make(volume) => Ok(all.make(key, &claim, &volume).await.map(|()| Next::Done)?),
        }
    }
}

impl Provisioner {
    async fn make(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
    ) -> Result<(), kube::Error> {
        self.events.normal(
            claim,
            "Provisioning",
            format!("External provisioner is provisioning volume for claim \"{key}\""),
        );
        let volumes = Api::<PersistentVolume>::all(self.client.clone());
        match volumes.create(&PostParams::default(), volume).await {
            // The name is the claim's own: it was made by an earlier look.
            Err(error) if client::is_conflict(&error) => return Ok(()),
            made => made?,
        };
        let message = format!("Successfully provisioned volume {}", name(&volume.metadata));
        self.events.normal(claim, "ProvisioningSucceeded", message);
        Ok(())
    }
}

#[async_trait]
impl Reconcile for Volumes {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let all = &self.0;
        let Some(volume) = all.volumes.at(key) else { return Ok(Next::Done) };
        let has_node = plan::node_of(&volume).is_some_and(|node| all.nodes.get("", node).is_some());
        let volumes = Api::<PersistentVolume>::all(all.client.clone());
        let done = match plan::volume(&volume, has_node) {
            VolumePlan::Nothing => return Ok(Next::Done),
            VolumePlan::Delete => {
                let preconditions = Preconditions { uid: volume.metadata.uid.clone(), resource_version: None };
                volumes.delete(&key.name, &DeleteParams::default().preconditions(preconditions)).await.map(drop)
            }
            VolumePlan::LetGo(finalizers) => {
                let change = json!({ "metadata": { "finalizers": finalizers } });
                write(&volumes, &*volume, false, &change).await.map(drop)
            }
        };
        match done {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|()| Next::Done)?),
        }
    }
}
