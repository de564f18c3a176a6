//! What has replicas: ReplicaSets, and ReplicationControllers, which came before them and select by equality alone.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object that wants a number of pods of a template.
pub(crate) trait ReplicaOwner:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// The name of its controller, in spans and metrics.
    const CONTROLLER: &'static str;
    /// `ReplicaSet`
    const KIND: &'static str;
    /// Who its events come from.
    const COMPONENT: &'static str;

    /// `spec.replicas`, 1 when unset.
    fn wanted(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    /// Nothing where it could select everything.
    fn selector(&self) -> LabelSelector;
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// What was published last.
    fn published(&self) -> Option<ReplicaSetStatus>;
    /// The object with another status, as far as its kind can say it.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;

    fn envelope(&self) -> &ObjectMeta {
        self.meta()
    }
}

impl ReplicaOwner for ReplicaSet {
    const CONTROLLER: &'static str = "replica_set";
    const KIND: &'static str = "ReplicaSet";
    const COMPONENT: &'static str = "replicaset-controller";

    fn wanted(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }
    fn selector(&self) -> LabelSelector {
        self.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn published(&self) -> Option<ReplicaSetStatus> {
        self.status.clone()
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl ReplicaOwner for ReplicationController {
    const CONTROLLER: &'static str = "replication_controller";
    const KIND: &'static str = "ReplicationController";
    const COMPONENT: &'static str = "replication-controller";

    fn wanted(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }
    fn selector(&self) -> LabelSelector {
        let labels = self.spec.as_ref().and_then(|spec| spec.selector.clone());
        LabelSelector { match_labels: labels, match_expressions: None }
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn published(&self) -> Option<ReplicaSetStatus> {
        let status = self.status.clone()?;
        let conditions = status.conditions.map(|all| {
            let each = all.into_iter().map(|condition| ReplicaSetCondition {
                type_: condition.type_,
                status: condition.status,
                reason: condition.reason,
                message: condition.message,
                last_transition_time: condition.last_transition_time,
            });
            each.collect()
        });
        Some(ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            terminating_replicas: None,
            conditions,
        })
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let conditions = status.conditions.map(|all| {
            let each = all.into_iter().map(|condition| ReplicationControllerCondition {
                type_: condition.type_,
                status: condition.status,
                reason: condition.reason,
                message: condition.message,
                last_transition_time: condition.last_transition_time,
            });
            each.collect()
        });
        let status = ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions,
        };
        Self { status: Some(status), ..self.clone() }
    }
}
