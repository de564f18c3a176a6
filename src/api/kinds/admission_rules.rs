//! Which requests admission's webhooks and policies are about: rules, selectors, match conditions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::checks::{Faults, one_of};
use super::fields::{default_text, default_to, get, items_mut, list, text};
use crate::FieldError;
use crate::names::{path_segment_errors, qualified_name_errors};
use crate::selector::validate_label_selector;

pub(crate) const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
pub(crate) const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const CONDITIONS_MAX: usize = 64;

/// Without a word, versions count as the same and every object is meant.
pub(crate) fn default_selectors(holder: &mut Value) {
    default_text(holder, "matchPolicy", "Equivalent");
    default_to(holder, "namespaceSelector", json!({}));
    default_to(holder, "objectSelector", json!({}));
}

/// Rules are about all scopes unless they say otherwise.
pub(crate) fn default_rules(holder: &mut Value, field: &str) {
    for rule in items_mut(holder, field) {
        default_text(rule, "scope", "*");
    }
}

/// The defaults of a policy's `matchConstraints` or a binding's `matchResources`.
pub(crate) fn default_match(spec: &mut Value, field: &str) {
    let Some(constraints) = spec.get_mut(field).filter(|constraints| constraints.is_object()) else { return };
    default_selectors(constraints);
    default_rules(constraints, "resourceRules");
    default_rules(constraints, "excludeResourceRules");
}

/// What is wrong with `matchConstraints` or `matchResources`.
pub(crate) fn match_faults(faults: &mut Faults, constraints: &Value, path: &str) {
    one_of(faults, constraints, path, "matchPolicy", &MATCH_POLICIES, true);
    for field in ["namespaceSelector", "objectSelector"] {
        match get(constraints, field) {
            None => faults.push(FieldError::required(format!("{path}.{field}"), "")),
            Some(selector) => faults.extend(validate_label_selector(selector, &format!("{path}.{field}"))),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (at, rule) in list(constraints, field).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            let mut names = BTreeSet::new();
            for (at, name) in list(rule, "resourceNames").iter().enumerate() {
                let text = name.as_str().unwrap_or_default();
                let path = format!("{path}.resourceNames[{at}]");
                super::checks::invalid_each(faults, &path, text, path_segment_errors(text));
                if !names.insert(text) {
                    faults.push(FieldError::duplicate(path, name));
                }
            }
            rule_faults(faults, rule, &path);
        }
    }
}

fn texts<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    list(value, field).iter().filter_map(Value::as_str).collect()
}

/// What is wrong with a rule: operations, groups, versions, resources, scope.
pub(crate) fn rule_faults(faults: &mut Faults, rule: &Value, path: &str) {
    let fields = [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")];
    for (field, words) in fields {
        let all = texts(rule, field);
        let path = format!("{path}.{field}");
        if all.is_empty() {
            faults.push(FieldError::required(path.as_str(), ""));
        }
        if all.len() > 1 && all.contains(&"*") {
            let detail = format!("if '*' is present, must not specify other {words}");
            faults.push(FieldError::invalid(path.as_str(), &json!(all), &detail));
        }
        for (at, one) in all.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match field {
                "operations" if !OPERATIONS.contains(one) => {
                    faults.push(FieldError::not_supported(path, &json!(one), &OPERATIONS));
                }
                "apiVersions" if one.is_empty() => faults.push(FieldError::required(path, "")),
                _ => {}
            }
        }
    }
    resource_faults(faults, &texts(rule, "resources"), &format!("{path}.resources"));
    one_of(faults, rule, path, "scope", &SCOPES, false);
}

fn resource_faults(faults: &mut Faults, resources: &[&str], path: &str) {
    if resources.is_empty() {
        faults.push(FieldError::required(path, ""));
    }
    let (mut every_sub_of, mut of_every) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for (at, resource) in resources.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if resource.is_empty() {
            faults.push(FieldError::required(path, ""));
            continue;
        }
        let Some((parent, sub)) = resource.split_once('/') else {
            plain = *resource != "*";
            continue;
        };
        if every_sub_of.contains(parent) {
            let detail = format!("if '{parent}/*' is present, must not specify {resource}");
            faults.push(FieldError::invalid(path.as_str(), &json!(resource), &detail));
        }
        if of_every.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {resource}");
            faults.push(FieldError::invalid(path.as_str(), &json!(resource), &detail));
        }
        if sub == "*" {
            every_sub_of.insert(parent);
        }
        if parent == "*" {
            of_every.insert(sub);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        faults.push(FieldError::invalid(path, &json!(resources), detail));
    }
    if resources.contains(&"*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        faults.push(FieldError::invalid(path, &json!(resources), detail));
    }
}

/// What is wrong with `matchConditions`, but for their CEL.
pub(crate) fn condition_faults(faults: &mut Faults, holder: &Value, path: &str) {
    let all = list(holder, "matchConditions");
    if all.len() > CONDITIONS_MAX {
        faults.push(FieldError::too_many(path, all.len(), CONDITIONS_MAX));
    }
    let mut names = BTreeSet::new();
    for (at, condition) in all.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if text(condition, "expression").trim().is_empty() {
            faults.push(FieldError::required(format!("{path}.expression"), ""));
        }
        let name = text(condition, "name");
        super::checks::required_name(faults, &format!("{path}.name"), name, qualified_name_errors);
        if !name.is_empty() && !names.insert(name) {
            faults.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
    }
}
