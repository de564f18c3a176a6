//! What a Job's status says.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus, UncountedTerminatedPods};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::Conditions;
use super::indexes;
use super::plan::Plan;
use super::tally::Tally;

/// Puts the figures together.
pub(super) fn status(
    job: &Job,
    tally: &Tally,
    plan: &Plan,
    conditions: &Conditions,
    started: Option<Timestamp>,
    indexed: bool,
    now: Timestamp,
) -> JobStatus {
    let old = job.status.clone().unwrap_or_default();
    let gone = plan.remove.len();
    let over = conditions.has_ended();
    let per_index = job.spec.as_ref().is_some_and(|spec| spec.backoff_limit_per_index.is_some());
    let some = |uids: &Vec<String>| (!uids.is_empty()).then(|| uids.clone());
    // Who is asked to go is no longer counted, nor is its readiness.
    let active = if conditions.is_ending() { 0 } else { tally.active.len().saturating_sub(gone) };
    let ready = tally.ready.min(active);
    let completed = indexes::format(&tally.completed_indexes);
    JobStatus {
        active: count(active),
        ready: Some(i32::try_from(ready).unwrap_or(i32::MAX)),
        terminating: Some(if over { 0 } else { i32::try_from(tally.terminating).unwrap_or(i32::MAX) }),
        succeeded: count(tally.counted.succeeded as usize),
        failed: count(tally.counted.failed as usize),
        completed_indexes: Some(completed).filter(|text| indexed && !text.is_empty()),
        failed_indexes: Some(indexes::format(&tally.failed_indexes)).filter(|_| indexed && per_index),
        uncounted_terminated_pods: Some(UncountedTerminatedPods {
            succeeded: some(&tally.counted.uncounted_succeeded),
            failed: some(&tally.counted.uncounted_failed),
        }),
        start_time: started.map(Time),
        completion_time: old.completion_time.or_else(|| conditions.has_completed().then_some(Time(now))),
        conditions: Some(conditions.0.clone()).filter(|all| !all.is_empty()),
    }
}

/// Kubernetes leaves zeros out.
fn count(count: usize) -> Option<i32> {
    i32::try_from(count).ok().filter(|count| *count > 0)
}
