//! What a Deployment's status says.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::canary;
use super::conditions::{self, PROGRESSING, REPLICA_FAILURE};
use super::model::{self, Model};
use crate::owners::name;

/// The counts and whether enough pods are available.
pub(super) fn counts(model: &Model<'_>) -> DeploymentStatus {
    let sum = |of: fn(&k8s_openapi::api::apps::v1::ReplicaSet) -> i32| model.all().map(of).sum::<i32>();
    let nonzero = |count: i32| (count > 0).then_some(count);
    let terminating =
        model.all().map(|set| set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0));
    let available = sum(model::available);
    let mut status = DeploymentStatus {
        observed_generation: model.deployment.metadata.generation,
        replicas: nonzero(sum(model::existing)),
        updated_replicas: nonzero(model.new.as_ref().map_or(0, model::existing)),
        ready_replicas: nonzero(sum(model::ready)),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero(sum(model::replicas) - available),
        terminating_replicas: Some(terminating.sum()),
        collision_count: model.status.collision_count,
        conditions: model.status.conditions.clone(),
    };
    let condition = if available >= model.wanted() - model.max_unavailable() {
        let message = "Deployment has minimum availability.";
        conditions::new(conditions::AVAILABLE, "True", "MinimumReplicasAvailable", message, model.now)
    } else {
        let message = "Deployment does not have minimum availability.";
        conditions::new(conditions::AVAILABLE, "False", "MinimumReplicasUnavailable", message, model.now)
    };
    conditions::set(&mut status, condition);
    status
}

/// The counts and how the rollout goes.
pub(super) fn rollout(model: &Model<'_>) -> DeploymentStatus {
    let mut status = counts(model);
    if model.progress_deadline().is_none() {
        conditions::remove(&mut status, PROGRESSING);
    } else if !was_complete(model, &status) {
        note_progress(model, &mut status);
    }
    match replica_failure(model) {
        Some(failure) => conditions::set(&mut status, failure),
        None => conditions::remove(&mut status, REPLICA_FAILURE),
    }
    status
}

/// The counts while a canary is held at its step.
pub(super) fn held(model: &Model<'_>) -> DeploymentStatus {
    let mut status = counts(model);
    if model.progress_deadline().is_some() {
        let message = "Deployment holds a canary at its step";
        conditions::set(&mut status, conditions::new(PROGRESSING, "Unknown", canary::HELD, message, model.now));
    }
    status
}

/// A rollout that ended stays ended when pods come and go later.
fn was_complete(model: &Model<'_>, status: &DeploymentStatus) -> bool {
    status.replicas == status.updated_replicas
        && conditions::has_reason(&model.status, PROGRESSING, conditions::SET_AVAILABLE)
}

fn note_progress(model: &Model<'_>, status: &mut DeploymentStatus) {
    let what = match &model.new {
        Some(set) => format!("ReplicaSet {:?}", name(&set.metadata)),
        None => format!("Deployment {:?}", name(&model.deployment.metadata)),
    };
    if is_complete(model, status) {
        let message = format!("{what} has successfully progressed.");
        conditions::set(status, conditions::new(PROGRESSING, "True", conditions::SET_AVAILABLE, message, model.now));
    } else if has_progressed(&model.status, status) {
        let message = format!("{what} is progressing.");
        conditions::renew(status, conditions::new(PROGRESSING, "True", conditions::SET_UPDATED, message, model.now));
    } else if is_overdue(model, status) {
        let message = format!("{what} has timed out progressing.");
        conditions::set(status, conditions::new(PROGRESSING, "False", conditions::TIMED_OUT, message, model.now));
    }
}

/// Whether every replica is of the new template and available, and nothing old is left.
pub(super) fn is_complete(model: &Model<'_>, status: &DeploymentStatus) -> bool {
    let wanted = model.wanted();
    let is_wanted = |count: Option<i32>| count.unwrap_or(0) == wanted;
    is_wanted(status.updated_replicas)
        && is_wanted(status.replicas)
        && is_wanted(status.available_replicas)
        && status.observed_generation >= model.deployment.metadata.generation
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    now.updated_replicas > before.updated_replicas
        || old(now) < old(before)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

fn is_overdue(model: &Model<'_>, status: &DeploymentStatus) -> bool {
    conditions::has_reason(status, PROGRESSING, conditions::TIMED_OUT)
        || seconds_left(model, status).is_some_and(|seconds| seconds < 0)
}

/// Until the deadline, from the last progress; None when there is nothing to wait for.
fn seconds_left(model: &Model<'_>, status: &DeploymentStatus) -> Option<i64> {
    let condition = conditions::get(status, PROGRESSING)?;
    if condition.reason.as_deref() == Some(conditions::SET_AVAILABLE) {
        return None;
    }
    let since = condition.last_update_time.as_ref()?.0;
    Some(model.progress_deadline()? - model.now.duration_since(since).as_secs())
}

/// When to look whether the rollout is overdue, as no event will say so.
pub(super) fn overdue_in(model: &Model<'_>, status: &DeploymentStatus) -> Option<Duration> {
    let is_over = conditions::has_reason(status, PROGRESSING, conditions::TIMED_OUT)
        || conditions::has_reason(status, PROGRESSING, canary::HELD);
    if is_over || model.is_paused() || is_complete(model, status) {
        return None;
    }
    let seconds = seconds_left(model, status)?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0) + 1))
}

/// The new ReplicaSet's failure, or that of any other.
fn replica_failure(model: &Model<'_>) -> Option<DeploymentCondition> {
    let mut failures = model.new.iter().chain(&model.old).filter_map(|set| {
        set.status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .find(|condition| condition.type_ == REPLICA_FAILURE)
    });
    failures.next().map(|failure| DeploymentCondition {
        type_: failure.type_.clone(),
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        last_transition_time: failure.last_transition_time.clone(),
        last_update_time: failure.last_transition_time.clone(),
    })
}

/// A status for people who read tests.
pub(super) struct Sentence<'a>(pub &'a DeploymentStatus);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeploymentStatus { replicas, updated_replicas, ready_replicas, available_replicas, .. } = self.0;
        let counts = [replicas, updated_replicas, ready_replicas, available_replicas].map(|count| count.unwrap_or(0));
        let [replicas, updated, ready, available] = counts;
        writeln!(f, "status {replicas} replicas, {updated} updated, {ready} ready, {available} available")?;
        for condition in self.0.conditions.iter().flatten() {
            let reason = condition.reason.as_deref().unwrap_or_default();
            writeln!(f, "  {}={} {reason}", condition.type_, condition.status)?;
        }
        Ok(())
    }
}
