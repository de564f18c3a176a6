//! Binds claims to volumes that somebody has made. Volumes are not made here: that is for whoever provides storage.
//!
//! *Owns*: the phases of claims and volumes, `claimRef` of a volume and `volumeName` of a claim.
//!
//! ```text
//! claim Pending → the smallest volume that fits → volume.claimRef → claim.volumeName → both Bound → claim gone: Released
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use serde_json::json;

use crate::Rig;
use crate::changed::write;
use crate::storage_protection::{claims_of, index_claims, users};

mod plan;
#[cfg(test)]
mod tests;

pub(crate) use plan::class_of_claim;
use plan::{ClaimPlan, Consumers, VolumePlan};

pub(crate) fn start(rig: Rig) {
    let binder = Binder {
        client: rig.client.clone(),
        claims: rig.informers.of::<PersistentVolumeClaim>(),
        volumes: rig.informers.of::<PersistentVolume>(),
        classes: rig.informers.of::<StorageClass>(),
        pods: rig.informers.of::<Pod>(),
        events: rig.recorder("persistentvolume-controller"),
    };
    index_claims(&binder.pods);
    let waiting = binder.claims.clone();
    let pending = move || -> Vec<Key> {
        let all = waiting.list();
        all.iter().filter(|claim| plan::is_pending(claim)).map(|claim| Key::of(claim.as_ref())).collect()
    };
    let for_classes = pending.clone();
    let claims = Controller::new("persistent_volume_claims", &rig.metrics)
        .each(&binder.claims)
        .watch(&binder.volumes, move |change| {
            let mut keys: Vec<Key> = change.states().filter_map(|volume| plan::claim_of(volume)).collect();
            // A volume that is free may be what somebody waits for.
            if change.new.as_ref().is_some_and(|volume| plan::claim_of(volume).is_none()) {
                keys.extend(pending());
            }
            keys
        })
        .watch(&binder.classes, move |_| for_classes())
        .watch(&binder.pods, |change| change.new.as_ref().map(|pod| claims_of(pod)).unwrap_or_default());
    let volumes = Controller::new("persistent_volumes", &rig.metrics).each(&binder.volumes).watch(&binder.claims, {
        let volumes = binder.volumes.clone();
        move |change| {
            let named = change.states().filter_map(|claim| claim.spec.as_ref()?.volume_name.clone());
            let mut keys: Vec<Key> = named.filter(|name| !name.is_empty()).map(|name| Key::new("", name)).collect();
            if change.new.is_none() {
                let all = volumes.list();
                let bound = all.iter().filter(|volume| plan::claim_of(volume).as_ref() == Some(&change.key));
                keys.extend(bound.map(|volume| Key::of(volume.as_ref())));
            }
            keys
        }
    });
    let binder = Arc::new(binder);
    claims.start(&rig.tasks, Claims(Arc::clone(&binder)));
    volumes.start(&rig.tasks, Volumes(binder));
}

struct Binder {
    client: Client,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    events: Recorder,
}

struct Claims(Arc<Binder>);
struct Volumes(Arc<Binder>);

#[async_trait]
impl Reconcile for Claims {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let binder = &self.0;
        let Some(claim) = binder.claims.at(key) else { return Ok(Next::Done) };
        let class = plan::class_of_claim(&claim).map(str::to_owned);
        let class = class.and_then(|class| binder.classes.get("", &class));
        let consumers = Consumers::of(&users(&binder.pods, key));
        let plan = plan::claim(&claim, class.as_deref(), &consumers, &binder.volumes.list());
        match binder.carry_out(key, &claim, plan).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|()| Next::Done)?),
        }
    }
}

impl Binder {
    async fn carry_out(&self, key: &Key, claim: &PersistentVolumeClaim, plan: ClaimPlan) -> Result<(), kube::Error> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        match plan {
            ClaimPlan::Nothing => {}
            ClaimPlan::Wait { reason, message, is_bad } => {
                if is_bad {
                    self.events.warning(claim, reason, message);
                } else {
                    self.events.normal(claim, reason, message);
                }
                if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Pending") {
                    write(&claims, claim, true, &json!({ "status": { "phase": "Pending" } })).await?;
                }
            }
            ClaimPlan::Provision(provisioner) => {
                let message = format!(
                    "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
                );
                self.events.normal(claim, "ExternalProvisioning", message);
                let annotations = json!({
                    "volume.beta.kubernetes.io/storage-provisioner": provisioner,
                    "volume.kubernetes.io/storage-provisioner": provisioner,
                });
                if plan::annotation(claim, "volume.kubernetes.io/storage-provisioner") != Some(&provisioner) {
                    write(&claims, claim, false, &json!({ "metadata": { "annotations": annotations } })).await?;
                }
            }
            ClaimPlan::Take(volume) => {
                let volumes = Api::<PersistentVolume>::all(self.client.clone());
                write(&volumes, &volume, false, &plan::claim_reference(claim, &volume)).await?;
                // The volume's change brings the claim back.
            }
            ClaimPlan::Bind(volume) => {
                let change = plan::volume_name(claim, &volume);
                let written = match change {
                    Some(change) => write(&claims, claim, false, &change).await?,
                    None => claim.clone(),
                };
                if let Some(status) = plan::bound_status(&written, &volume) {
                    write(&claims, &written, true, &status).await?;
                }
            }
            ClaimPlan::Lost(message) => {
                self.events.warning(claim, "ClaimLost", message);
                write(&claims, claim, true, &json!({ "status": { "phase": "Lost" } })).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Reconcile for Volumes {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let binder = &self.0;
        let Some(volume) = binder.volumes.at(key) else { return Ok(Next::Done) };
        let claim = plan::claim_of(&volume).and_then(|claim| binder.claims.at(&claim));
        let VolumePlan { phase, message } = match plan::volume(&volume, claim.as_deref()) {
            Some(plan) => plan,
            None => return Ok(Next::Done),
        };
        if phase == "Failed" {
            binder.events.warning(volume.as_ref(), "VolumeFailedDelete", message.clone().unwrap_or_default());
        }
        let volumes = Api::<PersistentVolume>::all(binder.client.clone());
        let change = json!({ "status": { "phase": phase, "message": message } });
        match write(&volumes, &*volume, true, &change).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|_| Next::Done)?),
        }
    }
}
