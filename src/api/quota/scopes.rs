//! Which objects a quota is about.

use serde_json::Value;

use super::{list, text};
use crate::kinds::pod::quality_of_service;

/// Whether a quota with this spec counts `object`: every one of its scopes has to match.
pub fn applies(spec: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let plain = list(spec, "/scopes").iter().filter_map(Value::as_str).map(|scope| (scope, "Exists", &[][..]));
    let selected = list(spec, "/scopeSelector/matchExpressions")
        .iter()
        .map(|term| (text(term, "/scopeName"), text(term, "/operator"), list(term, "/values")));
    plain.chain(selected).all(|(scope, operator, values)| match (group, plural) {
        ("", "pods") => pod(scope, operator, values, object),
        ("", "persistentvolumeclaims") => claim(scope, operator, values, object),
        // Whatever else is counted is counted by quotas without scopes.
        _ => false,
    })
}

fn pod(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let ends =
        || pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0);
    let modest = || quality_of_service(pod) == "BestEffort";
    match scope {
        "Terminating" => ends(),
        "NotTerminating" => !ends(),
        "BestEffort" => modest(),
        "NotBestEffort" => !modest(),
        "PriorityClass" => selects(operator, values, text(pod, "/spec/priorityClassName")),
        "CrossNamespacePodAffinity" => looks_elsewhere(pod),
        _ => false,
    }
}

fn claim(scope: &str, operator: &str, values: &[Value], claim: &Value) -> bool {
    if scope != "VolumeAttributesClass" {
        return false;
    }
    let names = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    let found: Vec<&str> = names.iter().map(|pointer| text(claim, pointer)).filter(|name| !name.is_empty()).collect();
    match found.as_slice() {
        [] => selects(operator, values, ""),
        found => found.iter().any(|name| selects(operator, values, name)),
    }
}

/// A term of a scope selector over one name, which may be missing.
fn selects(operator: &str, values: &[Value], name: &str) -> bool {
    let listed = || values.iter().any(|value| value.as_str() == Some(name));
    match operator {
        "Exists" => !name.is_empty(),
        "DoesNotExist" => name.is_empty(),
        "In" => !name.is_empty() && listed(),
        "NotIn" => name.is_empty() || !listed(),
        _ => false,
    }
}

/// Whether a term of the pod's affinity is about pods of other namespaces.
fn looks_elsewhere(pod: &Value) -> bool {
    let elsewhere = |term: &Value| {
        !list(term, "/namespaces").is_empty()
            || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|side| {
        let at = |list_name: &str| format!("/spec/affinity/{side}/{list_name}DuringSchedulingIgnoredDuringExecution");
        let required = list(pod, &at("required")).iter().any(elsewhere);
        let preferred = list(pod, &at("preferred")).iter();
        required || preferred.filter_map(|term| term.get("podAffinityTerm")).any(elsewhere)
    })
}
