//! What a pod's state means to those who count pods.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use crate::owners::is_deleting;

pub(crate) mod failures;

/// The phase, empty when none was reported.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether all containers have ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it failed before any of its containers ran: its node would not have it.
pub(crate) fn was_refused(pod: &Pod) -> bool {
    let Some(status) = pod.status.as_ref().filter(|_| phase(pod) == "Failed") else { return false };
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.all(|container| container.state.as_ref().is_none_or(|state| state.terminated.is_none()))
}

/// Whether it counts as a replica: not finished and not being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_deleting(&pod.metadata)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")
}

/// Whether it may be sent requests.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Since when it is ready, when it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = ready_condition(pod).filter(|condition| condition.status == "True")?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// How a pod stands to `minReadySeconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// Not ready.
    No,
    /// Ready, and available in this long.
    In(Duration),
    /// Ready for long enough.
    Yes,
}

/// Whether the pod has been ready for `min_ready_seconds`.
pub(crate) fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    let Ok(min_ready_seconds @ 1..) = u64::try_from(min_ready_seconds) else { return Availability::Yes };
    let Some(since) = ready_since(pod) else { return Availability::No };
    // The time is to the second: waiting from its end on never counts too early.
    let been = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    match Duration::from_secs(min_ready_seconds).checked_sub(been) {
        Some(rest) if !rest.is_zero() => Availability::In(rest),
        _ => Availability::Yes,
    }
}
