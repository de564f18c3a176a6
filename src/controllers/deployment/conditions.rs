//! The conditions of a Deployment.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

pub(super) const SET_CREATED: &str = "NewReplicaSetCreated";
pub(super) const SET_FOUND: &str = "FoundNewReplicaSet";
pub(super) const SET_UPDATED: &str = "ReplicaSetUpdated";
pub(super) const SET_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const PAUSED: &str = "DeploymentPaused";
pub(super) const RESUMED: &str = "DeploymentResumed";

pub(super) fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Whether a condition of this type gives this reason.
pub(super) fn has_reason(status: &DeploymentStatus, type_: &str, reason: &str) -> bool {
    get(status, type_).is_some_and(|condition| condition.reason.as_deref() == Some(reason))
}

pub(super) fn remove(status: &mut DeploymentStatus, type_: &str) {
    let Some(conditions) = &mut status.conditions else { return };
    conditions.retain(|condition| condition.type_ != type_);
    if conditions.is_empty() {
        status.conditions = None;
    }
}

/// A condition that holds from now on.
pub(super) fn new(
    type_: &str,
    value: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition; one with the same value and reason stays as it is.
pub(super) fn set(status: &mut DeploymentStatus, condition: DeploymentCondition) {
    let same = get(status, &condition.type_)
        .is_some_and(|current| current.status == condition.status && current.reason == condition.reason);
    if !same {
        renew(status, condition);
    }
}

/// Sets a condition with its new time even where value and reason are the same. The time of the last transition
/// changes with the value only.
pub(super) fn renew(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = get(status, &condition.type_)
        && current.status == condition.status
    {
        condition.last_transition_time.clone_from(&current.last_transition_time);
    }
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|current| current.type_ != condition.type_);
    conditions.push(condition);
}
