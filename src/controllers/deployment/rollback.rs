//! Going back because of an annotation, as clients asked for it before they wrote the old template themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::{revisions, template};
use crate::owners::{is_deleting, name};

/// The revision to go back to; 0 is the one before the current one.
pub(super) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// What becomes of the Deployment.
#[derive(Debug)]
pub(super) struct Rollback {
    /// Without the annotation, and with the old template if there is one.
    pub deployment: Deployment,
    /// Whether it is bad news, reason and message.
    pub news: (bool, &'static str, String),
}

/// Carries out what the annotation asks for, when it is there. A template that has no ReplicaSet yet gets one first, so
/// that it stays in the history.
pub(super) fn plan(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Rollback> {
    let asked: i64 = deployment.annotations().get(ROLLBACK_TO)?.parse().ok()?;
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
    if paused || is_deleting(&deployment.metadata) || !sets.iter().any(|set| template::is_of(set, deployment)) {
        return None;
    }
    let mut rolled = deployment.clone();
    rolled.annotations_mut().remove(ROLLBACK_TO);
    let not_found = |message: &str| (true, "DeploymentRollbackRevisionNotFound", message.to_owned());
    let wanted = if asked == 0 { last_revision(sets) } else { Some(asked) };
    let Some(wanted) = wanted else {
        return Some(Rollback { deployment: rolled, news: not_found("Unable to find last revision.") });
    };
    let Some(set) = sets.iter().find(|set| revisions::revision(set) == wanted) else {
        return Some(Rollback { deployment: rolled, news: not_found("Unable to find the revision to rollback to.") });
    };
    let own = name(&deployment.metadata);
    if template::is_of(set, deployment) {
        let message = format!("The rollback revision contains the same template as current deployment {own:?}");
        return Some(Rollback { deployment: rolled, news: (true, "DeploymentRollbackTemplateUnchanged", message) });
    }
    if let (Some(spec), Some(old)) = (&mut rolled.spec, set.spec.as_ref().and_then(|spec| spec.template.as_ref())) {
        spec.template = template::without_hash_label(old);
    }
    let kept = |annotations: &BTreeMap<String, String>, of_deployment: bool| {
        let kept = annotations.iter().filter(|(name, _)| revisions::is_copied(name) != of_deployment);
        kept.map(|(name, value)| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    // What was said about that revision is said of the Deployment again.
    let mut annotations = kept(rolled.annotations(), true);
    annotations.extend(kept(set.annotations(), false));
    rolled.metadata.annotations = Some(annotations);
    let message = format!("Rolled back deployment {own:?} to revision {wanted}");
    Some(Rollback { deployment: rolled, news: (false, "DeploymentRollback", message) })
}

/// The revision before the newest.
fn last_revision(sets: &[Arc<ReplicaSet>]) -> Option<i64> {
    let mut all: Vec<i64> = sets.iter().map(|set| revisions::revision(set)).collect();
    all.sort_unstable();
    all.into_iter().rev().nth(1).filter(|revision| *revision > 0)
}
