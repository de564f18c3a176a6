//! LimitRange: how much one container, pod or claim of a namespace may ask for, and what it gets when it asks for nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cells::created_at_column;
use super::checks::{Faults, invalid_each, unique};
use super::fields::{entries, get, items_mut, list, object_at, set, text};
use super::pod_template::canonical_quantities;
use super::row::row;
use crate::names::qualified_name_errors;
use crate::table::name_column;
use crate::{Behaviour, FieldError, Kind, Quantity, Scope};

const MAPS: &[&str] = &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "LimitRange", "limitranges", Scope::Namespaced)
        .short(&["limits"])
        .columns(vec![name_column(), created_at_column()])
        .behaviour(LimitRange)
        .build()
}

struct LimitRange;

impl Behaviour for LimitRange {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        for limit in items_mut(spec, "limits").filter(|limit| limit.is_object()) {
            for map in MAPS {
                canonical_quantities(limit, map);
            }
            if text(limit, "type") == "Container" {
                fill(limit, "default", "max");
                fill(limit, "defaultRequest", "default");
                fill(limit, "defaultRequest", "min");
            }
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let mut types = BTreeSet::new();
        for (at, limit) in list(get(object, "spec").unwrap_or(&empty), "limits").iter().enumerate() {
            item(&mut faults, limit, &format!("spec.limits[{at}]"), &mut types);
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// What `from` says and `to` does not.
fn fill(limit: &mut Value, to: &str, from: &str) {
    let known: Vec<(String, Value)> = entries(limit, from).map(|(name, value)| (name.clone(), value.clone())).collect();
    if known.is_empty() {
        return;
    }
    if let Some(target) = object_at(limit, to) {
        for (name, value) in known {
            if target.get(&name).is_none_or(Value::is_null) {
                set(target, &name, value);
            }
        }
    }
}

fn item(faults: &mut Faults, limit: &Value, path: &str, types: &mut BTreeSet<String>) {
    let kind = text(limit, "type");
    let of_type = format!("{path}.type");
    invalid_each(faults, &of_type, kind, qualified_name_errors(kind));
    if !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind) {
        let detail = "must be a standard limit type or fully qualified";
        faults.push(FieldError::invalid(of_type.as_str(), &json!(kind), detail));
    }
    unique(faults, types, &of_type, kind);
    for map in MAPS {
        if kind == "Pod" && map.starts_with("default") {
            if entries(limit, map).next().is_some() {
                faults
                    .push(FieldError::forbidden(format!("{path}.{map}"), "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, value) in entries(limit, map) {
            resource(faults, kind, name, value, &format!("{path}.{map}[{name}]"));
        }
    }
    if kind == "PersistentVolumeClaim" {
        let says = |map: &str| limit.get(map).is_some_and(|map| map.get("storage").is_some());
        if !says("min") && !says("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            faults.push(FieldError::required(format!("{path}.limits"), detail));
        }
    }
    let names: BTreeSet<&String> = MAPS.iter().flat_map(|map| entries(limit, map)).map(|(name, _)| name).collect();
    for name in names {
        order(faults, limit, name, path);
    }
}

fn resource(faults: &mut Faults, kind: &str, name: &str, value: &Value, path: &str) {
    let wrong = qualified_name_errors(name);
    let standard = ["cpu", "memory", "ephemeral-storage", "storage"].contains(&name) || name.starts_with("hugepages-");
    invalid_each(faults, path, name, wrong);
    if !name.contains('/') && !standard {
        faults.push(FieldError::invalid(path, &json!(name), "must be a standard resource type or fully qualified"));
        if ["Pod", "Container"].contains(&kind) {
            faults.push(FieldError::invalid(path, &json!(name), "must be a standard resource for containers"));
        }
    }
    if let Err(error) = Quantity::from_json(value) {
        faults.push(FieldError::invalid(path, value, &error.to_string()));
    }
}

/// What is least, asked for, given and most has to be in this order.
fn order(faults: &mut Faults, limit: &Value, name: &str, path: &str) {
    let amounts: BTreeMap<&str, Quantity> =
        MAPS.iter().filter_map(|map| Some((*map, Quantity::from_json(limit.get(map)?.get(name)?).ok()?))).collect();
    let pairs = [
        ("min", "max", "min", "min", "min value", "max value"),
        ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"),
        ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("min", "default", "default", "min", "min value", "default value"),
        ("default", "max", "default", "max", "default value", "max value"),
    ];
    for (less, more, at, shown, less_name, more_name) in pairs {
        let (Some(low), Some(high)) = (amounts.get(less), amounts.get(more)) else { continue };
        if low > high {
            let detail = format!("{less_name} {low} is greater than {more_name} {high}");
            let value = amounts.get(shown).map(ToString::to_string).unwrap_or_default();
            faults.push(FieldError::invalid(format!("{path}.{at}[{name}]"), &json!(value), &detail));
        }
    }
    ratio(faults, &amounts, &format!("{path}.maxLimitRequestRatio[{name}]"));
    let overcommit = !name.contains('/') && !name.starts_with("hugepages-");
    if let (Some(limit), Some(request), false) = (amounts.get("default"), amounts.get("defaultRequest"), overcommit)
        && limit != request
    {
        let detail = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
        faults.push(FieldError::invalid(format!("{path}.default[{name}]"), &json!(limit.to_string()), &detail));
    }
}

fn ratio(faults: &mut Faults, amounts: &BTreeMap<&str, Quantity>, path: &str) {
    let Some(ratio) = amounts.get("maxLimitRequestRatio") else { return };
    let shown = json!(ratio.to_string());
    if *ratio < Quantity::from_units(1, crate::quantity::Format::Decimal) {
        faults.push(FieldError::invalid(path, &shown, &format!("ratio {ratio} is less than 1")));
    }
    if let (Some(low), Some(high)) = (amounts.get("min"), amounts.get("max")) {
        let most = high.as_f64() / low.as_f64();
        if ratio.as_f64() > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            faults.push(FieldError::invalid(path, &shown, &detail));
        }
    }
}
