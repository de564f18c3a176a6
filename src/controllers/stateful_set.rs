//! Keeps pods that have a number, a name and volumes of their own.
//!
//! *Owns*: the pods, the PersistentVolumeClaims and the ControllerRevisions of StatefulSets, and their status.
//!
//! *Guarantees*: never two pods of one ordinal; with `OrderedReady` one step at a time, in order; a rolling update goes from
//! the highest ordinal down to the partition and waits for each pod to be available.
//!
//! *Never*: deletes a claim that its retention policy keeps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::core::SelectorExt;

use crate::history::{self, Kept};
use crate::owners::{controlled_by, is_deleting, name};
use crate::pod_control::PodControl;
use crate::pods::failures::Failures;
use crate::{Rig, claims, pods};

mod act;
mod identity;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod volumes;

pub(crate) fn start(rig: Rig) {
    let sets = rig.informers.of::<StatefulSet>();
    let pods = rig.informers.of::<Pod>();
    let revisions = rig.informers.of::<ControllerRevision>();
    let volumes = rig.informers.of::<PersistentVolumeClaim>();
    claims::index_orphans(&pods);
    claims::index_orphans(&revisions);
    let owners = sets.clone();
    let controller = Controller::new("stateful_set", &rig.metrics)
        .each(&sets)
        .controlled(&pods, "StatefulSet")
        .controlled(&revisions, "StatefulSet")
        .watch(&pods, move |change| {
            claims::would_adopt(change, &owners, |set, labels| {
                claims::selector(&selector_of(set)).is_some_and(|selector| selector.matches(labels))
            })
        })
        // A claim that is going keeps its pod from being made.
        .watch(&volumes, {
            let sets = sets.clone();
            move |change| {
                let gone = change.new.is_none();
                let of = |set: &Arc<StatefulSet>| gone && volumes::is_of(set, &change.key.name);
                sets.in_namespace(&change.key.namespace)
                    .iter()
                    .filter(|set| of(set))
                    .map(|set| Key::of(set.as_ref()))
                    .collect()
            }
        });
    let control = PodControl::new(&rig, &pods, "statefulset-controller").of_stateful_sets();
    let (own, failures) = (Expectations::default(), Failures::new(LONGEST_WAIT));
    let sets = StatefulSets { client: rig.client, sets, pods, revisions, volumes, own, control, failures };
    controller.start(&rig.tasks, sets);
}

struct StatefulSets {
    client: Client,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    revisions: Informer<ControllerRevision>,
    volumes: Informer<PersistentVolumeClaim>,
    /// Statuses written.
    own: Expectations,
    control: PodControl,
    /// Of pods, by set and name.
    failures: Failures,
}

/// A pod that fails again and again is made anew that often at least.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

fn selector_of(set: &StatefulSet) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
}

#[async_trait]
impl Reconcile for StatefulSets {
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
        let Some(selector) = claims::selector(&selector_of(&set)) else { return Ok(Next::Done) };
        let mut claims = claims::claims(&set.metadata, &selector, &self.pods);
        // Names are what makes a pod one of this set.
        claims.adopt.retain(|pod| identity::ordinal(&set, name(&pod.metadata)).is_some());
        if !claims.settled() {
            claims.settle(&self.client, &controlled_by(set.as_ref())).await?;
            return Ok(Next::Done);
        }
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        if is_deleting(&set.metadata) {
            return Ok(Next::Done);
        }
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
        let current = status::current_revision(&set, &history);
        let plan = plan::plan(&set, &claims.owned, (&current, name(&history.update.metadata)), now);
        let acted = self.act(key, &set, &history, &plan).await;
        self.publish(key, &set, &claims.owned, &history, &current).await?;
        history::truncate(&self.client, &history, limit, |revision| {
            let own = name(&revision.metadata);
            own == current || claims.owned.iter().any(|pod| identity::revision(pod) == own)
        })
        .await?;
        Ok(next(&set, &claims.owned, acted?, now))
    }
}

/// A pod that is ready becomes available without any event, and failed ones come back after a while.
fn next(set: &StatefulSet, owned: &[Arc<Pod>], wait: Option<Duration>, now: Timestamp) -> Next {
    let min_ready = status::min_ready_seconds(set);
    let rests = owned.iter().filter_map(|pod| match pods::availability(pod, min_ready, now) {
        pods::Availability::In(rest) => Some(rest),
        _ => None,
    });
    rests.chain(wait).min().map_or(Next::Done, |rest| Next::After(rest + Duration::from_millis(1)))
}
