//! What counts as a pod's failure, and when a Job has succeeded early.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::indexes::total;
use crate::FieldError;
use crate::kinds::checks::{Faults, NON_NEGATIVE, invalid_each, invalid_unseen};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::names::qualified_name_errors;

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATES: &[&str] = &["False", "True", "Unknown"];

/// `valid values: ["In" "NotIn"]`
fn valid_values(allowed: &[&str]) -> String {
    let quoted: Vec<String> = allowed.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

/// A text out of a closed set, which has to be there.
fn chosen(faults: &mut Faults, said: &str, allowed: &[&str], path: &str) {
    if said.is_empty() {
        faults.push(FieldError::required(path, &valid_values(allowed)));
    } else if !allowed.contains(&said) {
        faults.push(FieldError::not_supported(path, &json!(said), allowed));
    }
}

pub(super) fn failure_policy_faults(faults: &mut Faults, spec: &Value, policy: &Value, path: &str) {
    let rules = list(policy, "rules");
    let path = format!("{path}.rules");
    if rules.len() > RULES_MAX {
        faults.push(FieldError::too_many(path.as_str(), rules.len(), RULES_MAX));
    }
    let pod = spec.pointer("/template/spec").unwrap_or(&Value::Null);
    let containers = list(pod, "containers").iter().chain(list(pod, "initContainers"));
    let containers: BTreeSet<&str> = containers.map(|container| text(container, "name")).collect();
    for (at, rule) in rules.iter().enumerate() {
        failure_rule(faults, spec, rule, &containers, &format!("{path}[{at}]"));
    }
}

fn failure_rule(faults: &mut Faults, spec: &Value, rule: &Value, containers: &BTreeSet<&str>, path: &str) {
    let action = text(rule, "action");
    chosen(faults, action, ACTIONS, &format!("{path}.action"));
    if action == "FailIndex" && !is_set(spec, "backoffLimitPerIndex") {
        let detail = "requires the backoffLimitPerIndex to be set";
        faults.push(FieldError::invalid(format!("{path}.action"), &json!(action), detail));
    }
    let codes = get(rule, "onExitCodes");
    let patterns = list(rule, "onPodConditions");
    if let Some(codes) = codes {
        exit_codes(faults, codes, containers, &format!("{path}.onExitCodes"));
    }
    let of_conditions = format!("{path}.onPodConditions");
    if patterns.len() > PATTERNS_MAX {
        faults.push(FieldError::too_many(of_conditions.as_str(), patterns.len(), PATTERNS_MAX));
    }
    for (at, pattern) in patterns.iter().enumerate() {
        let path = format!("{of_conditions}[{at}]");
        let kind = text(pattern, "type");
        invalid_each(faults, &format!("{path}.type"), kind, qualified_name_errors(kind));
        chosen(faults, text(pattern, "status"), STATES, &format!("{path}.status"));
    }
    match (codes.is_some(), !patterns.is_empty()) {
        (true, true) => {
            faults.push(invalid_unseen(path, "specifying both OnExitCodes and OnPodConditions is not supported"));
        }
        (false, false) => {
            faults.push(invalid_unseen(path, "specifying one of OnExitCodes and OnPodConditions is required"));
        }
        _ => {}
    }
}

fn exit_codes(faults: &mut Faults, rule: &Value, containers: &BTreeSet<&str>, path: &str) {
    let operator = text(rule, "operator");
    chosen(faults, operator, OPERATORS, &format!("{path}.operator"));
    if let Some(name) = rule.get("containerName").and_then(Value::as_str)
        && !containers.contains(name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        faults.push(FieldError::invalid(format!("{path}.containerName"), &json!(name), detail));
    }
    let path = format!("{path}.values");
    let values = list(rule, "values");
    if values.is_empty() {
        faults.push(FieldError::invalid(path.as_str(), &json!(values), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        faults.push(FieldError::too_many(path.as_str(), values.len(), EXIT_CODES_MAX));
    }
    let mut seen = BTreeSet::new();
    let mut last = i64::MIN;
    let mut ordered = true;
    for (at, value) in values.iter().enumerate() {
        let code = value.as_i64().unwrap_or_default();
        let at = format!("{path}[{at}]");
        if operator == "In" && code == 0 {
            faults.push(FieldError::invalid(at.as_str(), value, "must not be 0 for the In operator"));
        }
        if !seen.insert(code) {
            faults.push(FieldError::duplicate(at, value));
        }
        ordered &= code >= last;
        last = code;
    }
    if !ordered {
        faults.push(FieldError::invalid(path, &json!(values), "must be ordered"));
    }
}

pub(super) fn success_policy_faults(faults: &mut Faults, spec: &Value, policy: &Value, path: &str) {
    let path = format!("{path}.rules");
    let rules = list(policy, "rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        faults.push(FieldError::required(path.as_str(), detail));
    }
    if rules.len() > RULES_MAX {
        faults.push(FieldError::too_many(path.as_str(), rules.len(), RULES_MAX));
    }
    for (at, rule) in rules.iter().enumerate() {
        success_rule(faults, int(spec, "completions").unwrap_or_default(), rule, &format!("{path}[{at}]"));
    }
}

fn success_rule(faults: &mut Faults, completions: i64, rule: &Value, path: &str) {
    let indexes = rule.get("succeededIndexes").and_then(Value::as_str);
    let count = int(rule, "succeededCount");
    if indexes.is_none() && count.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        faults.push(FieldError::required(path, detail));
    }
    let mut named = None;
    if let Some(indexes) = indexes {
        let at = format!("{path}.succeededIndexes");
        if indexes.len() > INDEXES_BYTES_MAX {
            faults.push(FieldError::too_long(at.as_str(), INDEXES_BYTES_MAX));
        }
        match total(indexes, completions) {
            Ok(total) => named = Some(total),
            Err(why) => {
                named = Some(0);
                let detail = format!("error parsing succeededIndexes: {why}");
                faults.push(FieldError::invalid(at, &json!(indexes), &detail));
            }
        }
    }
    let Some(count) = count else { return };
    let at = format!("{path}.succeededCount");
    if count < 0 {
        faults.push(FieldError::invalid(at.as_str(), &json!(count), NON_NEGATIVE));
    }
    let limits = [
        (Some(completions), "the number of specified completions"),
        (named, "the number of indexes in the specified succeededIndexes field"),
    ];
    for (limit, meaning) in limits {
        if let Some(limit) = limit.filter(|limit| count > *limit) {
            let detail = format!("must be less than or equal to {limit} ({meaning})");
            faults.push(FieldError::invalid(at.as_str(), &json!(count), &detail));
        }
    }
}
