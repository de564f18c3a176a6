//! What a pod's spec holds when its author says nothing, and what may stand in it; shared by Pod and by every kind
//! with a pod template.

mod container;
mod defaults;
mod ending;
mod placement;
mod probe;
mod resources;
mod security;
mod spec;
mod volumes;
mod warnings;

use serde_json::{Value, json};

use super::checks::Faults;
use super::fields::{get, is_set, object_at, text};
use crate::FieldError;
use crate::meta::{validate_annotations, validate_labels};
use crate::selector::{LabelSelector, validate_label_selector};

pub use defaults::{canonical_quantities, default_pod_spec};
pub(crate) use defaults::{pod_level_requests, requests_from_limits};
pub(crate) use placement::{node_selector_faults, toleration_faults};
pub use spec::pod_spec_faults;
pub(crate) use warnings::deprecated_label;
pub(crate) use warnings::node_selector_warnings;
pub use warnings::{pod_template_warnings, pod_warnings};

/// The lists of a pod spec that hold containers.
pub(crate) const CONTAINER_LISTS: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

/// Fills in the template in a workload's `spec`.
pub fn default_template(spec: &mut Value) {
    let Some(template) = object_at(spec, "template") else { return };
    if let Some(pod) = object_at(template, "spec") {
        default_pod_spec(pod);
    }
}

/// Warnings about the template in a workload's `spec`.
pub fn template_warnings(object: &Value) -> Vec<String> {
    let template = object.pointer("/spec/template");
    template.map(|template| pod_template_warnings(template, "spec.template")).unwrap_or_default()
}

/// What is wrong with the selector in a workload's `spec`; an empty one is told to be invalid for `named`.
pub fn selector_faults(faults: &mut Faults, spec: &Value, named: &str) {
    let path = "spec.selector";
    let Some(selector) = get(spec, "selector") else {
        faults.push(FieldError::required(path, ""));
        return;
    };
    faults.extend(validate_label_selector(selector, path));
    if LabelSelector::from_json(Some(selector)).is_ok_and(|selector| selector.is_everything()) {
        faults.push(FieldError::invalid(path, selector, &format!("empty selector is invalid for {named}")));
    }
}

/// What is wrong with the template in a workload's `spec`, whose pods run for ever. `kind` is the one that the sentence
/// about deadlines names.
pub fn workload_template_faults(faults: &mut Faults, spec: &Value, kind: &str) {
    let path = "spec.template";
    let empty = json!({});
    let template = get(spec, "template").unwrap_or(&empty);
    template_label_faults(faults, spec, template, path);
    template_faults(faults, template, path);
    ever_running_faults(faults, template, path, kind);
}

/// Labels that the workload's own selector does not find.
pub fn template_label_faults(faults: &mut Faults, spec: &Value, template: &Value, path: &str) {
    let labels = template.pointer("/metadata/labels");
    // A selector that is missing finds nothing, which Kubernetes tells besides.
    if let Ok(selector) = LabelSelector::from_json(spec.get("selector"))
        && !selector.is_everything()
        && !selector.matches_json(labels)
    {
        let shown = labels.cloned().unwrap_or(Value::Null);
        let detail = "`selector` does not match template `labels`";
        faults.push(FieldError::invalid(format!("{path}.metadata.labels"), &shown, detail));
    }
}

/// What pods that run for ever may not have.
pub fn ever_running_faults(faults: &mut Faults, template: &Value, path: &str, kind: &str) {
    let empty = json!({});
    let pod = get(template, "spec").unwrap_or(&empty);
    let restart = text(pod, "restartPolicy");
    // A policy that no pod may have is told by the pod's own check.
    if ["OnFailure", "Never"].contains(&restart) {
        let at = format!("{path}.spec.restartPolicy");
        faults.push(FieldError::not_supported(at, &json!(restart), &["Always"]));
    }
    if is_set(pod, "activeDeadlineSeconds") {
        let at = format!("{path}.spec.activeDeadlineSeconds");
        faults.push(FieldError::forbidden(at, &format!("activeDeadlineSeconds in {kind} is not Supported")));
    }
}

/// What is wrong with a pod template that stands at `path`.
pub fn template_faults(faults: &mut Faults, template: &Value, path: &str) {
    let metadata = template.get("metadata").unwrap_or(&Value::Null);
    faults.extend(validate_labels(metadata.get("labels"), &format!("{path}.labels")));
    faults.extend(validate_annotations(metadata.get("annotations"), &format!("{path}.annotations")));
    let empty = json!({});
    pod_spec_faults(faults, get(template, "spec").unwrap_or(&empty), &format!("{path}.spec"));
    if is_set(get(template, "spec").unwrap_or(&empty), "ephemeralContainers") {
        let detail = "ephemeral containers not allowed in pod template";
        faults.push(FieldError::forbidden(format!("{path}.spec.ephemeralContainers"), detail));
    }
}
