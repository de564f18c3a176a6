//! Which volume a claim gets, and what becomes of it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use serde_json::json;

use crate::owners::{is_deleting, name, namespace};

pub(super) const PROVISIONER: &str = "coracle.dev/local-path";
/// What the volumes' source is called: the name of a driver has no slash.
pub(crate) const DRIVER: &str = "local-path.coracle.dev";
/// Held until the node has removed the folder.
pub(super) const FINALIZER: &str = "coracle.dev/local-path";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What happens to a claim next.
#[derive(Debug)]
pub(super) enum ClaimPlan {
    Nothing,
    /// It cannot be had as it is.
    Fail(String),
    /// The node that was chosen for it is gone.
    Reschedule(String),
    Make(Box<PersistentVolume>),
}

/// What happens to a volume next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VolumePlan {
    Nothing,
    Delete,
    /// Nobody has anything to remove: these finalizers are left.
    LetGo(Vec<String>),
}

/// What decides about a claim besides itself.
pub(super) struct Around<'a> {
    pub class: &'a StorageClass,
    pub nodes: &'a [Arc<Node>],
    /// Where a pod runs already that uses the claim.
    pub of_consumer: Option<&'a str>,
    /// How many volumes lie on each node.
    pub held: &'a BTreeMap<String, usize>,
}

/// Whether the binder has asked for a volume of ours.
pub(super) fn waits_for_us(claim: &PersistentVolumeClaim) -> bool {
    let is_bound =
        claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).is_some_and(|name| !name.is_empty());
    let asked = claim.annotations().get(ASKED).map(String::as_str);
    !is_bound && !is_deleting(&claim.metadata) && asked == Some(PROVISIONER)
}

pub(super) fn claim(claim: &PersistentVolumeClaim, around: &Around<'_>) -> ClaimPlan {
    if !waits_for_us(claim) || around.class.provisioner != PROVISIONER {
        return ClaimPlan::Nothing;
    }
    if let Some(why) = unfit(claim) {
        return ClaimPlan::Fail(why.to_owned());
    }
    let selected = claim.annotations().get(SELECTED_NODE).map(String::as_str).or(around.of_consumer);
    let waits = around.class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    let allowed = around.class.allowed_topologies.as_deref().unwrap_or_default();
    let node = match selected {
        Some(selected) => match around.nodes.iter().find(|node| name(&node.metadata) == selected) {
            Some(node) if is_allowed(node, allowed) => node,
            Some(_) => return ClaimPlan::Fail(format!("node {selected:?} is not in the class's allowedTopologies")),
            None => return ClaimPlan::Reschedule(selected.to_owned()),
        },
        None if waits => return ClaimPlan::Nothing,
        None => {
            let usable = around.nodes.iter().filter(|node| is_usable(node) && is_allowed(node, allowed));
            let load = |node: &&Arc<Node>| around.held.get(name(&node.metadata)).copied().unwrap_or(0);
            match usable.min_by_key(|node| (load(node), name(&node.metadata).to_owned())) {
                Some(node) => node,
                None => return ClaimPlan::Fail("no node is ready to hold it".to_owned()),
            }
        }
    };
    match volume_for(claim, around.class, node) {
        Ok(volume) => ClaimPlan::Make(Box::new(volume)),
        Err(error) => ClaimPlan::Fail(error.to_string()),
    }
}

fn unfit(claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let spec = claim.spec.as_ref()?;
    if spec.volume_mode.as_deref() == Some("Block") {
        return Some("volumeMode Block is not offered: components have files and no devices; use Filesystem");
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Some("dataSource is not offered: volumes begin empty");
    }
    spec.selector.as_ref().map(|_| "claim Selector is not supported")
}

fn is_usable(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true) && !is_deleting(&node.metadata)
}

fn is_allowed(node: &Node, terms: &[TopologySelectorTerm]) -> bool {
    let labels = node.labels();
    let fits = |term: &TopologySelectorTerm| {
        let mut all = term.match_label_expressions.iter().flatten();
        all.all(|wanted| labels.get(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
    };
    terms.is_empty() || terms.iter().any(fits)
}

fn volume_for(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
) -> Result<PersistentVolume, serde_json::Error> {
    let spec = claim.spec.clone().unwrap_or_default();
    let asked = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    let storage = asked.get("storage").map_or("0", |storage| storage.0.as_str());
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    let own = format!("pvc-{uid}");
    let host = node.labels().get(HOSTNAME).map_or_else(|| name(&node.metadata), String::as_str);
    serde_json::from_value(json!({
        "metadata": { "name": own, "annotations": { MADE_BY: PROVISIONER }, "finalizers": [FINALIZER] },
        "spec": {
            "capacity": { "storage": storage },
            "accessModes": spec.access_modes,
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": name(&class.metadata),
            "volumeMode": "Filesystem",
            "mountOptions": class.mount_options,
            "volumeAttributesClassName": spec.volume_attributes_class_name,
            "csi": { "driver": DRIVER, "volumeHandle": own },
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace(&claim.metadata),
                "name": name(&claim.metadata), "uid": uid, "resourceVersion": claim.metadata.resource_version,
            },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": HOSTNAME, "operator": "In", "values": [host] },
            ] }] } },
        },
    }))
}

/// Whether the volume was made here.
pub(super) fn is_ours(volume: &PersistentVolume) -> bool {
    let driver = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref()).map(|csi| csi.driver.as_str());
    driver == Some(DRIVER) && volume.annotations().get(MADE_BY).map(String::as_str) == Some(PROVISIONER)
}

/// The node that a volume of ours lies on.
pub(super) fn node_of(volume: &PersistentVolume) -> Option<&str> {
    if !is_ours(volume) {
        return None;
    }
    let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?;
    let mut wanted =
        affinity.required.as_ref()?.node_selector_terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
    wanted.find(|wanted| wanted.key == HOSTNAME)?.values.as_ref()?.first().map(String::as_str)
}

pub(super) fn volume(volume: &PersistentVolume, has_node: bool) -> VolumePlan {
    if !is_ours(volume) {
        return VolumePlan::Nothing;
    }
    let spec = volume.spec.as_ref();
    let deletes = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    if !is_deleting(&volume.metadata) {
        return if deletes && phase == Some("Released") { VolumePlan::Delete } else { VolumePlan::Nothing };
    }
    // What is kept stays on the disk; what lies on a node that is gone cannot be removed.
    if finalizers.iter().any(|finalizer| finalizer == FINALIZER) && (!deletes || !has_node) {
        return VolumePlan::LetGo(finalizers.iter().filter(|name| *name != FINALIZER).cloned().collect());
    }
    VolumePlan::Nothing
}
