//! Carrying out a plan, and telling how things stand.

use std::sync::Arc;

use client::controller::in_doubling_batches;
use client::informers::Key;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use super::plan::Plan;
use super::{ReplicaSets, status};
use crate::owners::{controlled_by, name, namespace};

const DELETIONS_AT_ONCE: usize = 64;

impl ReplicaSets {
    /// Returns the first failure. What was written is remembered until the cache shows it.
    pub(super) async fn act(&self, key: &Key, set: &ReplicaSet, plan: &Plan) -> Option<kube::Error> {
        match plan {
            Plan::Nothing => None,
            Plan::Create(count) => {
                let pod = new_pod(set);
                in_doubling_batches(*count, |_| self.create(key, set, &pod)).await.1
            }
            Plan::Delete(pods) => {
                let deletions: Vec<_> = pods.iter().map(|pod| self.delete(key, set, pod)).collect();
                let outcomes = futures::stream::iter(deletions).buffer_unordered(DELETIONS_AT_ONCE);
                outcomes.filter_map(|outcome| std::future::ready(outcome.err())).collect::<Vec<_>>().await.pop()
            }
        }
    }

    async fn create(&self, key: &Key, set: &ReplicaSet, pod: &Pod) -> Result<(), kube::Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace(&set.metadata));
        match api.create(&PostParams::default(), pod).await {
            Ok(created) => {
                self.expectations.created(key, &created.metadata, &self.pods);
                self.events.normal(set, "SuccessfulCreate", format!("Created pod: {}", name(&created.metadata)));
                Ok(())
            }
            Err(error) if client::is_namespace_terminating(&error) => Err(error),
            Err(error) => {
                self.events.warning(set, "FailedCreate", format!("Error creating: {}", client::explain(&error)));
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet, pod: &Arc<Pod>) -> Result<(), kube::Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace(&set.metadata));
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        match api.delete(name(&pod.metadata), &params).await {
            Ok(_) => {
                self.expectations.deleted(key, &pod.metadata);
                self.events.normal(set, "SuccessfulDelete", format!("Deleted pod: {}", name(&pod.metadata)));
                Ok(())
            }
            Err(error) if client::is_not_found(&error) => Ok(()),
            Err(error) => {
                self.events.warning(set, "FailedDelete", format!("Error deleting: {}", client::explain(&error)));
                Err(error)
            }
        }
    }

    /// Writes the status, when it is another than the one that is there.
    pub(super) async fn publish(
        &self,
        key: &Key,
        set: &ReplicaSet,
        owned: &[Arc<Pod>],
        failure: Option<(&Plan, &kube::Error)>,
    ) -> Result<(), kube::Error> {
        let failure = failure.map(|(plan, error)| status::Failure {
            reason: if matches!(plan, Plan::Delete(_)) { "FailedDelete" } else { "FailedCreate" },
            message: client::explain(error),
        });
        let status = status::status(set, owned, failure.as_ref(), Timestamp::now());
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<ReplicaSet>::namespaced(self.client.clone(), namespace(&set.metadata));
        let wanted = ReplicaSet { status: Some(status), ..set.clone() };
        match api.replace_status(name(&set.metadata), &PostParams::default(), &wanted).await {
            Ok(written) => self.own.wrote(key, &written.metadata, &self.sets),
            Err(error) if client::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A pod of the ReplicaSet's template; the server completes its name.
pub(super) fn new_pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let given = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&set.metadata))),
            namespace: set.metadata.namespace.clone(),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![controlled_by(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
