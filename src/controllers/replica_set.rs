//! Keeps as many pods of a template as a ReplicaSet asks for.
//!
//! *Owns*: the pods that a ReplicaSet controls (creation, deletion, adoption, release) and the ReplicaSet's status.
//!
//! *Guarantees*: a cache that lags never makes it create or delete twice; creations that fail stop after the first
//! batch and back off; which pods go first on scaling down is a total order, so that a plan is repeatable.
//!
//! *Never*: changes a pod that it keeps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::core::SelectorExt;

use crate::claims::{self, Claims};
use crate::owners::{controlled_by, controller_of, is_deleting};
use crate::{Rig, pods};

mod act;
mod plan;
mod ranking;
mod status;
#[cfg(test)]
mod tests;

use plan::Plan;

pub(crate) fn start(rig: Rig) {
    let sets = rig.informers.of::<ReplicaSet>();
    let pods = rig.informers.of::<Pod>();
    claims::index_orphans(&pods);
    let owners = sets.clone();
    let controller = Controller::new("replica_set", &rig.metrics)
        .workers(16)
        .each(&sets)
        .controlled(&pods, "ReplicaSet")
        .watch(&pods, move |change| {
            claims::would_adopt(change, &owners, |set, labels| {
                claims::selector(&selector_of(set)).is_some_and(|selector| selector.matches(labels))
            })
        });
    let events = rig.recorder("replicaset-controller");
    let (own, expectations) = (Expectations::default(), Expectations::default());
    controller.start(&rig.tasks, ReplicaSets { client: rig.client, sets, pods, own, expectations, events });
}

struct ReplicaSets {
    client: Client,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    /// Statuses written.
    own: Expectations,
    /// Pods made and deleted.
    expectations: Expectations,
    events: Recorder,
}

fn selector_of(set: &ReplicaSet) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
}

#[async_trait]
impl Reconcile for ReplicaSets {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(set) = self.sets.at(key) else {
            self.own.forget(key);
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        if !self.own.met(key, &self.sets) {
            return Ok(Next::Done);
        }
        let Some(selector) = claims::selector(&selector_of(&set)) else { return Ok(Next::Done) };
        let mut claims = claims::claims(&set.metadata, &selector, &self.pods);
        claims.adopt.retain(|pod| pods::is_active(pod));
        if !claims.settled() {
            claims.settle(&self.client, &controlled_by(set.as_ref())).await?;
            return Ok(Next::Done);
        }
        let Claims { owned, .. } = claims;
        // With writes of an earlier run still on their way to the cache, counting pods would count wrong.
        let plan = if self.expectations.met(key, &self.pods) && !is_deleting(&set.metadata) {
            plan::plan(&set, &owned, || self.related(&set), Timestamp::now())
        } else {
            Plan::Nothing
        };
        let failure = self.act(key, &set, &plan).await;
        self.publish(key, &set, &owned, failure.as_ref().map(|error| (&plan, error))).await?;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(self.next(&set, &owned)),
        }
    }
}

impl ReplicaSets {
    /// The active pods of all ReplicaSets that have the same controller as `set`.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let Some(controller) = controller_of(&set.metadata) else {
            return self.pods.owned_by(set.metadata.uid.as_deref().unwrap_or_default());
        };
        self.sets
            .owned_by(&controller.uid)
            .iter()
            .flat_map(|sibling| self.pods.owned_by(sibling.metadata.uid.as_deref().unwrap_or_default()))
            .collect()
    }

    /// A pod that is ready becomes available without any event.
    fn next(&self, set: &ReplicaSet, owned: &[Arc<Pod>]) -> Next {
        let (min_ready, now) = (status::min_ready_seconds(set), Timestamp::now());
        let soonest = owned
            .iter()
            .filter_map(|pod| match pods::availability(pod, min_ready, now) {
                pods::Availability::In(rest) => Some(rest),
                _ => None,
            })
            .min();
        soonest.map_or(Next::Done, |rest| Next::After(rest + Duration::from_millis(1)))
    }
}
