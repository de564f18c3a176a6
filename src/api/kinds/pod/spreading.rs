//! `matchLabelKeys`: a new pod's rules about other pods are made to speak of pods that share some of its own labels.

use serde_json::{Value, json};

use crate::kinds::fields::{items_mut, list, object_at, set};
use crate::meta;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Writes the labels that the rules name by their keys into the rules' selectors.
pub(super) fn name_own_labels(pod: &mut Value) {
    let labels: Vec<(String, String)> =
        meta::labels(pod).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let Some(spec) = pod.get_mut("spec") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = spec.pointer_mut(&format!("/affinity/{kind}")) else { continue };
        for term in items_mut(rules, REQUIRED) {
            name_in(term, &labels);
        }
        for weighted in items_mut(rules, PREFERRED) {
            if let Some(term) = weighted.get_mut("podAffinityTerm") {
                name_in(term, &labels);
            }
        }
    }
    for constraint in items_mut(spec, "topologySpreadConstraints") {
        name_in(constraint, &labels);
    }
}

fn name_in(term: &mut Value, labels: &[(String, String)]) {
    let mut named = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in list(term, field).iter().filter_map(Value::as_str) {
            if let Some((_, value)) = labels.iter().find(|(label, _)| label == key) {
                named.push(json!({ "key": key, "operator": operator, "values": [value] }));
            }
        }
    }
    if named.is_empty() || term.get("labelSelector").is_none_or(Value::is_null) {
        return;
    }
    let Some(selector) = object_at(term, "labelSelector") else { return };
    let mut all = list(selector, "matchExpressions").to_vec();
    named.retain(|expression| !all.contains(expression));
    all.extend(named);
    if !all.is_empty() {
        set(selector, "matchExpressions", all);
    }
}
