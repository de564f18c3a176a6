//! Rolls a Deployment's template out over ReplicaSets.
//!
//! *Owns*: a Deployment's ReplicaSets (creation, their size, their revision annotations, their clean-up) and the
//! Deployment's status.
//!
//! *Guarantees*: during a rolling update at most `replicas + maxSurge` pods exist and at least `replicas -
//! maxUnavailable` are available, as far as this controller decides; sizes, rounding, conditions and reasons are
//! Kubernetes'. The name of a new ReplicaSet follows from its template, so that a cache that lags cannot make two.
//!
//! *Never*: touches a pod.
//!
//! ```text
//! plan: deleting → status only │ paused, or resized → scale (in proportion) │ Recreate → recreate │ else → rolling
//! ```

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError, controller_key};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::core::SelectorExt;

use crate::owners::controlled_by;
use crate::{Rig, claims, pods};

mod act;
mod canary;
mod conditions;
mod model;
mod plan;
mod recreate;
mod revisions;
mod rollback;
mod rolling;
mod scaling;
mod status;
pub(crate) mod template;
#[cfg(test)]
mod tests;

pub(crate) fn start(rig: Rig) {
    let deployments = rig.informers.of::<Deployment>();
    let sets = rig.informers.of::<ReplicaSet>();
    let pods = rig.informers.of::<Pod>();
    claims::index_orphans(&sets);
    let (owners, through) = (deployments.clone(), sets.clone());
    let controller = Controller::new("deployment", &rig.metrics)
        .each(&deployments)
        .controlled(&sets, "Deployment")
        .watch(&sets, move |change| {
            claims::would_adopt(change, &owners, |deployment, labels| {
                claims::selector(&selector_of(deployment)).is_some_and(|selector| selector.matches(labels))
            })
        })
        // Recreate waits until the last old pod is gone, which no ReplicaSet's status tells exactly.
        .watch(&pods, move |change| {
            let gone = change.old.as_ref().filter(|_| change.new.is_none());
            let set = gone.and_then(|pod| controller_key(pod.as_ref(), "ReplicaSet")).and_then(|key| through.at(&key));
            set.and_then(|set| controller_key(set.as_ref(), "Deployment")).into_iter().collect()
        });
    let events = rig.recorder("deployment-controller");
    let (own, of_sets) = (Expectations::default(), Expectations::default());
    controller.start(&rig.tasks, Deployments { client: rig.client, deployments, sets, pods, own, of_sets, events });
}

struct Deployments {
    client: Client,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    /// Statuses and revisions written.
    own: Expectations,
    /// ReplicaSets made and changed.
    of_sets: Expectations,
    events: Recorder,
}

fn selector_of(deployment: &Deployment) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    deployment.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
}

#[async_trait]
impl Reconcile for Deployments {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(deployment) = self.deployments.at(key) else {
            self.own.forget(key);
            self.of_sets.forget(key);
            return Ok(Next::Done);
        };
        if !self.own.met(key, &self.deployments) || !self.of_sets.met(key, &self.sets) {
            return Ok(Next::Done);
        }
        let Some(selector) = claims::selector(&selector_of(&deployment)) else {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.warning(deployment.as_ref(), "SelectingAll", message);
            return Ok(Next::Done);
        };
        let claims = claims::claims(&deployment.metadata, &selector, &self.sets);
        if !claims.settled() {
            claims.settle(&self.client, &controlled_by(deployment.as_ref())).await?;
            return Ok(Next::Done);
        }
        if let Some(rollback) = rollback::plan(&deployment, &claims.owned) {
            self.roll_back(rollback).await?;
            return Ok(Next::Done);
        }
        let pod_counts = |set: &ReplicaSet| {
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            self.pods.owned_by(uid).iter().filter(|pod| !pods::is_finished(pod)).count()
        };
        let plan = plan::plan(&deployment, &claims.owned, pod_counts, Timestamp::now());
        self.act(&deployment, &plan).await?;
        Ok(plan.again.map_or(Next::Done, Next::After))
    }
}
