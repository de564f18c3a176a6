//! Which volume fits which claim, and what becomes of both. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Quantity;
use client::informers::Key;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use serde_json::{Value, json};

use crate::owners::{is_deleting, name, namespace};
use crate::pods::is_finished;

const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What happens to a claim next.
#[derive(Debug)]
pub(super) enum ClaimPlan {
    Nothing,
    /// It stays as it is, and this is why.
    Wait {
        reason: &'static str,
        message: String,
        is_bad: bool,
    },
    /// Somebody else makes a volume for it.
    Provision(String),
    /// This volume is to be its own.
    Take(Arc<PersistentVolume>),
    /// This volume is its own.
    Bind(Arc<PersistentVolume>),
    /// Its volume is gone.
    Lost(String),
}

/// What a volume's status is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VolumePlan {
    pub phase: &'static str,
    pub message: Option<String>,
}

pub(super) fn annotation<'a>(claim: &'a PersistentVolumeClaim, key: &str) -> Option<&'a String> {
    claim.annotations().get(key)
}

fn claim_spec(claim: &PersistentVolumeClaim) -> PersistentVolumeClaimSpec {
    claim.spec.clone().unwrap_or_default()
}

fn volume_spec(volume: &PersistentVolume) -> PersistentVolumeSpec {
    volume.spec.clone().unwrap_or_default()
}

fn phase_of(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the claim has no volume yet.
pub(super) fn is_pending(claim: &PersistentVolumeClaim) -> bool {
    !matches!(phase_of(claim), "Bound" | "Lost")
}

/// The class that the claim names; empty names are none.
pub(crate) fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    let old = annotation(claim, OLD_CLASS).map(String::as_str);
    let class = old.or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref());
    class.filter(|class| !class.is_empty())
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    let old = volume.annotations().get(OLD_CLASS).map(String::as_str);
    let class = old.or_else(|| volume.spec.as_ref()?.storage_class_name.as_deref());
    class.filter(|class| !class.is_empty())
}

/// The claim that a volume belongs to, or is kept for.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<Key> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default()))
}

/// Whether the volume is this very claim's, or kept for one of its name.
fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let uid = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.uid.clone()).unwrap_or_default();
    let is_named = claim_of(volume).is_some_and(|key| key == Key::of(claim));
    is_named && (uid.is_empty() || Some(&uid) == claim.metadata.uid.as_ref())
}

fn storage(map: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>) -> Quantity {
    let text = map.and_then(|map| map.get("storage")).map(|quantity| quantity.0.as_str()).unwrap_or_default();
    text.parse().unwrap_or(Quantity::ZERO)
}

fn wish(claim: &PersistentVolumeClaim) -> Quantity {
    storage(claim_spec(claim).resources.and_then(|resources| resources.requests).as_ref())
}

/// Whether the volume has what the claim asks for, apart from its label selector.
fn has_enough(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (has, wants) = (volume_spec(volume), claim_spec(claim));
    let mode = |mode: Option<String>| mode.unwrap_or_else(|| "Filesystem".to_owned());
    let modes = has.access_modes.unwrap_or_default();
    storage(has.capacity.as_ref()) >= wish(claim)
        && wants.access_modes.unwrap_or_default().iter().all(|wanted| modes.contains(wanted))
        && mode(has.volume_mode) == mode(wants.volume_mode)
        && class_of_volume(volume) == class_of_claim(claim)
        && has.volume_attributes_class_name.unwrap_or_default()
            == wants.volume_attributes_class_name.unwrap_or_default()
}

fn is_selected(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    match claim_spec(claim).selector.map(Selector::try_from) {
        None => true,
        Some(Ok(selector)) => selector.matches(volume.labels()),
        Some(Err(_)) => false,
    }
}

/// The volume that is the claim's by name, or the smallest one that fits.
fn best(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>]) -> Option<Arc<PersistentVolume>> {
    let usable = |volume: &&Arc<PersistentVolume>| !is_deleting(&volume.metadata) && has_enough(volume, claim);
    if let Some(kept) = volumes.iter().filter(usable).find(|volume| is_for(volume, claim)) {
        return Some(kept.clone());
    }
    let is_free = |volume: &&Arc<PersistentVolume>| claim_of(volume).is_none() && is_selected(volume, claim);
    let size = |volume: &Arc<PersistentVolume>| storage(volume_spec(volume).capacity.as_ref());
    let fitting = volumes.iter().filter(usable).filter(is_free);
    fitting.min_by_key(|volume| (size(volume), name(&volume.metadata).to_owned())).cloned()
}

/// The pods that a claim waits for.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    /// One of them is on a node already.
    pub is_placed: bool,
    /// Those that are not.
    pub waiting: Vec<String>,
}

impl Consumers {
    pub fn of(pods: &[Arc<Pod>]) -> Self {
        let is_placed = |pod: &Arc<Pod>| {
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty())
        };
        let (placed, waiting): (Vec<_>, Vec<_>) =
            pods.iter().filter(|pod| !is_finished(pod)).partition(|pod| is_placed(pod));
        let waiting = waiting.iter().map(|pod| name(&pod.metadata).to_owned()).collect();
        Self { is_placed: !placed.is_empty(), waiting }
    }

    fn wait(&self) -> ClaimPlan {
        match self.waiting.as_slice() {
            [] => wait("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
            [pod] => wait("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
            pods => wait("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", pods.join(","))),
        }
    }
}

fn wait(reason: &'static str, message: impl Into<String>) -> ClaimPlan {
    ClaimPlan::Wait { reason, message: message.into(), is_bad: false }
}

pub(super) fn claim(
    claim: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
    consumers: &Consumers,
    volumes: &[Arc<PersistentVolume>],
) -> ClaimPlan {
    let wanted = claim_spec(claim).volume_name.unwrap_or_default();
    if !wanted.is_empty() {
        return named(claim, &wanted, volumes);
    }
    if is_deleting(&claim.metadata) {
        return ClaimPlan::Nothing;
    }
    let mode = class.and_then(|class| class.volume_binding_mode.as_deref());
    let is_settled = annotation(claim, SELECTED_NODE).is_some() || consumers.is_placed;
    if mode == Some("WaitForFirstConsumer") && !is_settled {
        // What somebody has kept for the claim needs no choice of a node.
        return match volumes.iter().find(|volume| is_for(volume, claim) && has_enough(volume, claim)) {
            Some(volume) if has_uid(volume) => ClaimPlan::Bind(volume.clone()),
            Some(volume) => ClaimPlan::Take(volume.clone()),
            None => consumers.wait(),
        };
    }
    match best(claim, volumes) {
        Some(volume) if is_for(&volume, claim) && has_uid(&volume) => ClaimPlan::Bind(volume),
        Some(volume) => ClaimPlan::Take(volume),
        None => match (class_of_claim(claim), class) {
            (None, _) => {
                wait("FailedBinding", "no persistent volumes available for this claim and no storage class is set")
            }
            (Some(name), None) => ClaimPlan::Wait {
                reason: "ProvisioningFailed",
                message: format!("storageclass.storage.k8s.io {name:?} not found"),
                is_bad: true,
            },
            (Some(_), Some(class)) if class.provisioner == NO_PROVISIONER => {
                wait("FailedBinding", "no persistent volumes available for this claim and no storage class is set")
            }
            (Some(_), Some(class)) => ClaimPlan::Provision(class.provisioner.clone()),
        },
    }
}

fn has_uid(volume: &PersistentVolume) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.and_then(|reference| reference.uid.as_deref()).is_some_and(|uid| !uid.is_empty())
}

/// A claim that names its volume.
fn named(claim: &PersistentVolumeClaim, wanted: &str, volumes: &[Arc<PersistentVolume>]) -> ClaimPlan {
    let was_bound = annotation(claim, BIND_COMPLETED).is_some();
    let Some(volume) = volumes.iter().find(|volume| name(&volume.metadata) == wanted) else {
        return match (was_bound, phase_of(claim)) {
            (true, "Lost") => ClaimPlan::Nothing,
            (true, _) => {
                ClaimPlan::Lost("Bound claim has lost its PersistentVolume. Data on the volume is lost!".to_owned())
            }
            (false, _) => wait("FailedBinding", format!("volume {wanted:?} not found")),
        };
    };
    match claim_of(volume) {
        None if was_bound => ClaimPlan::Take(volume.clone()),
        None if !has_enough(volume, claim) => ClaimPlan::Wait {
            reason: "VolumeMismatch",
            message: format!("Cannot bind to requested volume {wanted:?}: requested PV is too small or does not fit"),
            is_bad: true,
        },
        None => ClaimPlan::Take(volume.clone()),
        Some(_) if is_for(volume, claim) && has_uid(volume) => ClaimPlan::Bind(volume.clone()),
        Some(_) if is_for(volume, claim) => ClaimPlan::Take(volume.clone()),
        Some(_) if was_bound && phase_of(claim) == "Lost" => ClaimPlan::Nothing,
        Some(_) if was_bound => ClaimPlan::Lost(
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!".to_owned(),
        ),
        Some(_) => ClaimPlan::Wait {
            reason: "FailedBinding",
            message: format!("volume {wanted:?} already bound to a different claim."),
            is_bad: true,
        },
    }
}

/// The change that makes a volume the claim's.
pub(super) fn claim_reference(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Value {
    let mut change = json!({ "spec": { "claimRef": {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "namespace": namespace(&claim.metadata), "name": name(&claim.metadata),
        "uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version,
    } } });
    // One that was kept for the claim by its maker stays so when the claim is gone.
    if claim_of(volume).is_none() {
        change["metadata"]["annotations"][BY_CONTROLLER] = json!("yes");
    }
    change
}

/// The change that names the volume in its claim, when there is any.
pub(super) fn volume_name(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Value> {
    let has_name = claim_spec(claim).volume_name.is_some_and(|name| !name.is_empty());
    if has_name && annotation(claim, BIND_COMPLETED).is_some() {
        return None;
    }
    let mut change = json!({ "metadata": { "annotations": { BIND_COMPLETED: "yes" } } });
    if !has_name {
        change["spec"]["volumeName"] = json!(name(&volume.metadata));
        change["metadata"]["annotations"][BY_CONTROLLER] = json!("yes");
    }
    Some(change)
}

/// What the status of a bound claim says, when it does not say so yet.
pub(super) fn bound_status(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Value> {
    let spec = volume_spec(volume);
    let status = claim.status.clone().unwrap_or_default();
    let has_capacity = status.capacity.as_ref().is_some_and(|capacity| capacity.contains_key("storage"));
    if phase_of(claim) == "Bound" && status.access_modes == spec.access_modes && has_capacity {
        return None;
    }
    Some(json!({ "status": { "phase": "Bound", "accessModes": spec.access_modes, "capacity": spec.capacity } }))
}

/// What a volume's status is to say, `None` when it says so.
pub(super) fn volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Option<VolumePlan> {
    let plain = |phase| VolumePlan { phase, message: None };
    let status = volume.status.clone().unwrap_or_default();
    let wanted = match claim_of(volume) {
        None => plain("Available"),
        Some(_) if !has_uid(volume) => plain("Available"),
        Some(_) => match claim {
            Some(claim) if is_for(volume, claim) => {
                let names_it = claim_spec(claim).volume_name.as_deref() == Some(name(&volume.metadata));
                // Between the two halves of a binding.
                if names_it { plain("Bound") } else { plain("Available") }
            }
            _ => released(volume),
        },
    };
    let is_same = status.phase.as_deref() == Some(wanted.phase) && status.message == wanted.message;
    (!is_same).then_some(wanted)
}

/// A volume whose claim is gone. Nothing here can empty or remove what a volume stands for.
fn released(volume: &PersistentVolume) -> VolumePlan {
    let spec = volume_spec(volume);
    let is_external = spec.csi.is_some() || volume.annotations().contains_key("pv.kubernetes.io/provisioned-by");
    if spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete") && !is_external {
        let message = format!(
            "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
            name(&volume.metadata)
        );
        return VolumePlan { phase: "Failed", message: Some(message) };
    }
    VolumePlan { phase: "Released", message: None }
}
