//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL that objects keep or are brought to keep.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::admission_rules::{FAILURE_POLICIES, condition_faults, default_match, match_faults};
use super::cells::{age_column, column, name_column, number_column};
use super::checks::{Faults, one_of};
use super::fields::{default_text, get, list, list_at, object_at, text};
use super::row::row;
use crate::names::{dns_subdomain_errors, dns1035_label_errors, qualified_name_errors};
use crate::{Behaviour, Column, FieldError, Kind, Scope, admission, meta};

const GROUP: &str = "admissionregistration.k8s.io";
const ANNOTATIONS_MAX: usize = 20;
const ANNOTATION_EXPRESSION_MAX: usize = 5 * 1024;
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

/// The row of ValidatingAdmissionPolicy.
pub fn validating_kind() -> Kind {
    row(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", Scope::Cluster)
        .category("api-extensions")
        .status()
        .columns(vec![
            name_column(),
            number_column("Validations", "How many rules the policy has.", |object, _| {
                json!(list_at(object, "/spec/validations").len())
            }),
            parameter_column(),
            age_column(),
        ])
        .behaviour(Policy { mutating: false })
        .build()
}

/// The row of MutatingAdmissionPolicy.
pub fn mutating_kind() -> Kind {
    row(GROUP, "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", Scope::Cluster)
        .category("api-extensions")
        .columns(vec![
            name_column(),
            number_column("Mutations", "How many changes the policy makes.", |object, _| {
                json!(list_at(object, "/spec/mutations").len())
            }),
            parameter_column(),
            age_column(),
        ])
        .behaviour(Policy { mutating: true })
        .build()
}

fn parameter_column() -> Column {
    column("ParamKind", "The kind of the policy's parameters.", |object, _| {
        match object.get("spec").and_then(|spec| get(spec, "paramKind")) {
            Some(kind) => json!(format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind"))),
            None => json!("<unset>"),
        }
    })
}

struct Policy {
    mutating: bool,
}

impl Behaviour for Policy {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_text(spec, "failurePolicy", "Fail");
        if self.mutating {
            default_text(spec, "reinvocationPolicy", "Never");
        }
        default_match(spec, "matchConstraints");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        one_of(&mut faults, spec, "spec", "failurePolicy", &FAILURE_POLICIES, true);
        if let Some(kind) = get(spec, "paramKind") {
            parameter_faults(&mut faults, kind, "spec.paramKind");
        }
        self.constraint_faults(&mut faults, spec);
        condition_faults(&mut faults, spec, "spec.matchConditions");
        for (at, variable) in list(spec, "variables").iter().enumerate() {
            variable_faults(&mut faults, variable, &format!("spec.variables[{at}]"));
        }
        if self.mutating {
            mutation_faults(&mut faults, spec);
            one_of(&mut faults, spec, "spec", "reinvocationPolicy", &["IfNeeded", "Never"], true);
        } else {
            validation_faults(&mut faults, object, spec);
        }
        if old.is_none_or(|old| old.get("spec") != object.get("spec")) {
            let expressions = if self.mutating { admission::mutating_policy } else { admission::validating_policy };
            faults.extend(expressions(object));
        }
        faults
    }
}

impl Policy {
    fn constraint_faults(&self, faults: &mut Faults, spec: &Value) {
        let path = "spec.matchConstraints";
        let Some(constraints) = get(spec, "matchConstraints") else {
            faults.push(FieldError::required(path, ""));
            return;
        };
        match_faults(faults, constraints, path);
        let rules = list(constraints, "resourceRules");
        if rules.is_empty() {
            faults.push(FieldError::required(format!("{path}.resourceRules"), ""));
        }
        if !self.mutating {
            return;
        }
        for operation in rules.iter().flat_map(|rule| list(rule, "operations")) {
            if !matches!(operation.as_str(), Some("CREATE" | "UPDATE")) {
                faults.push(FieldError::invalid(path, operation, "must be CREATE or UPDATE"));
            }
        }
    }
}

fn parameter_faults(faults: &mut Faults, kind: &Value, path: &str) {
    let version_path = format!("{path}.apiVersion");
    let api_version = text(kind, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if api_version.is_empty() {
        faults.push(FieldError::required(version_path, ""));
    } else if version.contains('/') {
        let detail = format!("unexpected GroupVersion string: {api_version}");
        faults.push(FieldError::invalid(version_path, &json!(api_version), &detail));
    } else {
        let wrong = if group.is_empty() { Vec::new() } else { dns_subdomain_errors(group) };
        if !wrong.is_empty() {
            faults.push(FieldError::invalid(version_path.as_str(), &json!(group), &wrong.join(",")));
        }
        let wrong = dns1035_label_errors(version);
        if version.is_empty() {
            let detail = "version must be specified";
            faults.push(FieldError::invalid(version_path, &json!(api_version), detail));
        } else if !wrong.is_empty() {
            faults.push(FieldError::invalid(version_path, &json!(version), &wrong.join(",")));
        }
    }
    let name = text(kind, "kind");
    let wrong = dns1035_label_errors(&name.to_lowercase());
    if name.is_empty() {
        faults.push(FieldError::required(format!("{path}.kind"), ""));
    } else if !wrong.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        faults.push(FieldError::invalid(format!("{path}.kind"), &json!(name), &detail));
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic())
        && name.chars().all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
        && !crate::cel::is_reserved(name)
}

fn variable_faults(faults: &mut Faults, variable: &Value, path: &str) {
    let name = text(variable, "name");
    if name.trim().is_empty() {
        faults.push(FieldError::required(format!("{path}.name"), "name is not specified"));
    } else if !is_identifier(name) {
        let detail = "name is not a valid CEL identifier";
        faults.push(FieldError::invalid(format!("{path}.name"), &json!(name), detail));
    }
    expression(faults, variable, path, "expression");
}

fn expression(faults: &mut Faults, holder: &Value, path: &str, field: &str) {
    if text(holder, field).trim().is_empty() {
        faults.push(FieldError::required(format!("{path}.{field}"), &format!("{field} is not specified")));
    }
}

fn validation_faults(faults: &mut Faults, object: &Value, spec: &Value) {
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        faults.push(FieldError::required("spec.validations", detail));
        faults.push(FieldError::required("spec.auditAnnotations", detail));
        return;
    }
    for (at, validation) in validations.iter().enumerate() {
        one_validation(faults, validation, &format!("spec.validations[{at}]"));
    }
    if annotations.len() > ANNOTATIONS_MAX {
        let detail = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        faults.push(FieldError::invalid("spec.auditAnnotations", &json!(annotations), &detail));
    }
    let mut keys = BTreeSet::new();
    for (at, annotation) in annotations.iter().enumerate() {
        let path = format!("spec.auditAnnotations[{at}]");
        let key = text(annotation, "key");
        let full = format!("{}/{key}", meta::name(object));
        super::checks::invalid_each(faults, &format!("{path}.key"), &full, qualified_name_errors(&full));
        expression(faults, annotation, &path, "valueExpression");
        if text(annotation, "valueExpression").trim().len() > ANNOTATION_EXPRESSION_MAX {
            let detail = format!("must not exceed {ANNOTATION_EXPRESSION_MAX} bytes in length");
            faults.push(FieldError::required(format!("{path}.valueExpression"), &detail));
        }
        if !keys.insert(key) {
            faults.push(FieldError::duplicate(format!("{path}.key"), &json!(key)));
        }
    }
}

fn one_validation(faults: &mut Faults, validation: &Value, path: &str) {
    expression(faults, validation, path, "expression");
    let told = text(validation, "messageExpression");
    if !told.is_empty() && told.trim().is_empty() {
        let detail = "must be non-empty if specified";
        faults.push(FieldError::invalid(format!("{path}.messageExpression"), &json!(told), detail));
    }
    let message = text(validation, "message");
    let path_of_message = format!("{path}.message");
    if !message.is_empty() && message.trim().is_empty() {
        let detail = "message must be non-empty if specified";
        faults.push(FieldError::invalid(path_of_message, &json!(message), detail));
    } else if message.trim().contains(['\n', '\r']) {
        let detail = "message must not contain line breaks";
        faults.push(FieldError::invalid(path_of_message, &json!(message), detail));
    }
    one_of(faults, validation, path, "reason", &REASONS, false);
}

fn mutation_faults(faults: &mut Faults, spec: &Value) {
    let mutations = list(spec, "mutations");
    if mutations.is_empty() {
        faults.push(FieldError::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (at, mutation) in mutations.iter().enumerate() {
        let path = format!("spec.mutations[{at}]");
        let kind = text(mutation, "patchType");
        let (wanted, other) = match kind {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "" => {
                faults.push(FieldError::required(format!("{path}.patchType"), ""));
                continue;
            }
            _ => {
                let kinds = ["ApplyConfiguration", "JSONPatch"];
                faults.push(FieldError::not_supported(format!("{path}.patchType"), &json!(kind), &kinds));
                continue;
            }
        };
        match get(mutation, wanted) {
            Some(patch) => expression(faults, patch, &format!("{path}.{wanted}"), "expression"),
            None => {
                let detail = format!("must be specified when patchType is {kind}");
                faults.push(FieldError::required(format!("{path}.{wanted}"), &detail));
            }
        }
        if let Some(patch) = get(mutation, other) {
            let detail = format!("must not be specified when patchType is {kind}");
            faults.push(FieldError::invalid(format!("{path}.{other}"), patch, &detail));
        }
    }
}
