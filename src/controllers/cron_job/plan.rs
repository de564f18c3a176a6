//! What a CronJob does at a moment. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::schedule::Schedule;
use crate::job::{has_completed, is_over};
use crate::owners::{is_deleting, name};

/// Whether people are told good or bad news, the reason and the message.
type News = (bool, &'static str, String);

/// What one run does.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Jobs that are older than the history goes back, or replaced.
    pub delete: Vec<Arc<Job>>,
    /// The time that a Job is made for.
    pub create: Option<Timestamp>,
    /// The status without the Job that is to be made.
    pub status: CronJobStatus,
    /// When to look again.
    pub again: Option<Duration>,
    pub news: Vec<News>,
}

/// Plans for a CronJob with these Jobs.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: cron.status.clone().unwrap_or_default(), ..Plan::default() };
    look_at_jobs(jobs, &mut plan);
    forget_old(cron, jobs, &mut plan);
    if is_deleting(&cron.metadata) {
        return plan;
    }
    let spec = &cron.spec;
    if spec.suspend == Some(true) {
        return plan;
    }
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(why) => {
            let zone = spec.time_zone.as_deref().filter(|zone| jiff::tz::TimeZone::get(zone).is_err());
            plan.news.push(match zone {
                Some(zone) => (true, "UnknownTimeZone", format!("invalid timeZone: {zone:?}: {why}")),
                None => (true, "UnparseableSchedule", format!("unparseable schedule: {:?} : {why}", spec.schedule)),
            });
            return plan;
        }
    };
    let Some(next) = schedule.after(now) else {
        // Kubernetes finds out by the time between two runs, and says it so.
        let why = "time difference between two schedules is less than 1 second";
        plan.news.push((true, "InvalidSchedule", format!("invalid schedule: {} : {why}", spec.schedule)));
        return plan;
    };
    plan.again = Some(Duration::try_from(next.duration_since(now)).unwrap_or_default());
    start(cron, jobs, &schedule, now, &mut plan);
    plan
}

/// Decides whether a Job is made now.
fn start(cron: &CronJob, jobs: &[Arc<Job>], schedule: &Schedule, now: Timestamp, plan: &mut Plan) {
    let spec = &cron.spec;
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    let last = plan.status.last_schedule_time.as_ref().or(cron.metadata.creation_timestamp.as_ref());
    let mut since = last.map_or(now, |time| time.0);
    if let Some(earliest) = deadline.and_then(|deadline| now.checked_sub(deadline).ok()) {
        since = since.max(earliest);
    }
    let Some(due) = schedule.due(since, now) else { return };
    if due.missed >= 100 {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.news.push((true, "TooManyMissedTimes", message.to_owned()));
    }
    if deadline.is_some_and(|deadline| now.duration_since(due.at) > deadline) {
        let at = due.at.strftime("%a, %d %b %Y %H:%M:%S %z");
        plan.news.push((true, "MissSchedule", format!("Missed scheduled time to start a job: {at}")));
        return;
    }
    if jobs.iter().any(|job| name(&job.metadata) == job_name(cron, due.at)) {
        return;
    }
    let is_listed = |job: &&Arc<Job>| {
        let mut listed = plan.status.active.iter().flatten();
        listed.any(|reference| reference.uid == job.metadata.uid)
    };
    let active: Vec<&Arc<Job>> = jobs.iter().filter(is_listed).collect();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.news.push((false, "JobAlreadyActive", message.to_owned()));
            return;
        }
        Some("Replace") => {
            plan.delete.extend(active.into_iter().cloned());
            // Nobody is to miss what was taken away on purpose.
            plan.status.active = None;
        }
        _ => {}
    }
    plan.create = Some(due.at);
}

/// Jobs are named after the minute that they are made for, so that none is made twice.
pub(super) fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", name(&cron.metadata), at.as_second() / 60)
}

/// Brings the list of active Jobs up to date, and says which have finished.
fn look_at_jobs(jobs: &[Arc<Job>], plan: &mut Plan) {
    let listed = plan.status.active.take().unwrap_or_default();
    let mut active = Vec::new();
    for job in jobs {
        let uid = job.metadata.uid.as_deref();
        let was = listed.iter().any(|reference| reference.uid.as_deref() == uid);
        if is_over(job) {
            if was {
                let how = if has_completed(job) { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {}, condition: {how}", name(&job.metadata));
                plan.news.push((false, "SawCompletedJob", message));
            }
            if has_completed(job) {
                let end = job.status.as_ref().and_then(|status| status.completion_time.clone());
                let newest = plan.status.last_successful_time.clone().max(end);
                plan.status.last_successful_time = newest;
            }
        } else if was || is_made_by_schedule(job) {
            active.push(reference(job));
        } else {
            // Whoever made it with this owner sees to it: it keeps nobody away, and nobody replaces it.
            let message = format!("Saw a job that the controller did not create or forgot: {}", name(&job.metadata));
            plan.news.push((true, "UnexpectedJob", message));
        }
    }
    for gone in &listed {
        if !jobs.iter().any(|job| job.metadata.uid == gone.uid) {
            let message = format!("Active job went missing: {}", gone.name.as_deref().unwrap_or_default());
            plan.news.push((false, "MissingJob", message));
        }
    }
    plan.status.active = Some(active).filter(|active| !active.is_empty());
}

/// The annotation of Jobs with the time that they were made for.
pub(super) const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

fn is_made_by_schedule(job: &Job) -> bool {
    job.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(SCHEDULED))
}

pub(super) fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        resource_version: job.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

fn forget_old(cron: &CronJob, jobs: &[Arc<Job>], plan: &mut Plan) {
    let spec = &cron.spec;
    for (completed, limit) in
        [(true, spec.successful_jobs_history_limit.unwrap_or(3)), (false, spec.failed_jobs_history_limit.unwrap_or(1))]
    {
        let ended =
            jobs.iter().filter(|job| is_over(job) && has_completed(job) == completed && !is_deleting(&job.metadata));
        let mut ended: Vec<_> = ended.cloned().collect();
        ended.sort_by_key(|job| (started(job), job.metadata.name.clone()));
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        plan.delete.extend(ended.into_iter().take(surplus));
    }
}

fn started(job: &Job) -> Option<Time> {
    let start = job.status.as_ref().and_then(|status| status.start_time.clone());
    start.or_else(|| job.metadata.creation_timestamp.clone())
}
