//! Lets volumes of the local provisioner grow when their claims ask for more: they share a disk, so that all that changes is what is
//! said of them.
//!
//! ```text
//! request > capacity → condition Resizing → volume.capacity → claim's capacity, condition gone
//! ```

use api::Quantity;
use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::Api;
use serde_json::{Value, json};

use crate::Rig;
use crate::changed::write;
use crate::local_path::DRIVER;

pub(crate) fn start(rig: Rig) {
    let claims = rig.informers.of::<PersistentVolumeClaim>();
    let volumes = rig.informers.of::<PersistentVolume>();
    let controller = Controller::new("volume_expand", &rig.metrics).workers(4).each(&claims);
    let events = rig.recorder("volume_expand");
    controller.start(&rig.tasks, Expander { client: rig.client, claims, volumes, events });
}

struct Expander {
    client: Client,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    events: Recorder,
}

type Amounts = std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

fn storage(amounts: Option<&Amounts>) -> Option<Quantity> {
    amounts?.get("storage")?.0.parse().ok()
}

/// How large a bound claim of ours wants to be, when that is more than it is.
fn wish(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<String> {
    let status = claim.status.as_ref()?;
    let is_ours = volume.spec.as_ref()?.csi.as_ref()?.driver == DRIVER;
    let asked = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref();
    let (wants, has) = (storage(asked)?, storage(status.capacity.as_ref())?);
    let is_due = is_ours && status.phase.as_deref() == Some("Bound") && wants > has;
    is_due.then(|| asked?.get("storage").map(|amount| amount.0.clone())).flatten()
}

fn without_resizing(claim: &PersistentVolumeClaim) -> Vec<Value> {
    let conditions = claim.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let others =
        conditions.filter(|condition| !matches!(condition.type_.as_str(), "Resizing" | "FileSystemResizePending"));
    others.filter_map(|condition| serde_json::to_value(condition).ok()).collect()
}

#[async_trait]
impl Reconcile for Expander {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(claim) = self.claims.at(key) else { return Ok(Next::Done) };
        let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
        let Some(volume) = self.volumes.get("", name) else { return Ok(Next::Done) };
        let Some(size) = wish(&claim, &volume) else { return Ok(Next::Done) };
        match self.grow(key, &claim, &volume, &size).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|()| Next::Done)?),
        }
    }
}

impl Expander {
    async fn grow(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
        size: &str,
    ) -> Result<(), kube::Error> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        self.events.normal(claim, "Resizing", format!("External resizer is resizing volume {name}"));
        let mut conditions = without_resizing(claim);
        conditions
            .push(json!({ "type": "Resizing", "status": "True", "lastTransitionTime": Timestamp::now().to_string() }));
        let begun = json!({ "status": { "conditions": conditions, "allocatedResources": { "storage": size } } });
        let begun = write(&claims, claim, true, &begun).await?;
        let has = storage(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()));
        if has < size.parse().ok() {
            let volumes = Api::<PersistentVolume>::all(self.client.clone());
            write(&volumes, volume, false, &json!({ "spec": { "capacity": { "storage": size } } })).await?;
        }
        let grown = json!({ "status": {
            "conditions": without_resizing(&begun), "capacity": { "storage": size },
            "allocatedResources": { "storage": size },
        } });
        write(&claims, &begun, true, &grown).await?;
        self.events.normal(claim, "VolumeResizeSuccessful", "Resize volume succeeded");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bound_claims_of_ours_that_ask_for_more_grow() {
        let claim = |asks: &str, has: &str, phase: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({
                "spec": { "resources": { "requests": { "storage": asks } } },
                "status": { "phase": phase, "capacity": { "storage": has } },
            }))
            .unwrap()
        };
        let volume = |driver: &str| -> PersistentVolume {
            serde_json::from_value(json!({ "spec": { "csi": { "driver": driver, "volumeHandle": "v" } } })).unwrap()
        };
        for (asks, has, phase, driver, wanted) in [
            ("2Gi", "1Gi", "Bound", DRIVER, Some("2Gi")),
            ("2Gi", "2048Mi", "Bound", DRIVER, None),
            ("1Gi", "2Gi", "Bound", DRIVER, None),
            ("2Gi", "1Gi", "Pending", DRIVER, None),
            ("2Gi", "1Gi", "Bound", "other.io", None),
        ] {
            let wish = wish(&claim(asks, has, phase), &volume(driver));
            assert_eq!(wish.as_deref(), wanted, "{asks} {has} {phase} {driver}");
        }
    }
}
