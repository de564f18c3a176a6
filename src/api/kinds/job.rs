//! Job: pods that run until enough of them have ended well.

mod indexes;
mod policies;
mod selection;
mod spec;
mod status;
mod update;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, workload_columns};
use super::checks::{Faults, host_name_warning};
use super::conditions::holds;
use super::fields::{count, default_text, default_to, get, int, int_at, is_set, items_mut, keep, object_at, set, text};
use super::pod_template::{default_template, template_warnings};
use super::row::row;
use crate::table::human_duration;
use crate::{Behaviour, FieldError, Kind, Scope, meta};

pub(crate) use spec::template_spec_faults;

/// How often pods may fail when nobody says.
const BACKOFF_LIMIT: i64 = 6;

/// The row.
pub fn kind() -> Kind {
    let mut columns = vec![
        name_column(),
        column("Status", "Status of the job.", |object, _| json!(state(object))),
        column("Completions", "The number of pods that ended well.", |object, _| json!(completions(object))),
        column("Duration", "Time required to complete the job.", |object, now| json!(duration(object, now))),
        age_column(),
    ];
    columns.extend(workload_columns());
    row("batch", "v1", "Job", "jobs", Scope::Namespaced).all().status().columns(columns).behaviour(Job).build()
}

fn state(object: &Value) -> &'static str {
    let status = object.get("status").unwrap_or(&Value::Null);
    if holds(status, "Complete") {
        "Complete"
    } else if holds(status, "Failed") {
        "Failed"
    } else if meta::is_being_deleted(object) {
        "Terminating"
    } else if holds(status, "Suspended") {
        "Suspended"
    } else if holds(status, "FailureTarget") {
        "FailureTarget"
    } else if holds(status, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(object: &Value) -> String {
    let done = int_at(object, "/status/succeeded");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if let Some(wanted) = int(spec, "completions") {
        return format!("{done}/{wanted}");
    }
    match int(spec, "parallelism").unwrap_or_default() {
        parallel if parallel > 1 => format!("{done}/1 of {parallel}"),
        _ => format!("{done}/1"),
    }
}

fn duration(object: &Value, now: Timestamp) -> String {
    let at = |pointer| meta::time(object.pointer(pointer));
    match at("/status/startTime") {
        None => String::new(),
        Some(start) => human_duration(at("/status/completionTime").unwrap_or(now).duration_since(start).as_secs()),
    }
}

struct Job;

impl Behaviour for Job {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        if !is_set(spec, "completions") && !is_set(spec, "parallelism") {
            default_to(spec, "completions", 1);
        }
        default_to(spec, "parallelism", 1);
        let often = if is_set(spec, "backoffLimitPerIndex") { i64::from(i32::MAX) } else { BACKOFF_LIMIT };
        default_to(spec, "backoffLimit", often);
        default_text(spec, "completionMode", "NonIndexed");
        default_to(spec, "suspend", false);
        default_to(spec, "manualSelector", false);
        default_failure_policy(spec);
        let replaced = if is_set(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        default_text(spec, "podReplacementPolicy", replaced);
        default_template(spec);
        let labels = object.pointer("/spec/template/metadata/labels").cloned().filter(Value::is_object);
        if let Some(labels) = labels
            && count(meta::metadata(object), "labels") == 0
        {
            meta::set(object, "labels", labels);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        let bare = count(meta::metadata(object), "labels") == 0
            || get(meta::metadata(object), "labels") == object.pointer("/spec/template/metadata/labels");
        selection::generate(object);
        if bare && let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() {
            meta::set(object, "labels", labels);
        }
        set(object, "status", json!({}));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        selection::generated_faults(&mut faults, object, spec, old);
        spec::job_spec_faults(&mut faults, spec);
        indexes::host_name_faults(&mut faults, object, spec);
        if let Some(old) = old {
            update::update_faults(&mut faults, spec, old);
        }
        faults
    }
    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        status::status_faults(object, old)
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings: Vec<String> = host_name_warning(object, "Pod names and hostnames").into_iter().collect();
        warnings.extend(spec_warnings(object));
        warnings
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        if meta::generation(object) == meta::generation(old) { Vec::new() } else { spec_warnings(object) }
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("status.successful".into(), int_at(object, "/status/succeeded").to_string())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["status.successful"]
    }
    fn orphans_dependents(&self) -> bool {
        true
    }
    fn deletion_warning(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
             them or set propagationPolicy=Orphan to suppress this warning",
        )
    }
}

fn default_failure_policy(spec: &mut Value) {
    let Some(policy) = spec.get_mut("podFailurePolicy") else { return };
    for rule in items_mut(policy, "rules") {
        for pattern in items_mut(rule, "onPodConditions") {
            default_text(pattern, "status", "True");
        }
    }
}

fn spec_warnings(object: &Value) -> Vec<String> {
    const MANY: i64 = 100_000;
    const AT_ONCE: i64 = 10_000;
    let mut warnings = Vec::new();
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let more = |field: &str, limit: i64| int(spec, field).is_some_and(|count| count > limit);
    if text(spec, "completionMode") == "Indexed" && more("completions", MANY) && more("parallelism", AT_ONCE) {
        warnings.push(
            "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
                .to_owned(),
        );
    }
    warnings.extend(template_warnings(object));
    warnings
}
