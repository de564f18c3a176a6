//! What a Job needs next. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::conditions::Conditions;
use super::indexes::Indexes;
use super::tally::{Reading, Tally, not_before};
use super::{index_of, is_tracked, policy, status};
use crate::owners::is_deleting;
use crate::pods;

/// At most this many pods are made or taken away by one run.
const BURST: usize = 500;

/// What one run does.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The status as it is to be; nothing where it stays.
    pub status: Option<JobStatus>,
    /// Finalizers to take away.
    pub untrack: Vec<Arc<Pod>>,
    /// Pods to make, each with its index if the Job has indexes.
    pub create: Vec<Option<u32>>,
    /// Pods that are too many: they go as if they had never been.
    pub remove: Vec<Arc<Pod>>,
    /// Pods that go because the Job has ended; they count as failed.
    pub end: Vec<Arc<Pod>>,
    /// When to look again, whatever happens.
    pub again: Option<Duration>,
    /// What people are told: whether it is bad news, reason, message.
    pub news: Vec<(bool, &'static str, String)>,
}

/// The figures of a Job's spec, with their defaults.
struct Wanted {
    parallelism: u32,
    completions: Option<u32>,
    indexed: bool,
    suspended: bool,
    waits_for_end: bool,
    backoff_limit: u32,
}

impl Wanted {
    fn of(job: &Job) -> Self {
        let spec = job.spec.clone().unwrap_or_default();
        let number = |value: Option<i32>, usual: u32| value.map_or(usual, |value| u32::try_from(value).unwrap_or(0));
        let waits = match spec.pod_replacement_policy.as_deref() {
            Some(policy) => policy == "Failed",
            None => spec.pod_failure_policy.is_some(),
        };
        Self {
            parallelism: number(spec.parallelism, 1),
            completions: spec.completions.map(|value| u32::try_from(value).unwrap_or(0)),
            indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            suspended: spec.suspend.unwrap_or(false),
            waits_for_end: waits,
            backoff_limit: number(spec.backoff_limit, 6),
        }
    }
}

/// Plans for `job`, which has these pods, finished ones too.
pub(super) fn plan(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let mut seen = Conditions::of(job);
    let wanted = Wanted::of(job);
    if seen.has_ended() || is_deleting(&job.metadata) {
        let held = pods.iter().filter(|pod| is_tracked(pod));
        return Plan { untrack: held.cloned().collect(), ..Plan::default() };
    }
    let completions = if wanted.indexed { wanted.completions.unwrap_or(0) } else { 0 };
    let mut reading = Reading {
        job,
        completions,
        indexed: wanted.indexed,
        waits_for_end: wanted.waits_for_end,
        ending: seen.is_ending(),
        failing: seen.is_failing(),
    };
    let mut tally = reading.tally(pods);
    if !seen.is_ending()
        && let Some((failed, reason, message)) = outcome(job, &wanted, &tally, now)
    {
        seen.begin_end(failed, reason, message, now);
        if failed {
            (reading.ending, reading.failing) = (true, true);
            tally = reading.tally(pods);
        }
    }
    let mut plan = Plan { untrack: tally.untrack.clone(), ..Plan::default() };
    let mut started = job.status.as_ref().and_then(|status| status.start_time.clone()).map(|time| time.0);
    if seen.is_ending() {
        plan.end = tally.active.clone();
        // Only what nobody runs any more, and what is counted, is over.
        if tally.active.is_empty() && tally.terminating == 0 && !tally.open {
            let (failed, reason, message) = seen.end(now);
            plan.news.push((failed, reason, message));
        }
    } else if wanted.suspended {
        plan.remove = tally.active.iter().take(BURST).cloned().collect();
        if seen.suspend(now) {
            plan.news.push((false, "Suspended", "Job suspended".to_owned()));
        }
        started = None;
    } else {
        if seen.resume(now) {
            plan.news.push((false, "Resumed", "Job resumed".to_owned()));
            started = Some(now);
        }
        started = started.or(Some(now));
        staff(job, &wanted, pods, &tally, now, &mut plan);
        plan.again = sooner(plan.again, deadline(job, started).map(|until| until_then(until, now)));
    }
    let new = status::status(job, &tally, &plan, &seen, started, wanted.indexed, now);
    plan.status = (job.status.as_ref() != Some(&new)).then_some(new);
    plan
}

/// Whether the Job has ended, and how: whether it failed, reason, message.
fn outcome(job: &Job, wanted: &Wanted, tally: &Tally, now: Timestamp) -> Option<(bool, &'static str, String)> {
    let spec = job.spec.as_ref()?;
    if let Some(why) = &tally.policy_failure {
        return Some((true, "PodFailurePolicy", why.clone()));
    }
    let started = job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    let per_index = wanted.indexed && spec.backoff_limit_per_index.is_some();
    if tally.failed > wanted.backoff_limit && !(per_index && spec.backoff_limit.is_none())
        || restarts_spent(job, wanted, tally)
    {
        return Some((true, "BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
    }
    if !wanted.suspended && deadline(job, started).is_some_and(|until| until <= now) {
        return Some((true, "DeadlineExceeded", "Job was active longer than specified deadline".to_owned()));
    }
    let completions = wanted.completions.unwrap_or(0);
    if wanted.indexed {
        let failed = u32::try_from(tally.failed_indexes.len()).unwrap_or(u32::MAX);
        let most = spec.max_failed_indexes.and_then(|most| u32::try_from(most).ok());
        if most.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some((true, "MaxFailedIndexesExceeded", message.to_owned()));
        }
        if failed > 0 && failed + tally.succeeded >= completions {
            return Some((true, "FailedIndexes", "Job has failed indexes".to_owned()));
        }
        if let Some(message) = policy::is_success(job, &tally.completed_indexes, completions) {
            return Some((false, "SuccessPolicy", message));
        }
    }
    let reached = match wanted.completions {
        Some(completions) => tally.succeeded >= completions && !wanted.suspended,
        // A work queue is empty when one of its workers says so and the others are done.
        None => tally.succeeded > 0 && tally.active.is_empty() && tally.terminating == 0,
    };
    reached.then(|| (false, "CompletionsReached", "Reached expected number of succeeded pods".to_owned()))
}

/// Containers that are started again in their pod count as failures where the pod says so.
fn restarts_spent(job: &Job, wanted: &Wanted, tally: &Tally) -> bool {
    let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let restarts = |pod: &Arc<Pod>| -> i32 {
        let statuses = pod.status.iter().flat_map(|status| {
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
        });
        statuses.map(|status| status.restart_count).sum()
    };
    let sum: i32 = tally.active.iter().map(restarts).sum();
    let sum = u32::try_from(sum).unwrap_or(0);
    if wanted.backoff_limit == 0 { sum > 0 } else { sum >= wanted.backoff_limit }
}

fn deadline(job: &Job, started: Option<Timestamp>) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.active_deadline_seconds?;
    started?.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn until_then(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default() + Duration::from_millis(1)
}

fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Brings the number of pods to what it should be.
fn staff(job: &Job, wanted: &Wanted, pods: &[Arc<Pod>], tally: &Tally, now: Timestamp, plan: &mut Plan) {
    let active = tally.active.len();
    let working = if wanted.waits_for_end { active + tally.terminating } else { active };
    let left = match wanted.completions {
        Some(completions) => {
            completions.saturating_sub(tally.succeeded).saturating_sub(tally.failed_indexes.len() as u32) as usize
        }
        // One that succeeded means that no more is to be begun.
        None if tally.succeeded > 0 => active,
        None => usize::MAX,
    };
    let target = (wanted.parallelism as usize).min(left);
    if wanted.indexed {
        let (surplus, taken) = sort_by_index(tally, wanted.completions.unwrap_or(0), target);
        if !surplus.is_empty() {
            plan.remove = surplus;
            return;
        }
        create_indexes(job, pods, tally, (wanted, target.saturating_sub(working), &taken), now, plan);
        return;
    }
    if active > target {
        let mut all = tally.active.clone();
        // What has come least far goes first.
        all.sort_by_key(|pod| (pods::is_ready(pod), std::cmp::Reverse(pod.metadata.creation_timestamp.clone())));
        plan.remove = all.into_iter().take((active - target).min(BURST)).collect();
        return;
    }
    let missing = target.saturating_sub(working).min(BURST);
    if missing == 0 {
        return;
    }
    match not_before(pods, None, now) {
        Some(until) => plan.again = Some(until_then(until, now)),
        None => plan.create = vec![None; missing],
    }
}

/// Active pods that stand in each other's way or have no index of the Job, and the indexes that are at work.
fn sort_by_index(tally: &Tally, completions: u32, target: usize) -> (Vec<Arc<Pod>>, BTreeSet<u32>) {
    let (mut surplus, mut taken) = (Vec::new(), BTreeSet::new());
    let mut kept = Vec::new();
    for pod in &tally.active {
        let index = index_of(pod).filter(|index| *index < completions && !tally.completed_indexes.contains(index));
        match index {
            Some(index) if taken.insert(index) => kept.push((index, pod)),
            _ => surplus.push(Arc::clone(pod)),
        }
    }
    kept.sort_by_key(|(index, _)| *index);
    for (index, pod) in kept.into_iter().skip(target) {
        taken.remove(&index);
        surplus.push(Arc::clone(pod));
    }
    surplus.truncate(BURST);
    (surplus, taken)
}

fn create_indexes(
    job: &Job,
    pods: &[Arc<Pod>],
    tally: &Tally,
    (wanted, missing, taken): (&Wanted, usize, &Indexes),
    now: Timestamp,
    plan: &mut Plan,
) {
    let per_index = job.spec.as_ref().is_some_and(|spec| spec.backoff_limit_per_index.is_some());
    if missing == 0 {
        return;
    }
    if !per_index && let Some(until) = not_before(pods, None, now) {
        plan.again = Some(until_then(until, now));
        return;
    }
    // A pod that is going still has its index, where its end is waited for.
    let going: BTreeSet<u32> = pods
        .iter()
        .filter(|pod| wanted.waits_for_end && is_deleting(&pod.metadata) && !pods::is_finished(pod))
        .filter_map(|pod| index_of(pod))
        .collect();
    let free = (0..wanted.completions.unwrap_or(0)).filter(|index| {
        let done = tally.completed_indexes.contains(index) || tally.failed_indexes.contains(index);
        !done && !taken.contains(index) && !going.contains(index)
    });
    for index in free {
        if plan.create.len() == missing.min(BURST) {
            break;
        }
        match Some(index).filter(|_| per_index).and_then(|index| not_before(pods, Some(index), now)) {
            Some(until) => plan.again = sooner(plan.again, Some(until_then(until, now))),
            None => plan.create.push(Some(index)),
        }
    }
}
