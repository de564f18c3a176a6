//! Keeps as many pods of a template as a ReplicaSet or a ReplicationController asks for.
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
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::core::SelectorExt;

use crate::claims::{self, Claims};
use crate::owners::{controlled_by, controller_of, is_deleting};
use crate::pod_control::PodControl;
use crate::{Rig, pods};

mod act;
mod owner;
mod patience;
mod plan;
mod ranking;
mod status;
#[cfg(test)]
mod tests;

use owner::ReplicaOwner;
use plan::Plan;

pub(crate) fn start(rig: Rig) {
    start_for::<ReplicaSet>(rig);
}

pub(crate) fn start_replication(rig: Rig) {
    start_for::<ReplicationController>(rig);
}

fn start_for<O: ReplicaOwner>(rig: Rig) {
    let sets = rig.informers.of::<O>();
    let pods = rig.informers.of::<Pod>();
    claims::index_orphans(&pods);
    let owners = sets.clone();
    let controller = Controller::new(O::CONTROLLER, &rig.metrics)
        .workers(16)
        .each(&sets)
        .controlled(&pods, O::KIND)
        .watch(&pods, move |change| {
            claims::would_adopt(change, &owners, |set, labels| {
                claims::selector(&set.selector()).is_some_and(|selector| selector.matches(labels))
            })
        });
    let control = PodControl::new(&rig, &pods, O::COMPONENT);
    let own = Expectations::default();
    controller.start(&rig.tasks, ReplicaSets { client: rig.client, sets, pods, own, control });
}

struct ReplicaSets<O> {
    client: Client,
    sets: Informer<O>,
    pods: Informer<Pod>,
    /// Statuses written.
    own: Expectations,
    control: PodControl,
}

#[async_trait]
impl<O: ReplicaOwner> Reconcile for ReplicaSets<O> {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(set) = self.sets.at(key) else {
            self.own.forget(key);
            self.control.forget(key);
            return Ok(Next::Done);
        };
        if !self.own.met(key, &self.sets) {
            return Ok(Next::Done);
        }
        let Some(selector) = claims::selector(&set.selector()) else { return Ok(Next::Done) };
        let mut claims = claims::claims(set.envelope(), &selector, &self.pods);
        claims.adopt.retain(|pod| pods::is_active(pod));
        if !claims.settled() {
            claims.settle(&self.client, &controlled_by(set.as_ref())).await?;
            return Ok(Next::Done);
        }
        let Claims { owned, .. } = claims;
        // With writes of an earlier run still on their way to the cache, counting pods would count wrong.
        let plan = if self.control.settled(key) && !is_deleting(set.envelope()) {
            plan::plan(set.as_ref(), &owned, || self.related(&set), Timestamp::now())
        } else {
            Plan::Nothing
        };
        let failure = self.act(key, &set, &plan).await;
        self.publish(key, &set, &owned, failure.as_ref().map(|error| (&plan, error))).await?;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(self.next(&set, &owned, &plan)),
        }
    }
}

impl<O: ReplicaOwner> ReplicaSets<O> {
    /// The active pods of all ReplicaSets that have the same controller as `set`.
    fn related(&self, set: &O) -> Vec<Arc<Pod>> {
        let Some(controller) = controller_of(set.envelope()) else {
            return self.pods.owned_by(set.envelope().uid.as_deref().unwrap_or_default());
        };
        self.sets
            .owned_by(&controller.uid)
            .iter()
            .flat_map(|sibling| self.pods.owned_by(sibling.envelope().uid.as_deref().unwrap_or_default()))
            .collect()
    }

    /// A pod that is ready becomes available without any event, and what was put off becomes due.
    fn next(&self, set: &O, owned: &[Arc<Pod>], plan: &Plan) -> Next {
        let (min_ready, now) = (set.min_ready_seconds(), Timestamp::now());
        let put_off = if let Plan::Wait(rest) = plan { Some(*rest) } else { None };
        let unavailable = owned.iter().filter(|_| min_ready != 0);
        let rests = unavailable.filter_map(|pod| match pods::availability(pod, min_ready, now) {
            pods::Availability::In(rest) => Some(rest),
            _ => None,
        });
        rests.chain(put_off).min().map_or(Next::Done, |rest| Next::After(rest + Duration::from_millis(1)))
    }
}
