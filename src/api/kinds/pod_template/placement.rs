//! Where a pod may run: tolerations, affinity, spreading, gates.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each, one_of, required_name, unique};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::names::{label_value_errors, qualified_name_errors};
use crate::selector::validate_label_selector;

pub(super) fn placement_faults(faults: &mut Faults, spec: &Value, path: &str) {
    for (at, toleration) in list(spec, "tolerations").iter().enumerate() {
        toleration_faults(faults, toleration, &format!("{path}.tolerations[{at}]"));
    }
    if let Some(affinity) = get(spec, "affinity") {
        affinity_faults(faults, affinity, &format!("{path}.affinity"));
    }
    let mut spread = Vec::new();
    for (at, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let at = format!("{path}.topologySpreadConstraints[{at}]");
        spread_faults(faults, constraint, &at);
        let pair = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        if spread.contains(&pair) {
            let shown = format!("{{{}, {}}}", pair.0, pair.1);
            faults.push(FieldError::duplicate(format!("{at}.{{topologyKey, whenUnsatisfiable}}"), &json!(shown)));
        }
        spread.push(pair);
    }
    let mut gates = BTreeSet::new();
    for (at, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let at = format!("{path}.schedulingGates[{at}]");
        required_name(faults, &format!("{at}.name"), text(gate, "name"), qualified_name_errors);
        unique(faults, &mut gates, &at, text(gate, "name"));
    }
    for (at, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        invalid_each(faults, &format!("{path}.readinessGates[{at}].conditionType"), kind, qualified_name_errors(kind));
    }
}

pub(crate) fn toleration_faults(faults: &mut Faults, toleration: &Value, path: &str) {
    let (key, operator, value) = (text(toleration, "key"), text(toleration, "operator"), text(toleration, "value"));
    if !key.is_empty() {
        invalid_each(faults, &format!("{path}.key"), key, qualified_name_errors(key));
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        faults.push(FieldError::invalid(format!("{path}.operator"), &json!(operator), detail));
    }
    if is_set(toleration, "tolerationSeconds") && text(toleration, "effect") != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        faults.push(FieldError::invalid(format!("{path}.effect"), &json!(text(toleration, "effect")), detail));
    }
    match operator {
        "" | "Equal" => {
            if !label_value_errors(value).is_empty() {
                invalid_each(faults, &format!("{path}.operator"), value, label_value_errors(value));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                let detail = "value must be empty when `operator` is 'Exists'";
                faults.push(FieldError::invalid(format!("{path}.operator"), &json!(operator), detail));
            }
        }
        _ => {
            let at = format!("{path}.operator");
            faults.push(FieldError::not_supported(at, &json!(operator), &["Equal", "Exists"]));
        }
    }
    one_of(faults, toleration, path, "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"], false);
}

fn affinity_faults(faults: &mut Faults, affinity: &Value, path: &str) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = get(affinity, "nodeAffinity") {
        let path = format!("{path}.nodeAffinity");
        if let Some(selector) = get(node, required) {
            node_selector_faults(faults, selector, &format!("{path}.{required}"));
        }
        for (at, weighted) in list(node, preferred).iter().enumerate() {
            let path = format!("{path}.{preferred}[{at}]");
            weight_faults(faults, weighted, &path);
            if let Some(term) = get(weighted, "preference") {
                node_term_faults(faults, term, &format!("{path}.preference"));
            }
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = get(affinity, kind) else { continue };
        for (at, term) in list(pods, required).iter().enumerate() {
            pod_term_faults(faults, term, &format!("{path}.{kind}.{required}[{at}]"));
        }
        for (at, weighted) in list(pods, preferred).iter().enumerate() {
            let path = format!("{path}.{kind}.{preferred}[{at}]");
            weight_faults(faults, weighted, &path);
            pod_term_faults(
                faults,
                weighted.get("podAffinityTerm").unwrap_or(&Value::Null),
                &format!("{path}.podAffinityTerm"),
            );
        }
    }
}

/// What is wrong with a NodeSelector that stands at `path`.
pub(crate) fn node_selector_faults(faults: &mut Faults, selector: &Value, path: &str) {
    let terms = list(selector, "nodeSelectorTerms");
    let path = format!("{path}.nodeSelectorTerms");
    if terms.is_empty() {
        faults.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (at, term) in terms.iter().enumerate() {
        node_term_faults(faults, term, &format!("{path}[{at}]"));
    }
}

fn weight_faults(faults: &mut Faults, weighted: &Value, path: &str) {
    let weight = int(weighted, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        faults.push(FieldError::invalid(format!("{path}.weight"), &json!(weight), "must be in the range 1-100"));
    }
}

fn node_term_faults(faults: &mut Faults, term: &Value, path: &str) {
    for (at, expression) in list(term, "matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let values = list(expression, "values").len();
        match text(expression, "operator") {
            "In" | "NotIn" if values == 0 => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                faults.push(FieldError::required(format!("{path}.values"), detail));
            }
            "Exists" | "DoesNotExist" if values > 0 => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                faults.push(FieldError::forbidden(format!("{path}.values"), detail));
            }
            "Gt" | "Lt" if values != 1 => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                faults.push(FieldError::required(format!("{path}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                let detail = "not a valid selector operator";
                faults.push(FieldError::invalid(format!("{path}.operator"), &json!(other), detail));
            }
        }
        let key = text(expression, "key");
        invalid_each(faults, &format!("{path}.key"), key, qualified_name_errors(key));
    }
}

fn pod_term_faults(faults: &mut Faults, term: &Value, path: &str) {
    if let Some(selector) = get(term, "labelSelector") {
        faults.extend(validate_label_selector(selector, &format!("{path}.labelSelector")));
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        faults.push(FieldError::required(format!("{path}.topologyKey"), "can not be empty"));
    } else {
        invalid_each(faults, &format!("{path}.topologyKey"), key, qualified_name_errors(key));
    }
}

fn spread_faults(faults: &mut Faults, constraint: &Value, path: &str) {
    let skew = int(constraint, "maxSkew").unwrap_or_default();
    if skew <= 0 {
        faults.push(FieldError::invalid(format!("{path}.maxSkew"), &json!(skew), "must be greater than zero"));
    }
    if text(constraint, "topologyKey").is_empty() {
        faults.push(FieldError::required(format!("{path}.topologyKey"), "can not be empty"));
    }
    one_of(faults, constraint, path, "whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"], true);
    for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
        one_of(faults, constraint, path, field, &["Honor", "Ignore"], false);
    }
    if let Some(domains) = int(constraint, "minDomains") {
        let at = format!("{path}.minDomains");
        if domains <= 0 {
            faults.push(FieldError::invalid(at.as_str(), &json!(domains), "must be greater than zero"));
        }
        let when = text(constraint, "whenUnsatisfiable");
        if when != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
            faults.push(FieldError::invalid(at, &json!(domains), &detail));
        }
    }
    if !list(constraint, "matchLabelKeys").is_empty() && !is_set(constraint, "labelSelector") {
        let detail = "must not be specified when labelSelector is not set";
        faults.push(FieldError::forbidden(format!("{path}.matchLabelKeys"), detail));
    }
    if let Some(selector) = get(constraint, "labelSelector") {
        faults.extend(validate_label_selector(selector, &format!("{path}.labelSelector")));
    }
}
