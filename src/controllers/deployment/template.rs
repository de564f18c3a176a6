//! Pod templates: which ReplicaSet has the Deployment's, and how a new one is made and named.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::owners::{controlled_by, name};
use crate::suffix;

pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Whether the ReplicaSet runs the Deployment's template, whatever hash it is labelled with.
pub(crate) fn is_of(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let wanted = deployment.spec.as_ref().map(|spec| &spec.template);
    match (template, wanted) {
        (Some(template), Some(wanted)) => {
            template.spec == wanted.spec && without_hash(template) == without_hash(wanted)
        }
        _ => false,
    }
}

/// The metadata that makes templates differ.
fn without_hash(template: &PodTemplateSpec) -> ObjectMeta {
    let mut meta = template.metadata.clone().unwrap_or_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH_LABEL);
    }
    meta.labels = meta.labels.filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    meta
}

/// A ReplicaSet's template as its Deployment had it.
pub(super) fn without_hash_label(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// A ReplicaSet for the Deployment's template with no pods yet.
pub(super) fn new_set(deployment: &Deployment) -> ReplicaSet {
    let Some(spec) = &deployment.spec else { return ReplicaSet::default() };
    let hash = hash(&spec.template, deployment.status.as_ref().and_then(|status| status.collision_count));
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(&deployment.metadata))),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controlled_by(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Ten letters at most that follow from the template, and from how often such a name was taken by a stranger.
fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut text = serde_json::to_vec(template).unwrap_or_default();
    if let Some(collisions) = collisions {
        text.extend_from_slice(&collisions.to_le_bytes());
    }
    suffix::hash(&text).to_string().bytes().map(|digit| suffix::letter(usize::from(digit))).collect()
}
