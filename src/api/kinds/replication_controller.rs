//! ReplicationController: what ReplicaSets were before Deployments.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, number_column, of_containers, plain_selector, wide};
use super::checks::{Faults, at_most, host_name_warning, none_negative};
use super::fields::{count, default_to, get, int_at, is_set, keep, object_at, set, text};
use super::pod_template::{default_template, template_faults, template_warnings};
use super::row::row;
use crate::meta::validate_labels;
use crate::selector::LabelSelector;
use crate::{Behaviour, FieldError, Kind, Scope, meta};

const POD: &str = "/spec/template/spec";

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "ReplicationController", "replicationcontrollers", Scope::Namespaced)
        .short(&["rc"])
        .all()
        .status()
        .scale()
        .columns(vec![
            name_column(),
            number_column("Desired", "The number of desired pods.", |object, _| {
                json!(int_at(object, "/spec/replicas"))
            }),
            number_column("Current", "The most recently observed number of pods.", |object, _| {
                json!(int_at(object, "/status/replicas"))
            }),
            number_column("Ready", "The number of pods with a Ready condition.", |object, _| {
                json!(int_at(object, "/status/readyReplicas"))
            }),
            age_column(),
            wide(column("Containers", "Names of each container in the template.", |object, _| {
                of_containers(object, POD, "name")
            })),
            wide(column("Images", "Images referenced by each container in the template.", |object, _| {
                of_containers(object, POD, "image")
            })),
            wide(column("Selector", "Label selector for pods.", |object, _| {
                json!(plain_selector(object.pointer("/spec/selector")))
            })),
        ])
        .behaviour(ReplicationController)
        .build()
}

struct ReplicationController;

impl Behaviour for ReplicationController {
    fn default(&self, object: &mut Value) {
        let labels = object.pointer("/spec/template/metadata/labels").cloned().filter(Value::is_object);
        if let Some(labels) = labels {
            if count(meta::metadata(object), "labels") == 0 {
                meta::set(object, "labels", labels.clone());
            }
            if let Some(spec) = object_at(object, "spec")
                && count(spec, "selector") == 0
            {
                set(spec, "selector", labels);
            }
        }
        let Some(spec) = object_at(object, "spec") else { return };
        default_to(spec, "replicas", 1);
        if is_set(spec, "template") {
            default_template(spec);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({ "replicas": 0 }));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        none_negative(&mut faults, spec, "spec", &["minReadySeconds"]);
        if count(spec, "selector") == 0 {
            faults.push(FieldError::required("spec.selector", ""));
        }
        none_negative(&mut faults, spec, "spec", &["replicas"]);
        let Some(template) = get(spec, "template") else {
            faults.push(FieldError::required("spec.template", ""));
            return faults;
        };
        let labels = template.pointer("/metadata/labels");
        if count(spec, "selector") > 0 {
            let selector = LabelSelector::from_plain_json(spec.get("selector"));
            if !selector.matches_json(labels) {
                let shown = labels.cloned().unwrap_or(Value::Null);
                let detail = "`selector` does not match template `labels`";
                faults.push(FieldError::invalid("spec.template.metadata.labels", &shown, detail));
            }
        }
        faults.extend(validate_labels(spec.get("selector"), "spec.selector"));
        template_faults(&mut faults, template, "spec.template");
        let pod = get(template, "spec").unwrap_or(&empty);
        let restart = text(pod, "restartPolicy");
        if ["OnFailure", "Never"].contains(&restart) {
            faults.push(FieldError::not_supported("spec.template.spec.restartPolicy", &json!(restart), &["Always"]));
        }
        if is_set(pod, "activeDeadlineSeconds") {
            let detail = "activeDeadlineSeconds in ReplicationController is not Supported";
            faults.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", detail));
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        let counts = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
        none_negative(&mut faults, status, "status", &counts);
        for less in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
            at_most(&mut faults, status, less, "replicas", "status.replicas");
        }
        at_most(&mut faults, status, "availableReplicas", "readyReplicas", "readyReplicas");
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings: Vec<String> = host_name_warning(object, "Pod names and hostnames").into_iter().collect();
        warnings.extend(template_warnings(object));
        warnings
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        let same = meta::generation(object) == meta::generation(old);
        if same { Vec::new() } else { template_warnings(object) }
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("status.replicas".into(), int_at(object, "/status/replicas").to_string())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["status.replicas"]
    }
    fn orphans_dependents(&self) -> bool {
        true
    }
}
