//! What is allowed in a pod's spec and yet is likely a mistake.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Quantity;
use crate::kinds::fields::{entries, int, list, text};

/// Sentences for the `Warning:` header about the pod spec that stands at `path`.
pub fn pod_spec_warnings(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let rule = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{path}.terminationGracePeriodSeconds: {rule}"));
    }
    let mut ports: BTreeMap<(i64, &str), String> = BTreeMap::new();
    for field in ["initContainers", "containers"] {
        for (at, container) in list(spec, field).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            hidden_variables(&mut warnings, container, &path);
            fractional_bytes(&mut warnings, container, &path);
            if field == "initContainers" {
                continue;
            }
            for (at, port) in list(container, "ports").iter().enumerate() {
                let path = format!("{path}.ports[{at}]");
                let key = (int(port, "containerPort").unwrap_or_default(), text(port, "protocol"));
                match ports.get(&key) {
                    Some(first) => warnings.push(format!("{path}: duplicate port definition with {first}")),
                    None => drop(ports.insert(key, path)),
                }
            }
        }
    }
    warnings
}

fn hidden_variables(warnings: &mut Vec<String>, container: &Value, path: &str) {
    let mut seen = BTreeMap::new();
    for (at, variable) in list(container, "env").iter().enumerate() {
        let name = text(variable, "name");
        if seen.insert(name, at).is_some() {
            let rule = "hides previous definition of";
            warnings.push(format!("{path}.env[{at}]: {rule} {name:?}, which may be dropped when using apply"));
        }
    }
}

fn fractional_bytes(warnings: &mut Vec<String>, container: &Value, path: &str) {
    let resources = container.get("resources").unwrap_or(&Value::Null);
    for side in ["limits", "requests"] {
        for (name, value) in entries(resources, side).filter(|(name, _)| name.ends_with("memory")) {
            if Quantity::from_json(value).is_ok_and(|amount| !amount.is_whole()) {
                let shown = value.as_str().unwrap_or_default();
                let rule = format!("fractional byte value {shown:?} is invalid, must be an integer");
                warnings.push(format!("{path}.resources.{side}[{name}]: {rule}"));
            }
        }
    }
}
