//! The conditions of a Job: first why it ends, then, when nothing of it runs any more, that it has ended.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
const SUSPENDED: &str = "Suspended";
/// The reasons are few, so that events can carry them.
const REASONS: [&str; 7] = [
    "PodFailurePolicy",
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "MaxFailedIndexesExceeded",
    "FailedIndexes",
    "SuccessPolicy",
    "CompletionsReached",
];

/// Whether the Job has completed or failed.
pub(crate) fn is_over(job: &Job) -> bool {
    Conditions::of(job).has_ended()
}

/// Whether the Job has completed.
pub(crate) fn has_completed(job: &Job) -> bool {
    Conditions::of(job).has_completed()
}

/// The conditions in the making.
pub(super) struct Conditions(pub Vec<JobCondition>);

impl Conditions {
    pub fn of(job: &Job) -> Self {
        Self(job.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default())
    }

    fn holds(&self, type_: &str) -> Option<&JobCondition> {
        self.0.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    }

    pub fn has_ended(&self) -> bool {
        self.holds("Complete").or(self.holds("Failed")).is_some()
    }

    pub fn has_completed(&self) -> bool {
        self.holds("Complete").is_some()
    }

    pub fn is_ending(&self) -> bool {
        self.holds(FAILURE_TARGET).or(self.holds(SUCCESS_CRITERIA_MET)).is_some()
    }

    pub fn is_failing(&self) -> bool {
        self.holds(FAILURE_TARGET).is_some()
    }

    fn put(&mut self, type_: &str, status: &str, (reason, message): (&str, String), now: Timestamp) {
        self.0.retain(|condition| condition.type_ != type_);
        self.0.push(JobCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_probe_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        });
    }

    /// From here on the Job only ends.
    pub fn begin_end(&mut self, failed: bool, reason: &str, message: String, now: Timestamp) {
        let type_ = if failed { FAILURE_TARGET } else { SUCCESS_CRITERIA_MET };
        self.put(type_, "True", (reason, message), now);
    }

    /// Says that it has ended: whether it failed, and what the event says.
    pub fn end(&mut self, now: Timestamp) -> (bool, &'static str, String) {
        let failed = self.holds(FAILURE_TARGET).is_some();
        let cause = self.holds(FAILURE_TARGET).or(self.holds(SUCCESS_CRITERIA_MET)).cloned();
        let (reason, message) =
            cause.map_or((None, String::new()), |cause| (cause.reason, cause.message.unwrap_or_default()));
        let reason =
            REASONS.into_iter().find(|known| Some(*known) == reason.as_deref()).unwrap_or("CompletionsReached");
        self.put(if failed { "Failed" } else { "Complete" }, "True", (reason, message.clone()), now);
        if failed { (true, reason, message) } else { (false, "Completed", "Job completed".to_owned()) }
    }

    /// Whether that is news.
    pub fn suspend(&mut self, now: Timestamp) -> bool {
        let news = self.holds(SUSPENDED).is_none();
        if news {
            self.put(SUSPENDED, "True", ("JobSuspended", "Job suspended".to_owned()), now);
        }
        news
    }

    /// Whether it was suspended until now.
    pub fn resume(&mut self, now: Timestamp) -> bool {
        let news = self.holds(SUSPENDED).is_some();
        if news {
            self.put(SUSPENDED, "False", ("JobResumed", "Job resumed".to_owned()), now);
        }
        news
    }
}
