//! Revision numbers and the other annotations that tie ReplicaSets to their Deployment.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::model::Model;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const HISTORY_CHARS_MAX: usize = 2000;

/// What describes the Deployment itself and is not for its ReplicaSets.
const NOT_COPIED: [&str; 6] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAX, super::rollback::ROLLBACK_TO];

/// Whether an annotation describes what the template is for, and not the Deployment.
pub(super) fn is_copied(name: &str) -> bool {
    // How a canary goes is said once and holds after `kubectl rollout undo`, which takes the ReplicaSet's annotations; how far one
    // has come is the Deployment's.
    !NOT_COPIED.contains(&name) && ![crate::canary::STATUS, crate::canary::PROMOTE].contains(&name)
}

pub(super) fn revision(set: &ReplicaSet) -> i64 {
    number(set, REVISION).unwrap_or(0)
}

pub(super) fn number(set: &ReplicaSet, annotation: &str) -> Option<i64> {
    set.annotations().get(annotation)?.parse().ok()
}

/// The revision that the new ReplicaSet has from now on.
pub(super) fn next_revision(old: &[ReplicaSet]) -> i64 {
    old.iter().map(revision).max().unwrap_or(0) + 1
}

/// Copies the Deployment's annotations to the new ReplicaSet and gives it `revision`, unless it has a later one.
pub(super) fn annotate_new(deployment: &Deployment, set: &mut ReplicaSet, revision: i64) {
    let copied: BTreeMap<String, String> = deployment
        .annotations()
        .iter()
        .filter(|(name, _)| is_copied(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let before = number(set, REVISION);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.extend(copied);
    if before.is_some_and(|before| before >= revision) {
        return;
    }
    annotations.insert(REVISION.to_owned(), revision.to_string());
    if let Some(before) = before {
        let history = annotations.entry(HISTORY.to_owned()).or_default();
        if !history.is_empty() {
            history.push(',');
        }
        history.push_str(&before.to_string());
        while history.len() > HISTORY_CHARS_MAX {
            let rest = history.split_once(',').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
            *history = rest;
        }
    }
}

/// Notes on a ReplicaSet the sizes that it was computed for: scaling in proportion starts from them.
pub(super) fn annotate_sizes(set: &mut ReplicaSet, desired: i32, max: i32) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.to_owned(), desired.to_string());
    annotations.insert(MAX.to_owned(), max.to_string());
}

/// The old ReplicaSets that `revisionHistoryLimit` leaves no place for, the earliest revisions first.
pub(super) fn surplus(model: &Model<'_>) -> Vec<ReplicaSet> {
    let Some(limit) = model.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit) else {
        return Vec::new();
    };
    let mut sets: Vec<&ReplicaSet> = model.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    let surplus = sets.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    sets.sort_by_key(|set| revision(set));
    sets.into_iter().take(surplus).filter(|set| is_idle(set)).cloned().collect()
}

fn is_idle(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    super::model::replicas(set) == 0 && super::model::existing(set) == 0 && observed >= set.metadata.generation
}
