//! What a ReplicaSet's status says.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::owner::ReplicaOwner;
use crate::owners::is_deleting;
use crate::pods::{self, Availability};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Why a plan was not carried out whole.
pub(super) struct Failure {
    pub reason: &'static str,
    pub message: String,
}

/// Counts the pods.
pub(super) fn status(
    set: &impl ReplicaOwner,
    owned: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let active = || owned.iter().filter(|pod| pods::is_active(pod));
    let min_ready = set.min_ready_seconds();
    let template = set.template().and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let is_labelled = |pod: &Pod| labels.iter().all(|(label, value)| pod.labels().get(label) == Some(value));
    let terminating = owned.iter().filter(|pod| is_deleting(&pod.metadata) && !pods::is_finished(pod)).count();
    ReplicaSetStatus {
        replicas: count(active().count()).unwrap_or(0),
        fully_labeled_replicas: count(active().filter(|pod| is_labelled(pod)).count()),
        ready_replicas: count(active().filter(|pod| pods::is_ready(pod)).count()),
        available_replicas: count(
            active().filter(|pod| pods::availability(pod, min_ready, now) == Availability::Yes).count(),
        ),
        terminating_replicas: Some(count(terminating).unwrap_or(0)),
        observed_generation: set.envelope().generation,
        conditions: conditions(set, failure, now),
    }
}

/// Kubernetes leaves zeros out.
fn count(count: usize) -> Option<i32> {
    i32::try_from(count).ok().filter(|count| *count > 0)
}

fn conditions(set: &impl ReplicaOwner, failure: Option<&Failure>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = set.published().and_then(|status| status.conditions).unwrap_or_default();
    match failure {
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
        Some(_) if conditions.iter().any(|condition| condition.type_ == REPLICA_FAILURE) => {}
        Some(Failure { reason, message }) => conditions.push(ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            last_transition_time: Some(Time(now)),
        }),
    }
    (!conditions.is_empty()).then_some(conditions)
}
