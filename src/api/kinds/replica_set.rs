//! ReplicaSet: a number of pods that are all alike.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cells::{age_column, name_column, number_column, workload_columns};
use super::checks::{Faults, host_name_warning, immutable, non_negative};
use super::fields::{default_to, get, int_at, keep, object_at};
use super::pod_template;
use super::row::row;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    let mut columns = vec![
        name_column(),
        number_column("Desired", "The number of desired pods.", |object, _| json!(int_at(object, "/spec/replicas"))),
        number_column("Current", "The most recently observed number of pods.", |object, _| {
            json!(int_at(object, "/status/replicas"))
        }),
        number_column("Ready", "The number of pods with a Ready condition.", |object, _| {
            json!(int_at(object, "/status/readyReplicas"))
        }),
        age_column(),
    ];
    columns.extend(workload_columns());
    row("apps", "v1", "ReplicaSet", "replicasets", Scope::Namespaced)
        .short(&["rs"])
        .all()
        .status()
        .scale()
        .columns(columns)
        .behaviour(ReplicaSet)
        .build()
}

struct ReplicaSet;

impl Behaviour for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_to(spec, "replicas", 1);
        pod_template::default_template(spec);
    }
    fn prepare_create(&self, object: &mut Value) {
        super::fields::set(object, "status", json!({ "replicas": 0 }));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        non_negative(&mut faults, spec, "spec", "replicas");
        non_negative(&mut faults, spec, "spec", "minReadySeconds");
        pod_template::selector_faults(&mut faults, spec, "deployment");
        pod_template::workload_template_faults(&mut faults, spec, "ReplicaSet");
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
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        let counts = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
        for field in counts {
            non_negative(&mut faults, status, "status", field);
        }
        let count = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or_default();
        let pairs = [
            ("fullyLabeledReplicas", "replicas"),
            ("readyReplicas", "replicas"),
            ("availableReplicas", "replicas"),
            ("availableReplicas", "readyReplicas"),
        ];
        for (less, more) in pairs {
            if count(less) > count(more) {
                let detail = format!("cannot be greater than {more}");
                let path = format!("status.{less}");
                faults.push(FieldError::invalid(
                    path,
                    &json!(count(less)),
                    &detail.replace("than replicas", "than status.replicas"),
                ));
            }
        }
        faults
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("status.replicas".into(), int_at(object, "/status/replicas").to_string())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["status.replicas"]
    }
}
