//! What is wrong with what an autoscaler measures.

use serde_json::{Value, json};

use super::{SOURCES, reference_faults};
use crate::kinds::checks::{Faults, invalid_each};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::names::{dns_label_errors, path_segment_errors, qualified_name_errors};
use crate::{FieldError, Quantity};

pub(super) fn metric_faults(faults: &mut Faults, spec: &Value) {
    let metrics = list(spec, "metrics");
    for (at, metric) in metrics.iter().enumerate() {
        one(faults, metric, &format!("spec.metrics[{at}]"));
    }
    // Beyond Kubernetes, which has no requests of pods to go by: those say as well when nobody asks for anything.
    let outside = metrics.iter().any(|metric| ["Object", "External", "Pods"].contains(&text(metric, "type")));
    if int(spec, "minReplicas") == Some(0) && !outside {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        faults.push(FieldError::forbidden("spec.metrics", detail));
    }
}

fn one(faults: &mut Faults, metric: &Value, path: &str) {
    let mut types: Vec<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    types.sort_unstable();
    let kind = text(metric, "type");
    let of_type = format!("{path}.type");
    if kind.is_empty() {
        faults.push(FieldError::required(of_type.as_str(), "must specify a metric source type"));
    }
    if !types.contains(&kind) {
        // Kubernetes says it twice: once for the set, once for having found no source.
        faults.push(FieldError::not_supported(of_type.as_str(), &json!(kind), &types));
    }
    let present: Vec<&str> = SOURCES.iter().map(|(_, field)| *field).filter(|field| is_set(metric, field)).collect();
    if let Some(first) = present.first() {
        source(faults, &metric[*first], first, &format!("{path}.{first}"));
    }
    let expected = SOURCES.iter().find(|(known, _)| *known == kind).map(|(_, field)| *field);
    match expected {
        Some(field) if !present.contains(&field) => {
            let detail = "must populate information for the given metric source";
            faults.push(FieldError::required(format!("{path}.{field}"), detail));
        }
        Some(_) => {}
        None => faults.push(FieldError::not_supported(of_type, &json!(kind), &types)),
    }
    if present.len() != 1 {
        for extra in present.into_iter().filter(|field| Some(*field) != expected) {
            let detail = "must populate the given metric source only";
            faults.push(FieldError::forbidden(format!("{path}.{extra}"), detail));
        }
    }
}

fn source(faults: &mut Faults, source: &Value, field: &str, path: &str) {
    let empty = json!({});
    let target = get(source, "target").unwrap_or(&empty);
    let of_target = format!("{path}.target");
    let (value, average) = (is_set(target, "value"), is_set(target, "averageValue"));
    let share = is_set(target, "averageUtilization");
    match field {
        "object" => {
            let described = source.get("describedObject").unwrap_or(&empty);
            reference_faults(faults, described, &format!("{path}.describedObject"));
            identifier(faults, source.get("metric").unwrap_or(&empty), &format!("{path}.metric"));
            target_faults(faults, target, &of_target);
            if !value && !average {
                let detail = "must set either a target value or averageValue";
                faults.push(FieldError::required(format!("{of_target}.averageValue"), detail));
            }
        }
        "external" => {
            identifier(faults, source.get("metric").unwrap_or(&empty), &format!("{path}.metric"));
            target_faults(faults, target, &of_target);
            if !value && !average {
                let detail = "must set either a target value for metric or a per-pod target";
                faults.push(FieldError::required(format!("{of_target}.averageValue"), detail));
            }
            if value && average {
                let detail = "may not set both a target value for metric and a per-pod target";
                faults.push(FieldError::forbidden(format!("{of_target}.value"), detail));
            }
        }
        "pods" => {
            identifier(faults, source.get("metric").unwrap_or(&empty), &format!("{path}.metric"));
            target_faults(faults, target, &of_target);
            if !average {
                let detail = "must specify a positive target averageValue";
                faults.push(FieldError::required(format!("{of_target}.averageValue"), detail));
            }
        }
        _ => {
            resource(faults, source, field, path);
            target_faults(faults, target, &of_target);
            if !share && !average {
                let detail = "must set either a target raw value or a target utilization";
                faults.push(FieldError::required(format!("{of_target}.averageUtilization"), detail));
            }
            if share && average {
                let detail = "may not set both a target raw value and a target utilization";
                faults.push(FieldError::forbidden(format!("{of_target}.averageValue"), detail));
            }
        }
    }
}

fn resource(faults: &mut Faults, source: &Value, field: &str, path: &str) {
    let name = text(source, "name");
    let of_name = format!("{path}.name");
    if name.is_empty() {
        faults.push(FieldError::required(of_name.as_str(), "must specify a resource name"));
    }
    if field != "containerResource" {
        return;
    }
    if !name.is_empty() {
        invalid_each(faults, &of_name, name, qualified_name_errors(name));
        let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
        if !name.contains('/') && !standard {
            let detail = "must be a standard resource for containers";
            faults.push(FieldError::invalid(of_name, &json!(name), detail));
        }
    }
    let container = text(source, "container");
    let of_container = format!("{path}.container");
    if container.is_empty() {
        faults.push(FieldError::required(of_container, "must specify a container"));
    } else {
        invalid_each(faults, &of_container, container, dns_label_errors(container));
    }
}

fn identifier(faults: &mut Faults, metric: &Value, path: &str) {
    let name = text(metric, "name");
    let path = format!("{path}.name");
    if name.is_empty() {
        faults.push(FieldError::required(path, "must specify a metric name"));
    } else {
        invalid_each(faults, &path, name, path_segment_errors(name));
    }
}

fn target_faults(faults: &mut Faults, target: &Value, path: &str) {
    let kind = text(target, "type");
    let of_type = format!("{path}.type");
    if kind.is_empty() {
        faults.push(FieldError::required(of_type.as_str(), "must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        faults.push(FieldError::invalid(of_type, &json!(kind), detail));
    }
    for field in ["value", "averageValue"] {
        let Some(amount) = get(target, field) else { continue };
        let at = format!("{path}.{field}");
        match Quantity::from_json(amount) {
            Err(error) => faults.push(FieldError::invalid(at, amount, &error.to_string())),
            Ok(read) if read.is_negative() || read.is_zero() => {
                faults.push(FieldError::invalid(at, &json!(read.to_string()), "must be positive"));
            }
            Ok(_) => {}
        }
    }
    if let Some(share) = int(target, "averageUtilization").filter(|share| *share < 1) {
        faults.push(FieldError::invalid(format!("{path}.averageUtilization"), &json!(share), "must be greater than 0"));
    }
}
