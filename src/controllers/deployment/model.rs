//! A Deployment and its ReplicaSets while a plan is made: the plan changes the model, and the difference between the
//! model and what was seen is what is written.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::template;
use crate::owners::name;

/// What the steps of a plan work on.
pub(super) struct Model<'a> {
    pub deployment: &'a Deployment,
    /// The ReplicaSet with the Deployment's template, when it is there or planned.
    pub new: Option<ReplicaSet>,
    /// All others, the oldest first.
    pub old: Vec<ReplicaSet>,
    /// The status as it was, with the conditions that the plan set.
    pub status: DeploymentStatus,
    pub now: Timestamp,
}

impl<'a> Model<'a> {
    pub(super) fn new(deployment: &'a Deployment, sets: &[Arc<ReplicaSet>], now: Timestamp) -> Self {
        let mut sets: Vec<ReplicaSet> = sets.iter().map(|set| set.as_ref().clone()).collect();
        sets.sort_by(|one, other| age(one).cmp(&age(other)));
        // Where several have the template, the oldest is the new one: any rule that always picks the same will do.
        let found = sets.iter().position(|set| template::is_of(set, deployment));
        let new = found.map(|index| sets.remove(index));
        let status = deployment.status.clone().unwrap_or_default();
        Self { deployment, new, old: sets, status, now }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(self.new.iter())
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut ReplicaSet> {
        self.old.iter_mut().chain(self.new.iter_mut())
    }

    /// `spec.replicas`.
    pub(super) fn wanted(&self) -> i32 {
        wanted(self.deployment)
    }

    /// How many pods may exist beyond `spec.replicas`.
    pub(super) fn max_surge(&self) -> i32 {
        if self.is_rolling() { fenceposts(self.deployment).0 } else { 0 }
    }

    /// How many pods may be unavailable.
    pub(super) fn max_unavailable(&self) -> i32 {
        if self.is_rolling() && self.wanted() > 0 { fenceposts(self.deployment).1.min(self.wanted()) } else { 0 }
    }

    pub(super) fn is_rolling(&self) -> bool {
        let strategy = self.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
    }

    pub(super) fn is_paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
    }

    /// `spec.progressDeadlineSeconds`, unless it is absent or so large that it means never.
    pub(super) fn progress_deadline(&self) -> Option<i64> {
        let seconds = self.deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds)?;
        (seconds != i32::MAX).then(|| seconds.into())
    }
}

pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// A key to sort by age with; names break ties.
pub(super) fn age(set: &ReplicaSet) -> (Option<Timestamp>, &str) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), name(&set.metadata))
}

pub(super) fn newest_first(set: &ReplicaSet) -> Reverse<(Option<Timestamp>, &str)> {
    Reverse(age(set))
}

/// `maxSurge` (rounded up) and `maxUnavailable` (rounded down) in pods. When both come to nothing one pod may be
/// unavailable, since nothing could ever move otherwise.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let wanted = wanted(deployment);
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
    match (resolve(surge, wanted, Round::Up), resolve(unavailable, wanted, Round::Down)) {
        (0, 0) => (0, 1),
        fenceposts => fenceposts,
    }
}

#[derive(PartialEq)]
enum Round {
    Up,
    Down,
}

fn resolve(value: &IntOrString, of: i32, round: Round) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent.max(0) * i64::from(of);
            let whole = hundredths / 100 + i64::from(round == Round::Up && hundredths % 100 != 0);
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// A ReplicaSet's wanted pods.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Wants another number of pods of a ReplicaSet.
pub(super) fn resize(set: &mut ReplicaSet, replicas: i32) {
    if let Some(spec) = &mut set.spec {
        spec.replicas = Some(replicas.max(0));
    }
}

/// A ReplicaSet's pods that exist.
pub(super) fn existing(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// A ReplicaSet's pods that are ready.
pub(super) fn ready(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

/// A ReplicaSet's pods that are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}
