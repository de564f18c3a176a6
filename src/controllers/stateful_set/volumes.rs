//! The claims of a StatefulSet's pods.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::identity::ordinal;
use crate::owners::{controlled_by, name};

fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", name(&template.metadata), name(&set.metadata))
}

/// Whether a claim of that name belongs to the set.
pub(super) fn is_of(set: &StatefulSet, claim: &str) -> bool {
    templates(set).iter().any(|template| {
        let rest = claim.strip_prefix(name(&template.metadata)).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|pod| ordinal(set, pod).is_some())
    })
}

/// The claims that the pod of an ordinal needs.
pub(super) fn of(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let labels = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
    templates(set)
        .iter()
        .map(|template| {
            let mut own = template.metadata.labels.clone().unwrap_or_default();
            own.extend(labels.clone().unwrap_or_default());
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(claim_name(set, template, ordinal)),
                    namespace: set.metadata.namespace.clone(),
                    labels: Some(own).filter(|labels| !labels.is_empty()),
                    annotations: template.metadata.annotations.clone(),
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

/// Puts the claims in place of the volumes of the same names.
pub(super) fn attach(set: &StatefulSet, spec: &mut PodSpec, ordinal: i32) {
    let volumes = spec.volumes.get_or_insert_default();
    for template in templates(set) {
        let own = name(&template.metadata);
        volumes.retain(|volume| volume.name != own);
        let source =
            PersistentVolumeClaimVolumeSource { claim_name: claim_name(set, template, ordinal), read_only: None };
        volumes.push(Volume { name: own.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() });
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
}

/// Who a claim's life depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    Nobody,
    Set,
    Pod,
}

/// The owner references that a claim should have; nothing where it has them. `condemned` is whether its ordinal is no longer
/// wanted.
pub(super) fn owners(
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    pod: Option<&Pod>,
    condemned: bool,
) -> Option<Vec<OwnerReference>> {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |word: Option<&str>| word == Some("Delete");
    let when_scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_deref()));
    let when_deleted = deletes(policy.and_then(|policy| policy.when_deleted.as_deref()));
    let keeper = match (when_scaled && condemned, when_deleted) {
        (true, _) => Keeper::Pod,
        (false, true) => Keeper::Set,
        (false, false) => Keeper::Nobody,
    };
    let had = claim.metadata.owner_references.clone().unwrap_or_default();
    let set_uid = set.metadata.uid.as_deref().unwrap_or_default();
    let is_ours =
        |owner: &OwnerReference| owner.uid == set_uid || (owner.kind == "Pod" && ordinal(set, &owner.name).is_some());
    let mut wanted: Vec<OwnerReference> = had.iter().filter(|owner| !is_ours(owner)).cloned().collect();
    // A claim that somebody else controls is theirs to keep.
    if wanted.iter().all(|owner| owner.controller != Some(true)) {
        match keeper {
            Keeper::Set => wanted.push(controlled_by(set)),
            Keeper::Pod => wanted.push(controlled_by(pod?)),
            Keeper::Nobody => {}
        }
    }
    (wanted != had).then_some(wanted)
}
