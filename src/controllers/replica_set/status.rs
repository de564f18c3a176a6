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
    let min_ready = set.min_ready_seconds();
    let template = set.template().and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let is_labelled = |pod: &Pod| labels.iter().all(|(label, value)| pod.labels().get(label) == Some(value));
    let (mut active, mut labelled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
    // Once over all of them: a set may own thousands.
    for pod in owned {
        if pods::is_active(pod) {
            active += 1;
            labelled += usize::from(is_labelled(pod));
            if pods::is_ready(pod) {
                ready += 1;
                let is_available = min_ready == 0 || pods::availability(pod, min_ready, now) == Availability::Yes;
                available += usize::from(is_available);
            }
        } else if is_deleting(&pod.metadata) && !pods::is_finished(pod) {
            terminating += 1;
        }
    }
    ReplicaSetStatus {
        replicas: count(active).unwrap_or(0),
        fully_labeled_replicas: count(labelled),
        ready_replicas: count(ready),
        available_replicas: count(available),
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
