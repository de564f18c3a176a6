//! CronJob: Jobs that are made at set times.

mod schedule;

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column, number_column, of_containers, or, wide};
use super::checks::{Faults, host_name_warning, none_negative};
use super::fields::{default_text, default_to, get, is_set, keep, list_at, object_at, set, text, text_at};
use super::job::template_spec_faults;
use super::pod_template::{default_template, pod_template_warnings};
use super::row::row;
use crate::names::max_length;
use crate::selector::LabelSelector;
use crate::table::since_value;
use crate::{Behaviour, Column, FieldError, Kind, Scope, meta};

/// Names of the Jobs end in a dash and ten digits, and are no longer than 63.
const NAME_BYTES_MAX: usize = 52;
const POD: &str = "/spec/jobTemplate/spec/template/spec";

/// The row.
pub fn kind() -> Kind {
    row("batch", "v1", "CronJob", "cronjobs", Scope::Namespaced)
        .short(&["cj"])
        .all()
        .status()
        .columns(columns())
        .behaviour(CronJob)
        .build()
}

fn columns() -> Vec<Column> {
    let suspend = column("Suspend", "Whether no further Jobs are made.", |object, _| {
        json!(match object.pointer("/spec/suspend") {
            Some(Value::Bool(true)) => "True",
            Some(Value::Bool(false)) => "False",
            _ => "<unset>",
        })
    });
    vec![
        name_column(),
        column("Schedule", "When Jobs are made, as cron has it.", |object, _| json!(text_at(object, "/spec/schedule"))),
        column("Timezone", "The time zone of the schedule.", |object, _| {
            json!(or(text_at(object, "/spec/timeZone"), NONE))
        }),
        Column { kind: "boolean".to_owned(), ..suspend },
        number_column("Active", "The number of Jobs that run.", |object, _| {
            json!(list_at(object, "/status/active").len())
        }),
        column("Last Schedule", "How long ago the last Job was made.", |object, now| {
            match object.pointer("/status/lastScheduleTime").filter(|time| !time.is_null()) {
                None => json!(NONE),
                time => json!(since_value(time, now)),
            }
        }),
        age_column(),
        wide(column("Containers", "Names of each container in the template.", |object, _| {
            of_containers(object, POD, "name")
        })),
        wide(column("Images", "Images referenced by each container in the template.", |object, _| {
            of_containers(object, POD, "image")
        })),
        wide(column("Selector", "Label selector for pods.", |object, _| {
            match LabelSelector::from_json(object.pointer("/spec/jobTemplate/spec/selector")) {
                Ok(selector) => json!(or(&selector.to_string(), NONE)),
                Err(_) => json!("<error>"),
            }
        })),
    ]
}

struct CronJob;

impl Behaviour for CronJob {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_text(spec, "concurrencyPolicy", "Allow");
        default_to(spec, "suspend", false);
        default_to(spec, "successfulJobsHistoryLimit", 3);
        default_to(spec, "failedJobsHistoryLimit", 1);
        if let Some(job) = object_at(spec, "jobTemplate").and_then(|template| object_at(template, "spec")) {
            default_template(job);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        let was = old.map(|old| get(old, "spec").unwrap_or(&empty));
        schedule::schedule_faults(&mut faults, spec, was);
        none_negative(&mut faults, spec, "spec", &["startingDeadlineSeconds"]);
        if was.is_none_or(|was| get(was, "timeZone") != get(spec, "timeZone")) {
            schedule::zone_faults(&mut faults, spec);
        }
        concurrency(&mut faults, spec);
        let job = spec.pointer("/jobTemplate/spec").unwrap_or(&empty);
        template_spec_faults(&mut faults, job, "spec.jobTemplate.spec");
        none_negative(&mut faults, spec, "spec", &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]);
        let name = meta::name(object);
        if old.is_none() && name.len() > NAME_BYTES_MAX {
            faults.push(FieldError::invalid("metadata.name", &json!(name), &max_length(NAME_BYTES_MAX)));
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings: Vec<String> = host_name_warning(object, "Pod names and hostnames").into_iter().collect();
        warnings.extend(spec_warnings(object));
        warnings
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        if meta::generation(object) == meta::generation(old) { Vec::new() } else { spec_warnings(object) }
    }
}

fn spec_warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(template) = object.pointer("/spec/jobTemplate/spec/template") {
        warnings.extend(pod_template_warnings(template, "spec.jobTemplate.spec.template"));
    }
    if text_at(object, "/spec/schedule").contains("TZ") {
        let rule = "CRON_TZ or TZ used in schedule is not officially supported, see \
                    https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
        warnings.push(format!("spec.schedule: {rule}"));
    }
    warnings
}

fn concurrency(faults: &mut Faults, spec: &Value) {
    let policies = ["Allow", "Forbid", "Replace"];
    let said = text(spec, "concurrencyPolicy");
    if !is_set(spec, "concurrencyPolicy") || said.is_empty() {
        faults.push(FieldError::required("spec.concurrencyPolicy", ""));
    } else if !policies.contains(&said) {
        faults.push(FieldError::not_supported("spec.concurrencyPolicy", &json!(said), &policies));
    }
}
