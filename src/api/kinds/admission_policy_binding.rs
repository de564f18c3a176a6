//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding: where a policy holds, and with which parameters.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::admission_rules::{default_match, match_faults};
use super::cells::{age_column, column, name_column};
use super::checks::{Faults, invalid_each, one_of, required_name};
use super::fields::{get, is_set, list, object_at, text, text_at};
use super::row::{RowBuilder, row};
use crate::names::{dns_subdomain_errors, path_segment_errors};
use crate::selector::{LabelSelector, validate_label_selector};
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row of ValidatingAdmissionPolicyBinding.
pub fn validating_kind() -> Kind {
    stored("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false).build()
}

/// The row of MutatingAdmissionPolicyBinding.
pub fn mutating_kind() -> Kind {
    stored("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", true).build()
}

fn stored(kind: &str, plural: &str, mutating: bool) -> RowBuilder {
    row("admissionregistration.k8s.io", "v1", kind, plural, Scope::Cluster)
        .category("api-extensions")
        .columns(vec![
            name_column(),
            column("PolicyName", "The policy that holds.", |object, _| json!(text_at(object, "/spec/policyName"))),
            column("ParamRef", "Where its parameters are.", |object, _| json!(parameters(object))),
            age_column(),
        ])
        .behaviour(Binding { mutating })
}

fn parameters(object: &Value) -> String {
    let Some(reference) = object.get("spec").and_then(|spec| get(spec, "paramRef")) else {
        return "<unset>".to_owned();
    };
    let (space, name) = (text(reference, "namespace"), text(reference, "name"));
    if name.is_empty() {
        return match LabelSelector::from_json(get(reference, "selector")) {
            Ok(selector) => selector.to_string(),
            Err(_) => "<error>".to_owned(),
        };
    }
    if space.is_empty() { name.to_owned() } else { format!("{space}/{name}") }
}

struct Binding {
    mutating: bool,
}

impl Behaviour for Binding {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object_at(object, "spec") {
            default_match(spec, "matchResources");
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        required_name(&mut faults, "spec.policyName", text(spec, "policyName"), dns_subdomain_errors);
        if let Some(reference) = get(spec, "paramRef") {
            reference_faults(&mut faults, reference, "spec.paramRef");
        }
        if let Some(resources) = get(spec, "matchResources") {
            // Kubernetes says it with this letter missing.
            match_faults(&mut faults, resources, "spec.matchResouces");
        }
        if !self.mutating {
            action_faults(&mut faults, list(spec, "validationActions"));
        }
        faults
    }
}

fn reference_faults(faults: &mut Faults, reference: &Value, path: &str) {
    let name = text(reference, "name");
    let exclusive = "name and selector are mutually exclusive";
    let selector = get(reference, "selector");
    if !name.is_empty() {
        invalid_each(faults, &format!("{path}.name"), name, path_segment_errors(name));
        if selector.is_some() {
            faults.push(FieldError::forbidden(format!("{path}.name"), exclusive));
        }
    }
    if let Some(selector) = selector {
        faults.extend(validate_label_selector(selector, &format!("{path}.selector")));
        if !name.is_empty() {
            faults.push(FieldError::forbidden(format!("{path}.selector"), exclusive));
        }
    }
    if name.is_empty() && !is_set(reference, "selector") {
        faults.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    one_of(faults, reference, path, "parameterNotFoundAction", &["Deny", "Allow"], true);
}

fn action_faults(faults: &mut Faults, actions: &[Value]) {
    let path = "spec.validationActions";
    let known = ["Audit", "Deny", "Warn"];
    let mut seen = BTreeSet::new();
    for (at, action) in actions.iter().enumerate() {
        let name = action.as_str().unwrap_or_default();
        if !known.contains(&name) {
            faults.push(FieldError::not_supported(format!("{path}[{at}]"), action, &known));
        }
        if !seen.insert(name) {
            faults.push(FieldError::duplicate(format!("{path}[{at}]"), action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        faults.push(FieldError::invalid(path, &json!(actions), detail));
    }
    if seen.is_empty() {
        faults.push(FieldError::required(path, "at least one validation action is required"));
    }
}
