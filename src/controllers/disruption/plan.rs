//! How many pods may go. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::owners::is_deleting;
use crate::pods::is_ready;

/// A pod that was evicted and is still there after this long will not go any more.
const GONE_WITHIN: SignedDuration = SignedDuration::from_mins(2);
const CONDITION: &str = "DisruptionAllowed";

/// How many pods somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub uid: String,
    pub replicas: i32,
}

/// Why it is not known how many pods there should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure(pub String);

/// How many pods there should be, and how many of them have to be healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub pods: i32,
    pub healthy: i32,
}

fn spec_of(budget: &PodDisruptionBudget) -> PodDisruptionBudgetSpec {
    budget.spec.clone().unwrap_or_default()
}

/// Whether the budget speaks of a share of what somebody wants.
pub(super) fn needs_scales(budget: &PodDisruptionBudget) -> bool {
    let spec = spec_of(budget);
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// A number, or a share of `of`, rounded up.
fn scaled(value: &IntOrString, of: i32) -> Result<i32, Failure> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(text) => {
            let share: Option<i64> = text.strip_suffix('%').and_then(|number| number.parse().ok());
            let share = share.ok_or_else(|| {
                Failure(format!("invalid value for IntOrString: invalid type: string is not a percentage: {text:?}"))
            })?;
            let part = (i64::from(of).saturating_mul(share) + 99).div_euclid(100);
            Ok(i32::try_from(part).unwrap_or(i32::MAX))
        }
    }
}

pub(super) fn expected(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], scales: &[Scale]) -> Result<Expected, Failure> {
    let spec = spec_of(budget);
    let wanted = scales.iter().map(|scale| scale.replicas).fold(0, i32::saturating_add);
    if let Some(most) = &spec.max_unavailable {
        let healthy = wanted.saturating_sub(scaled(most, wanted)?).max(0);
        return Ok(Expected { pods: wanted, healthy });
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => {
            Ok(Expected { pods: i32::try_from(pods.len()).unwrap_or(i32::MAX), healthy: *least })
        }
        Some(share) => Ok(Expected { pods: wanted, healthy: scaled(share, wanted)? }),
        None => Ok(Expected { pods: 0, healthy: 0 }),
    }
}

/// The status, and when to look again.
pub(super) fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    expected: Expected,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let (going, next) = going(budget, pods, now);
    let is_healthy = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !is_deleting(&pod.metadata) && !going.contains_key(name) && is_ready(pod)
    };
    let healthy = i32::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let allowed = if expected.pods > 0 { healthy.saturating_sub(expected.healthy).max(0) } else { 0 };
    let (truth, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let generation = budget.metadata.generation;
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(budget, condition(truth, reason, "", generation), now)),
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        disrupted_pods: (!going.is_empty()).then_some(going),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected.pods),
        observed_generation: generation,
    };
    (status, next)
}

/// The status when it is not known how many pods there should be: nobody may go.
pub(super) fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    let told = condition("False", "SyncFailed", why, status.observed_generation);
    status.conditions = Some(conditions(budget, told, now));
    status
}

/// Evicted pods that are still there, and when the first of them will no longer count as going.
fn going(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let told = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let (mut going, mut next) = (BTreeMap::new(), None::<Duration>);
    for pod in pods.iter().filter(|pod| !is_deleting(&pod.metadata)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(since) = told.and_then(|told| told.get(&name)) else { continue };
        let left = since.0.checked_add(GONE_WITHIN).ok().map(|end| end.duration_since(now));
        let Some(left) = left.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero()) else {
            continue;
        };
        next = Some(next.map_or(left, |next| next.min(left)));
        going.insert(name, since.clone());
    }
    (going, next)
}

fn condition(status: &str, reason: &str, message: &str, generation: Option<i64>) -> Condition {
    Condition {
        type_: CONDITION.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// The conditions with `told` in its place; the time stays while the truth does.
fn conditions(budget: &PodDisruptionBudget, mut told: Condition, now: Timestamp) -> Vec<Condition> {
    let held = budget.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let since = held.iter().find(|held| held.type_ == CONDITION && held.status == told.status);
    told.last_transition_time = since.map_or_else(
        || Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        |held| held.last_transition_time.clone(),
    );
    let mut all: Vec<Condition> = held;
    match all.iter_mut().find(|held| held.type_ == CONDITION) {
        Some(place) => *place = told,
        None => all.push(told),
    }
    all
}
