//! Carrying out a plan, and telling how things stand.

use std::sync::Arc;

use client::controller::in_doubling_batches;
use client::informers::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};

use super::owner::ReplicaOwner;
use super::plan::Plan;
use super::{ReplicaSets, status};
use crate::owners::{name, namespace};
use crate::pod_control;

impl<O: ReplicaOwner> ReplicaSets<O> {
    /// Returns the first failure. What was written is remembered until the cache shows it.
    pub(super) async fn act(&self, key: &Key, set: &O, plan: &Plan) -> Option<kube::Error> {
        match plan {
            Plan::Nothing | Plan::Wait(_) => None,
            Plan::Create(count) => {
                let pod = Arc::new(pod_control::of_template(set, set.template()));
                let create = |_| async { self.control.create(key, set, Arc::clone(&pod)).await.map(drop) };
                in_doubling_batches(*count, create).await.1
            }
            Plan::Delete(pods) => self.control.delete_all(key, set, pods).await,
        }
    }

    /// Writes the status, when it is another than the one that is there.
    pub(super) async fn publish(
        &self,
        key: &Key,
        set: &O,
        owned: &[Arc<Pod>],
        failure: Option<(&Plan, &kube::Error)>,
    ) -> Result<(), kube::Error> {
        let failure = failure.map(|(plan, error)| status::Failure {
            reason: if matches!(plan, Plan::Delete(_)) { "FailedDelete" } else { "FailedCreate" },
            message: client::explain(error),
        });
        let wanted = set.with_status(status::status(set, owned, failure.as_ref(), Timestamp::now()));
        if set.published() == wanted.published() {
            return Ok(());
        }
        let api = Api::<O>::namespaced(self.client.clone(), namespace(set.envelope()));
        match api.replace_status(name(set.envelope()), &PostParams::default(), &wanted).await {
            Ok(written) => self.own.wrote(key, written.envelope(), &self.sets),
            Err(error) if client::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
