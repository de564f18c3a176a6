//! Deployment: pods that are replaced step by step when their template changes.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, number_column, workload_columns};
use super::checks::{
    Faults, at_most, host_name_warning, immutable, int_or_percent, non_negative, not_decremented, percent,
};
use super::fields::{default_text, default_to, get, int, int_at, keep, object_at, set, text};
use super::pod_template;
use super::row::row;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    let mut columns = vec![
        name_column(),
        column("Ready", "Number of the pod with ready state", |object, _| {
            json!(format!("{}/{}", int_at(object, "/status/readyReplicas"), int_at(object, "/spec/replicas")))
        }),
        number_column("Up-to-date", "The number of pods that have the desired template.", |object, _| {
            json!(int_at(object, "/status/updatedReplicas"))
        }),
        number_column("Available", "The number of pods that have been ready for long enough.", |object, _| {
            json!(int_at(object, "/status/availableReplicas"))
        }),
        age_column(),
    ];
    columns.extend(workload_columns());
    row("apps", "v1", "Deployment", "deployments", Scope::Namespaced)
        .short(&["deploy"])
        .all()
        .status()
        .scale()
        .columns(columns)
        .behaviour(Deployment)
        .build()
}

struct Deployment;

impl Behaviour for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = object_at(spec, "strategy") {
            default_text(strategy, "type", "RollingUpdate");
            if text(strategy, "type") == "RollingUpdate"
                && let Some(rolling) = object_at(strategy, "rollingUpdate")
            {
                default_to(rolling, "maxUnavailable", "25%");
                default_to(rolling, "maxSurge", "25%");
            }
        }
        pod_template::default_template(spec);
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
        let labels = crate::meta::metadata(old).get("labels").cloned();
        match labels {
            Some(labels) => crate::meta::set(object, "labels", labels),
            None => crate::meta::unset(object, "labels"),
        }
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        non_negative(&mut faults, spec, "spec", "replicas");
        pod_template::selector_faults(&mut faults, spec, "deployment");
        pod_template::workload_template_faults(&mut faults, spec, "ReplicaSet");
        strategy(&mut faults, spec.get("strategy").unwrap_or(&empty));
        for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
            non_negative(&mut faults, spec, "spec", field);
        }
        if let Some(deadline) = int(spec, "progressDeadlineSeconds")
            && deadline <= int(spec, "minReadySeconds").unwrap_or_default()
        {
            let detail = "must be greater than minReadySeconds";
            faults.push(FieldError::invalid("spec.progressDeadlineSeconds", &json!(deadline), detail));
        }
        if let Some(was) = old.and_then(|old| get(old, "spec")) {
            immutable(&mut faults, spec, was, "spec", "selector");
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings: Vec<String> = host_name_warning(object, "Pod names and hostnames").into_iter().collect();
        warnings.extend(pod_template::template_warnings(object));
        warnings
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        let same = crate::meta::generation(object) == crate::meta::generation(old);
        if same { Vec::new() } else { pod_template::template_warnings(object) }
    }
    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        for field in [
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "collisionCount",
        ] {
            non_negative(&mut faults, status, "status", field);
        }
        for less in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
            at_most(&mut faults, status, less, "replicas", "status.replicas");
        }
        at_most(&mut faults, status, "availableReplicas", "readyReplicas", "readyReplicas");
        not_decremented(&mut faults, status, old.get("status"), "collisionCount");
        faults
    }
}

fn strategy(faults: &mut Faults, strategy: &Value) {
    let path = "spec.strategy";
    match text(strategy, "type") {
        "Recreate" => {
            if get(strategy, "rollingUpdate").is_some() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                faults.push(FieldError::forbidden(format!("{path}.rollingUpdate"), detail));
            }
        }
        "RollingUpdate" => match get(strategy, "rollingUpdate") {
            None => {
                let detail = "this should be defaulted and never be nil";
                faults.push(FieldError::required(format!("{path}.rollingUpdate"), detail));
            }
            Some(rolling) => rolling_update(faults, rolling, &format!("{path}.rollingUpdate")),
        },
        _ => faults.push(FieldError::not_supported(path, strategy, &["Recreate", "RollingUpdate"])),
    }
}

fn rolling_update(faults: &mut Faults, rolling: &Value, path: &str) {
    let zero = json!(0);
    let unavailable = get(rolling, "maxUnavailable").unwrap_or(&zero);
    let surge = get(rolling, "maxSurge").unwrap_or(&zero);
    let unavailable_path = format!("{path}.maxUnavailable");
    int_or_percent(faults, unavailable, &unavailable_path);
    int_or_percent(faults, surge, &format!("{path}.maxSurge"));
    let none = |value: &Value| value.as_i64() == Some(0) || percent(value) == Some(0);
    if none(unavailable) && none(surge) {
        let detail = "may not be 0 when `maxSurge` is 0";
        faults.push(FieldError::invalid(unavailable_path.as_str(), unavailable, detail));
    }
    if percent(unavailable).is_some_and(|share| share > 100) {
        faults.push(FieldError::invalid(unavailable_path, unavailable, "must not be greater than 100%"));
    }
}
