//! Which pods have ended, which of them are counted, and how often each thing has failed.
//!
//! A pod carries a finalizer until it is counted, so that none is lost and none is counted twice: its UID is written into
//! `status.uncountedTerminatedPods`, then the finalizer is taken away, then the UID becomes one more in a counter. Each
//! step is seen in the cache before the next one is planned (KEP-2307).

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::indexes::{self, Indexes};
use super::policy::{self, Verdict};
use super::{INDEX, index_of, is_tracked};
use crate::owners::is_deleting;
use crate::pods;

/// Pods that are put among the uncounted by one run.
const UNCOUNTED: usize = 500;
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What the pods and the status say together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Running or about to, and not being deleted.
    pub active: Vec<Arc<Pod>>,
    /// Being deleted and not ended yet.
    pub terminating: usize,
    pub ready: usize,
    /// Succeeded pods, counted or not.
    pub succeeded: u32,
    /// Failed pods, counted or not.
    pub failed: u32,
    pub completed_indexes: Indexes,
    pub failed_indexes: Indexes,
    /// Finalizers to take away now.
    pub untrack: Vec<Arc<Pod>>,
    /// Whether pods that have ended are still to be counted.
    pub open: bool,
    /// Why the policy ends the Job.
    pub policy_failure: Option<String>,
    /// The counters and the uncounted as they are to be written.
    pub counted: Counted,
}

/// The part of the status that counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub succeeded: u32,
    pub failed: u32,
    pub uncounted_succeeded: Vec<String>,
    pub uncounted_failed: Vec<String>,
}

/// How a Job reads its pods.
pub(super) struct Reading<'a> {
    pub job: &'a Job,
    /// 0 where the Job has no indexes.
    pub completions: u32,
    pub indexed: bool,
    /// Whether pods that are being deleted count as failed only once they have ended.
    pub waits_for_end: bool,
    /// Whether whatever has not succeeded counts as failed, since the Job has ended.
    pub ending: bool,
    /// Whether that is so because it failed: who is sent away then has failed, even if it ends without complaint.
    pub failing: bool,
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

impl Reading<'_> {
    fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    /// Counts everything.
    pub fn tally(&self, pods: &[Arc<Pod>]) -> Tally {
        let status = self.status();
        let count = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let mut tally = Tally {
            completed_indexes: indexes::parse(
                status.completed_indexes.as_deref().unwrap_or_default(),
                self.completions,
            ),
            failed_indexes: indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), self.completions),
            ..Tally::default()
        };
        let tracked: HashMap<&str, &Arc<Pod>> =
            pods.iter().filter(|pod| is_tracked(pod)).map(|pod| (uid(pod), pod)).collect();
        let mut settle = |uids: Vec<String>, counter: u32| {
            let (waiting, done): (Vec<String>, Vec<String>) =
                uids.into_iter().partition(|uid| tracked.contains_key(uid.as_str()));
            tally.untrack.extend(waiting.iter().filter_map(|uid| tracked.get(uid.as_str()).map(|pod| Arc::clone(pod))));
            (waiting, counter + u32::try_from(done.len()).unwrap_or(u32::MAX))
        };
        let (succeeded, total_succeeded) = settle(uncounted.succeeded.unwrap_or_default(), count(status.succeeded));
        let (failed, total_failed) = settle(uncounted.failed.unwrap_or_default(), count(status.failed));
        tally.counted = Counted {
            // With indexes it is the indexes that count, however many pods succeeded.
            succeeded: total_succeeded,
            failed: total_failed,
            uncounted_succeeded: succeeded,
            uncounted_failed: failed,
        };
        for pod in pods {
            self.look_at(pod, &mut tally);
        }
        let waiting = tally.counted.uncounted_succeeded.len() + tally.counted.uncounted_failed.len();
        tally.open |= waiting > 0;
        tally.succeeded = tally.counted.succeeded + tally.counted.uncounted_succeeded.len() as u32;
        tally.failed = tally.counted.failed + tally.counted.uncounted_failed.len() as u32;
        if self.indexed {
            tally.succeeded = u32::try_from(tally.completed_indexes.len()).unwrap_or(u32::MAX);
            tally.counted.succeeded = tally.succeeded;
        }
        tally
    }

    fn look_at(&self, pod: &Arc<Pod>, tally: &mut Tally) {
        let deleting = is_deleting(&pod.metadata);
        let ended = pods::is_finished(pod);
        if !ended {
            if deleting {
                tally.terminating += 1;
            } else {
                tally.active.push(Arc::clone(pod));
                tally.ready += usize::from(pods::is_ready(pod));
            }
        }
        if !is_tracked(pod) {
            return;
        }
        let known = |uids: &[String]| uids.iter().any(|known| known == uid(pod));
        if known(&tally.counted.uncounted_succeeded) || known(&tally.counted.uncounted_failed) {
            return;
        }
        let room = tally.counted.uncounted_succeeded.len() + tally.counted.uncounted_failed.len() < UNCOUNTED;
        if pods::phase(pod) == "Succeeded" {
            tally.open = true;
            self.succeeded(pod, room, tally);
        } else if pods::phase(pod) == "Failed"
            || (deleting && (!self.waits_for_end || self.ending))
            || (self.failing && !self.waits_for_end)
        {
            tally.open = true;
            self.failed(pod, room, tally);
        } else if deleting || self.ending {
            tally.open = true;
        }
    }

    fn succeeded(&self, pod: &Arc<Pod>, room: bool, tally: &mut Tally) {
        if self.indexed {
            match index_of(pod).filter(|index| *index < self.completions) {
                Some(index) => {
                    tally.completed_indexes.insert(index);
                }
                // It belongs to no index of this Job.
                None => return tally.untrack.push(Arc::clone(pod)),
            }
        }
        if room {
            tally.counted.uncounted_succeeded.push(uid(pod).to_owned());
        }
    }

    fn failed(&self, pod: &Arc<Pod>, room: bool, tally: &mut Tally) {
        let verdict = if pods::phase(pod) == "Failed" { policy::verdict(self.job, pod) } else { Verdict::Count };
        let per_index = self.job.spec.as_ref().and_then(|spec| spec.backoff_limit_per_index);
        match &verdict {
            Verdict::FailJob(why) => tally.policy_failure = Some(why.clone()),
            // The failure is remembered in the pod that comes after.
            Verdict::Ignore => return tally.untrack.push(Arc::clone(pod)),
            Verdict::Count | Verdict::FailIndex => {}
        }
        // Who is only sent away with its Job says nothing about its index.
        let by_itself = pods::is_finished(pod) || is_deleting(&pod.metadata);
        if let (Some(limit), Some(index)) = (per_index.filter(|_| by_itself), index_of(pod)) {
            let spent = failures(pod) >= u32::try_from(limit).unwrap_or(0);
            if (verdict == Verdict::FailIndex || spent) && !tally.completed_indexes.contains(&index) {
                tally.failed_indexes.insert(index);
            }
        }
        if room {
            tally.counted.uncounted_failed.push(uid(pod).to_owned());
        }
    }
}

fn annotation(pod: &Pod, name: &str) -> Option<u32> {
    pod.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}

/// How often the index of a pod had failed before it.
fn failures(pod: &Pod) -> u32 {
    annotation(pod, FAILURES).unwrap_or(0)
}

/// What the next pod of an index says of those before it.
pub(super) fn next_annotations(job: &Job, pods: &[Arc<Pod>], index: u32) -> Vec<(&'static str, String)> {
    let mut all = vec![(INDEX, index.to_string())];
    if job.spec.as_ref().is_none_or(|spec| spec.backoff_limit_per_index.is_none()) {
        return all;
    }
    let before = last_failed(pods, Some(index));
    let ignored = before.is_some_and(|pod| policy::verdict(job, pod) == Verdict::Ignore);
    let counted = before.map_or(0, |pod| failures(pod) + u32::from(!ignored));
    all.push((FAILURES, counted.to_string()));
    let ignored_before = before.and_then(|pod| annotation(pod, IGNORED_FAILURES)).unwrap_or(0) + u32::from(ignored);
    if ignored_before > 0 {
        all.push((IGNORED_FAILURES, ignored_before.to_string()));
    }
    all
}

fn last_failed(pods: &[Arc<Pod>], index: Option<u32>) -> Option<&Arc<Pod>> {
    let failed = pods.iter().filter(|pod| pods::phase(pod) == "Failed" && (index.is_none() || index_of(pod) == index));
    failed.max_by_key(|pod| ended_at(pod))
}

/// When a pod's last container ended.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ends = statuses.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let last = ends.map(|time| time.0).max();
    last.or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
}

const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// When the next pod may be made after failures in a row, of one index or of all: ten seconds after the first, twice as
/// long after each further one.
pub(super) fn not_before(pods: &[Arc<Pod>], index: Option<u32>, now: Timestamp) -> Option<Timestamp> {
    let own = || pods.iter().filter(|pod| index.is_none() || index_of(pod) == index);
    let end = |pod: &Arc<Pod>| ended_at(pod).unwrap_or(now);
    let last_success = own().filter(|pod| pods::phase(pod) == "Succeeded").map(end).max();
    let failures = own().filter(|pod| pods::phase(pod) == "Failed").map(end);
    let since: Vec<Timestamp> = failures.filter(|at| last_success.is_none_or(|success| *at > success)).collect();
    let last = since.iter().max()?;
    let doublings = u32::try_from(since.len().saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let wait = FIRST_BACKOFF.checked_mul(1 << doublings).unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF);
    last.checked_add(wait).ok().filter(|until| *until > now)
}
