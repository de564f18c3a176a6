//! What is wrong with what a container requests and is limited to.

use serde_json::{Value, json};

use crate::kinds::checks::{Faults, NON_NEGATIVE, invalid_each};
use crate::kinds::fields::{entries, get, list};
use crate::names::qualified_name_errors;
use crate::{FieldError, Quantity};

fn is_standard(name: &str) -> bool {
    ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-")
}

/// A resource of somebody else's making, with a domain before its name.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

pub(super) fn resource_faults(faults: &mut Faults, container: &Value, path: &str) {
    let Some(resources) = get(container, "resources") else { return };
    let path = format!("{path}.resources");
    for side in ["limits", "requests"] {
        for (name, value) in entries(resources, side) {
            one_resource(faults, name, value, &format!("{path}.{side}[{name}]"));
        }
    }
    for (name, value) in entries(resources, "requests") {
        let Ok(request) = Quantity::from_json(value) else { continue };
        let limit = resources.get("limits").and_then(|limits| limits.get(name));
        let overcommit = !name.contains('/') && !name.starts_with("hugepages-");
        let Some(limit) = limit.and_then(|limit| Quantity::from_json(limit).ok()) else {
            if !overcommit {
                let detail = "Limit must be set for non overcommitable resources";
                faults.push(FieldError::required(format!("{path}.limits"), detail));
            }
            continue;
        };
        let at = format!("{path}.requests");
        if request != limit && !overcommit {
            let detail = format!("must be equal to {name} limit of {limit}");
            faults.push(FieldError::invalid(at, &json!(request.to_string()), &detail));
        } else if request > limit {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            faults.push(FieldError::invalid(at, &json!(request.to_string()), &detail));
        }
    }
}

fn one_resource(faults: &mut Faults, name: &str, value: &Value, path: &str) {
    let wrong = qualified_name_errors(name);
    if !wrong.is_empty() {
        invalid_each(faults, path, name, wrong);
        return;
    }
    if !name.contains('/') && !is_standard(name) {
        faults.push(FieldError::invalid(path, &json!(name), "must be a standard resource type or fully qualified"));
        faults.push(FieldError::invalid(path, &json!(name), "must be a standard resource for containers"));
        return;
    }
    match Quantity::from_json(value) {
        Err(error) => faults.push(FieldError::invalid(path, value, &error.to_string())),
        Ok(amount) if amount.is_negative() => {
            faults.push(FieldError::invalid(path, &json!(amount.to_string()), NON_NEGATIVE));
        }
        Ok(amount) if is_extended(name) && !amount.is_whole() => {
            faults.push(FieldError::invalid(path, &json!(amount.to_string()), "must be an integer"));
        }
        Ok(_) => {}
    }
}

/// What is wrong with what a pod requests and is limited to as a whole.
pub(super) fn pod_level_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let Some(resources) = get(spec, "resources") else { return };
    resource_faults(faults, spec, path);
    let path = format!("{path}.resources");
    for side in ["limits", "requests"] {
        for (name, value) in entries(resources, side) {
            let at = format!("{path}.{side}[{name}]");
            if !["cpu", "memory"].contains(&name.as_str()) && !name.starts_with("hugepages-") {
                let supported = ["cpu", "hugepages-", "memory"];
                faults.push(FieldError::not_supported(at, &json!(name), &supported));
                continue;
            }
            let Ok(whole) = Quantity::from_json(value) else { continue };
            let shares = list(spec, "containers")
                .iter()
                .filter_map(|container| Quantity::from_json(container.get("resources")?.get(side)?.get(name)?).ok());
            let together = shares.reduce(|sum, share| sum + share).filter(|_| side == "requests");
            if let Some(together) = together.filter(|together| *together > whole) {
                let detail = format!("must be greater than or equal to aggregate container requests of {together}");
                faults.push(FieldError::invalid(at, &json!(whole.to_string()), &detail));
            }
        }
    }
}
