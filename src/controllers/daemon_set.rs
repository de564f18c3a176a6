//! Keeps one pod on each node that a DaemonSet wants.
//!
//! *Owns*: the pods and ControllerRevisions of DaemonSets, and their status.
//!
//! *Guarantees*: pods are bound by the scheduler, through a required affinity to their node; an update takes no more pods
//! away than `maxUnavailable` allows, or starts no more second ones than `maxSurge`; pods that fail again and again come back
//! later and later.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError, in_doubling_batches};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, PostParams};
use kube::core::SelectorExt;

use crate::history::{self, History, Kept};
use crate::owners::{controlled_by, is_deleting, name};
use crate::pod_control::PodControl;
use crate::pods::failures::Failures;
use crate::{Rig, claims, pods};

mod nodes;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use plan::Plan;

pub(crate) fn start(rig: Rig) {
    let sets = rig.informers.of::<DaemonSet>();
    let pods = rig.informers.of::<Pod>();
    let revisions = rig.informers.of::<ControllerRevision>();
    let nodes = rig.informers.of::<Node>();
    claims::index_orphans(&pods);
    claims::index_orphans(&revisions);
    let (owners, all) = (sets.clone(), sets.clone());
    let controller = Controller::new("daemon_set", &rig.metrics)
        .each(&sets)
        .controlled(&pods, "DaemonSet")
        .controlled(&revisions, "DaemonSet")
        .watch(&pods, move |change| {
            claims::would_adopt(change, &owners, |set, labels| {
                claims::selector(&selector_of(set)).is_some_and(|selector| selector.matches(labels))
            })
        })
        // Heartbeats change nothing that matters here.
        .watch(&nodes, move |change| {
            let same = match (&change.old, &change.new) {
                (Some(old), Some(new)) => nodes::is_same(old, new),
                _ => false,
            };
            if same { Vec::new() } else { all.keys() }
        });
    let control = PodControl::new(&rig, &pods, "daemonset-controller");
    let (own, failures) = (Expectations::default(), Failures::new(LONGEST_WAIT));
    let daemons = DaemonSets { client: rig.client, sets, pods, revisions, nodes, own, control, failures };
    controller.start(&rig.tasks, daemons);
}

struct DaemonSets {
    client: Client,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    revisions: Informer<ControllerRevision>,
    nodes: Informer<Node>,
    /// Statuses written.
    own: Expectations,
    control: PodControl,
    /// Of pods, by set and node.
    failures: Failures,
}

const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

fn selector_of(set: &DaemonSet) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
}

#[async_trait]
impl Reconcile for DaemonSets {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(set) = self.sets.at(key) else {
            self.own.forget(key);
            self.control.forget(key);
            self.failures.forget(key);
            return Ok(Next::Done);
        };
        if !self.own.met(key, &self.sets) || !self.control.settled(key) {
            return Ok(Next::Done);
        }
        let Some(selector) = claims::selector(&selector_of(&set)) else {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.control.events.warning(set.as_ref(), "SelectingAll", message);
            return Ok(Next::Done);
        };
        let claims = claims::claims(&set.metadata, &selector, &self.pods);
        if !claims.settled() {
            claims.settle(&self.client, &controlled_by(set.as_ref())).await?;
            return Ok(Next::Done);
        }
        let Some(spec) = set.spec.as_ref().filter(|_| !is_deleting(&set.metadata)) else { return Ok(Next::Done) };
        let wanted = history::Wanted {
            template: &spec.template,
            selector: &spec.selector,
            limit: usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or(0),
            collisions: set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0),
        };
        let limit = wanted.limit;
        let Kept::History(history) = history::keep(&self.client, set.as_ref(), wanted, &self.revisions).await? else {
            return Ok(Next::Done);
        };
        let now = Timestamp::now();
        let plan = plan::plan(&set, &self.nodes.list(), &claims.owned, history::hash_of(&history.update), now);
        let (failure, wait) = self.act(key, &set, &history, &plan).await;
        self.publish(key, &set, &claims.owned, &history).await?;
        history::truncate(&self.client, &history, limit, |revision| {
            claims.owned.iter().any(|pod| plan::hash(pod) == history::hash_of(revision))
        })
        .await?;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(next(&set, &claims.owned, wait, now)),
        }
    }
}

impl DaemonSets {
    /// Returns the first failure, and how long failed pods still stay.
    async fn act(
        &self,
        key: &Key,
        set: &DaemonSet,
        history: &History,
        plan: &Plan,
    ) -> (Option<kube::Error>, Option<Duration>) {
        let (due, wait) = self.due(key, &plan.failed);
        for pod in &due {
            let (own, node) = (name_of(pod), nodes::of_pod(pod));
            if has_failed(pod) {
                let message = format!("Found failed daemon pod {own} on node {node}, will try to kill it");
                self.control.events.warning(set, "FailedDaemonPod", message);
            } else {
                let message = format!("Found succeeded daemon pod {own} on node {node}, will try to delete it");
                self.control.events.normal(set, "SucceededDaemonPod", message);
            }
        }
        let mut failure = self.control.delete_all(key, set, &due).await;
        failure = self.control.delete_all(key, set, &plan.delete).await.or(failure);
        let create = |at: usize| async move {
            let Some(node) = plan.create.get(at) else { return Ok(()) };
            let pod = nodes::new_pod(set, history::hash_of(&history.update), node);
            self.control.create(key, set, Arc::new(pod)).await.map(drop)
        };
        failure = in_doubling_batches(plan.create.len(), create).await.1.or(failure);
        (failure, wait)
    }

    /// Which failed pods may go now, and how long it is until the next one may.
    fn due(&self, key: &Key, failed: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, Option<Duration>) {
        let now = Timestamp::now();
        let (mut due, mut wait) = (Vec::new(), None);
        for pod in failed {
            // Only failures are to come later and later.
            let may_go = if has_failed(pod) { self.failures.may_go(key, nodes::of_pod(pod), now) } else { Ok(()) };
            match may_go {
                Ok(()) => due.push(pod.clone()),
                Err(rest) => wait = wait.into_iter().chain(Some(rest)).min(),
            }
        }
        (due, wait)
    }

    async fn publish(
        &self,
        key: &Key,
        set: &DaemonSet,
        owned: &[Arc<Pod>],
        history: &History,
    ) -> Result<(), kube::Error> {
        let status = status::status(set, &self.nodes.list(), owned, history, Timestamp::now());
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<DaemonSet>::namespaced(self.client.clone(), &key.namespace);
        let wanted = DaemonSet { status: Some(status), ..set.clone() };
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Ok(written) => self.own.wrote(key, &written.metadata, &self.sets),
            Err(error) if client::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn has_failed(pod: &Pod) -> bool {
    pods::phase(pod) == "Failed"
}

fn name_of(pod: &Pod) -> String {
    format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), name(&pod.metadata))
}

/// A pod that is ready becomes available without any event, and failed ones come back after a while.
fn next(set: &DaemonSet, owned: &[Arc<Pod>], wait: Option<Duration>, now: Timestamp) -> Next {
    let min_ready = plan::min_ready_seconds(set);
    let rests = owned.iter().filter_map(|pod| match pods::availability(pod, min_ready, now) {
        pods::Availability::In(rest) => Some(rest),
        _ => None,
    });
    rests.chain(wait).min().map_or(Next::Done, |rest| Next::After(rest + Duration::from_millis(1)))
}
