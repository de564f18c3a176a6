//! What is wrong with a Job's status. Most rules look only at what a write changes, so that a status that was let in
//! before can still be worked on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::indexes::{overlap, total};
use crate::FieldError;
use crate::kinds::checks::{Faults, IMMUTABLE, invalid_unseen, none_negative};
use crate::kinds::conditions::holds;
use crate::kinds::fields::{flag, get, int, is_set, list, same, text};
use crate::meta;

/// The state before, the state after, and what they belong to.
struct Change<'a> {
    spec: &'a Value,
    now: &'a Value,
    was: &'a Value,
}

pub(super) fn status_faults(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut faults = Faults::new();
    let empty = json!({});
    let part = |object: &'_ Value, field: &str| get(object, field).cloned().unwrap_or_else(|| empty.clone());
    let (spec, now, was) = (part(object, "spec"), part(object, "status"), part(old, "status"));
    let change = Change { spec: &spec, now: &now, was: &was };
    none_negative(&mut faults, &now, "status", &["active", "succeeded", "failed", "ready", "terminating"]);
    uncounted(&mut faults, &now);
    change.ends(&mut faults);
    change.times(&mut faults);
    change.finished(&mut faults);
    change.indexes(&mut faults);
    change.success_criteria(&mut faults);
    change.never_back(&mut faults);
    faults
}

fn uncounted(faults: &mut Faults, status: &Value) {
    let Some(pods) = get(status, "uncountedTerminatedPods") else { return };
    let mut seen = BTreeSet::new();
    for field in ["succeeded", "failed"] {
        for (at, uid) in list(pods, field).iter().enumerate() {
            let path = format!("status.uncountedTerminatedPods.{field}[{at}]");
            let text = uid.as_str().unwrap_or_default();
            if text.is_empty() {
                faults.push(FieldError::invalid(path, uid, "must not be empty"));
            } else if !seen.insert(text) {
                faults.push(FieldError::duplicate(path, uid));
            }
        }
    }
}

fn is_finished(status: &Value) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

impl Change<'_> {
    fn differs(&self, field: &str) -> bool {
        !same(get(self.now, field), get(self.was, field))
    }
    fn turned(&self, condition: &str) -> bool {
        holds(self.now, condition) != holds(self.was, condition)
    }
    fn finish_turned(&self) -> bool {
        is_finished(self.now) != is_finished(self.was)
    }
    fn is_indexed(&self) -> bool {
        text(self.spec, "completionMode") == "Indexed"
    }

    /// A Job ends one way, and says before which.
    fn ends(&self, faults: &mut Faults) {
        let path = "status.conditions";
        let on = |condition: &str| holds(self.now, condition);
        let (complete, failed) = (self.turned("Complete"), self.turned("Failed"));
        if (complete || failed) && on("Complete") && on("Failed") {
            faults.push(invalid_unseen(path, "cannot set Complete=True and Failed=true conditions"));
        }
        if (complete || self.turned("FailureTarget")) && on("Complete") && on("FailureTarget") {
            faults.push(invalid_unseen(path, "cannot set Complete=True and FailureTarget=true conditions"));
        }
        if (failed || self.differs("failedIndexes")) && on("Failed") && !on("FailureTarget") {
            let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
            faults.push(invalid_unseen(path, detail));
        }
        if (complete || self.turned("SuccessCriteriaMet")) && on("Complete") && !on("SuccessCriteriaMet") {
            let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            faults.push(invalid_unseen(path, detail));
        }
    }

    fn times(&self, faults: &mut Faults) {
        let path = "status.completionTime";
        let done = get(self.now, "completionTime");
        let complete = holds(self.now, "Complete");
        if self.turned("Complete") || self.differs("completionTime") {
            if let Some(done) = done.filter(|_| !complete) {
                let detail = "cannot set completionTime when there is no Complete=True condition";
                faults.push(FieldError::invalid(path, done, detail));
            }
            if done.is_none() && complete {
                faults.push(FieldError::required(path, "completionTime is required for Complete jobs"));
            }
        }
        if self.differs("startTime") || self.differs("completionTime") {
            let (start, end) = (meta::time(get(self.now, "startTime")), meta::time(done));
            if let (Some(start), Some(end), Some(shown)) = (start, end, done)
                && end < start
            {
                faults.push(FieldError::invalid(path, shown, "must be equal to or after `startTime`"));
            }
        }
    }

    /// A Job that has ended has nothing left that runs.
    fn finished(&self, faults: &mut Faults) {
        let turned = self.finish_turned();
        let finished = is_finished(self.now);
        let count = |field: &str| int(self.now, field).unwrap_or_default();
        if (turned || self.differs("active")) && finished && count("active") > 0 {
            let detail = "active>0 is invalid for finished job";
            faults.push(FieldError::invalid("status.active", &json!(count("active")), detail));
        }
        if (turned || self.differs("startTime")) && finished && !is_set(self.now, "startTime") {
            faults.push(FieldError::required("status.startTime", "startTime is required for finished job"));
        }
        if let Some(pods) = get(self.now, "uncountedTerminatedPods")
            && (turned || self.differs("uncountedTerminatedPods"))
            && finished
            && !(list(pods, "failed").is_empty() && list(pods, "succeeded").is_empty())
        {
            let detail = "must be empty for finished job";
            faults.push(FieldError::invalid("status.uncountedTerminatedPods", pods, detail));
        }
        if (turned || self.differs("terminating")) && finished && count("terminating") > 0 {
            let detail = "terminating>0 is invalid for finished job";
            faults.push(FieldError::invalid("status.terminating", &json!(count("terminating")), detail));
        }
        if (self.differs("ready") || self.differs("active")) && count("ready") > count("active") {
            let detail = "cannot set more ready pods than active";
            faults.push(FieldError::invalid("status.ready", &json!(count("ready")), detail));
        }
    }

    fn indexes(&self, faults: &mut Faults) {
        let (done, failed) = (text(self.now, "completedIndexes"), text(self.now, "failedIndexes"));
        let (done_differs, failed_differs) = (self.differs("completedIndexes"), self.differs("failedIndexes"));
        let by_index = is_set(self.spec, "backoffLimitPerIndex");
        if let Some(all) = int(self.spec, "completions") {
            let mut read = |field: &str, indexes: &str| {
                if let Err(why) = total(indexes, all) {
                    let detail = format!("error parsing {field}: {why}");
                    faults.push(FieldError::invalid(format!("status.{field}"), &json!(indexes), &detail));
                }
            };
            if done_differs {
                read("completedIndexes", done);
            }
            if failed_differs && by_index {
                read("failedIndexes", failed);
            }
            if (done_differs || failed_differs)
                && let Some(index) = overlap(done, failed, all)
            {
                let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
                faults.push(FieldError::invalid("status.failedIndexes", &json!(failed), &detail));
            }
        }
        if done_differs && !done.is_empty() && !self.is_indexed() {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            faults.push(FieldError::invalid("status.completedIndexes", &json!(done), detail));
        }
        if failed_differs && !by_index && is_set(self.now, "failedIndexes") {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            faults.push(FieldError::invalid("status.failedIndexes", &json!(failed), detail));
        }
    }

    fn success_criteria(&self, faults: &mut Faults) {
        let path = "status.conditions";
        let on = |condition: &str| holds(self.now, condition);
        let met = on("SuccessCriteriaMet");
        if met && on("Failed") {
            faults.push(invalid_unseen(path, "cannot set SuccessCriteriaMet=True and Failed=true conditions"));
        }
        if met && on("FailureTarget") {
            faults.push(invalid_unseen(path, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"));
        }
        if is_set(self.spec, "successPolicy") && !met && on("Complete") {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            faults.push(invalid_unseen(path, detail));
        }
    }

    /// What was reached stays reached.
    fn never_back(&self, faults: &mut Faults) {
        let path = "status.conditions";
        for end in ["Failed", "Complete", "FailureTarget"] {
            if holds(self.was, end) && !holds(self.now, end) {
                faults.push(invalid_unseen(path, &format!("cannot disable the terminal {end}=True condition")));
            }
        }
        let count = |status: &Value, field: &str| int(status, field).unwrap_or_default();
        let scaled = self.is_indexed() && same(get(self.spec, "completions"), get(self.spec, "parallelism"));
        for (field, counts) in [("failed", true), ("succeeded", !scaled)] {
            if counts && count(self.now, field) < count(self.was, field) {
                let detail = format!("cannot decrease the {field} counter");
                let shown = json!(count(self.now, field));
                faults.push(FieldError::invalid(format!("status.{field}"), &shown, &detail));
            }
        }
        if let (Some(now), Some(_)) = (get(self.now, "completionTime"), get(self.was, "completionTime"))
            && self.differs("completionTime")
        {
            faults.push(FieldError::invalid("status.completionTime", now, IMMUTABLE));
        }
        if is_set(self.was, "startTime") && self.differs("startTime") && !flag(self.spec, "suspend") {
            let detail = "startTime cannot be removed for unsuspended job";
            faults.push(FieldError::required("status.startTime", detail));
        }
        let (met, was_met) = (holds(self.now, "SuccessCriteriaMet"), holds(self.was, "SuccessCriteriaMet"));
        if was_met && !met {
            faults.push(invalid_unseen(path, "cannot disable the SuccessCriteriaMet=True condition"));
        }
        if holds(self.was, "Complete") && !was_met && met {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            faults.push(invalid_unseen(path, detail));
        }
    }
}
