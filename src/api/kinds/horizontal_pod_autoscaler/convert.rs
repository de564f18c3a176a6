//! The two forms of an autoscaler. What `v1` has no fields for is kept in annotations, in the forms that Kubernetes gives
//! it there: metrics and conditions as `v1` once had them, the behaviour under the names of its internal fields.

use serde_json::{Map, Value, json};

use super::cpu_metric;
use crate::kinds::fields::{default_to, get, int, is_set, list, object_at, remove, set, text};
use crate::meta;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// How a metric names its parts: in v2, under `target` or `current`, and in the old form.
struct Words {
    whole: &'static str,
    value: &'static str,
    average: &'static str,
    share: &'static str,
}

const WANTED: Words =
    Words { whole: "target", value: "targetValue", average: "targetAverageValue", share: "targetAverageUtilization" };
const SEEN: Words = Words {
    whole: "current",
    value: "currentValue",
    average: "currentAverageValue",
    share: "currentAverageUtilization",
};

/// An `autoscaling/v2` autoscaler as `autoscaling/v1` shows it.
pub(super) fn to_v1(object: &mut Value) {
    set(object, "apiVersion", "autoscaling/v1");
    let mut notes = Map::new();
    if let Some(spec) = object.get_mut("spec") {
        let all = list(spec, "metrics").to_vec();
        let percent = all
            .iter()
            .find(|metric| is_cpu(metric))
            .and_then(|metric| metric.pointer("/resource/target/averageUtilization").and_then(Value::as_i64));
        let others: Vec<Value> =
            all.iter().filter(|metric| !is_cpu_share(metric)).map(|metric| old_metric(metric, &WANTED)).collect();
        remove(spec, "metrics");
        if let Some(percent) = percent {
            set(spec, "targetCPUUtilizationPercentage", percent);
        }
        if !others.is_empty() {
            notes.insert(METRICS.to_owned(), json!(json!(others).to_string()));
        }
        if let Some(behavior) = get(spec, "behavior").cloned() {
            notes.insert(BEHAVIOR.to_owned(), json!(recased(&behavior, str::to_uppercase).to_string()));
        }
        remove(spec, "behavior");
    }
    if let Some(status) = object.get_mut("status").filter(|status| status.is_object()) {
        let current = list(status, "currentMetrics").to_vec();
        let conditions = list(status, "conditions").to_vec();
        let shares = current.iter().filter(|metric| is_cpu(metric));
        let share = shares.filter_map(|metric| metric.pointer("/resource/current/averageUtilization")).next_back();
        if let Some(share) = share.and_then(Value::as_i64) {
            set(status, "currentCPUUtilizationPercentage", share);
        }
        remove(status, "currentMetrics");
        remove(status, "conditions");
        default_to(status, "currentReplicas", 0);
        default_to(status, "desiredReplicas", 0);
        if !current.is_empty() {
            let old: Vec<Value> = current.iter().map(|metric| old_metric(metric, &SEEN)).collect();
            notes.insert(CURRENT.to_owned(), json!(json!(old).to_string()));
        }
        if !conditions.is_empty() {
            notes.insert(CONDITIONS.to_owned(), json!(json!(conditions).to_string()));
        }
    }
    take_notes(object);
    if !notes.is_empty() && object.is_object() {
        let annotations = meta::metadata_mut(object).entry("annotations").or_insert(Value::Null);
        if !annotations.is_object() {
            *annotations = json!({});
        }
        for (key, value) in notes {
            set(annotations, &key, value);
        }
    }
}

/// The way back.
pub(super) fn to_v2(object: &mut Value) {
    set(object, "apiVersion", "autoscaling/v2");
    let read = |object: &Value, key: &str| -> Option<Value> {
        meta::annotation(object, key).and_then(|text| serde_json::from_str(text).ok())
    };
    let (metrics, behavior) = (read(object, METRICS), read(object, BEHAVIOR));
    let (current, conditions) = (read(object, CURRENT), read(object, CONDITIONS));
    take_notes(object);
    if let Some(spec) = object_at(object, "spec") {
        let mut all: Vec<Value> = match metrics {
            Some(Value::Array(others)) => others.iter().map(|metric| new_metric(metric, &WANTED)).collect(),
            _ => Vec::new(),
        };
        if let Some(percent) = int(spec, "targetCPUUtilizationPercentage") {
            all.push(cpu_metric(percent));
        }
        remove(spec, "targetCPUUtilizationPercentage");
        if !all.is_empty() {
            set(spec, "metrics", all);
        }
        if let Some(behavior) = behavior.filter(Value::is_object) {
            set(spec, "behavior", recased(&behavior, str::to_lowercase));
        }
    }
    let Some(status) = object.get_mut("status").filter(|status| status.is_object()) else { return };
    if let Some(share) = int(status, "currentCPUUtilizationPercentage") {
        let seen = json!({ "averageUtilization": share, "averageValue": "0" });
        let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "current": seen } });
        set(status, "currentMetrics", json!([metric]));
    }
    remove(status, "currentCPUUtilizationPercentage");
    if let Some(Value::Array(current)) = current {
        let new: Vec<Value> = current.iter().map(|metric| new_metric(metric, &SEEN)).collect();
        set(status, "currentMetrics", new);
    }
    if let Some(conditions) = conditions.filter(Value::is_array) {
        set(status, "conditions", conditions);
    }
    default_to(status, "desiredReplicas", 0);
    if !is_set(status, "currentMetrics") {
        set(status, "currentMetrics", Value::Null);
    }
}

fn take_notes(object: &mut Value) {
    let Some(annotations) = object.pointer_mut("/metadata/annotations").filter(|notes| notes.is_object()) else {
        return;
    };
    for key in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
        remove(annotations, key);
    }
    if annotations.as_object().is_some_and(Map::is_empty) {
        meta::unset(object, "annotations");
    }
}

fn is_cpu(metric: &Value) -> bool {
    text(metric, "type") == "Resource" && metric.get("resource").is_some_and(|resource| text(resource, "name") == "cpu")
}

fn is_cpu_share(metric: &Value) -> bool {
    is_cpu(metric) && metric.pointer("/resource/target/averageUtilization").is_some_and(|share| !share.is_null())
}

/// Names that begin with a capital letter become such that do not, or the other way round.
fn recased(value: &Value, case: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => {
            let renamed = map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
                let first = key.chars().next().map_or(0, char::len_utf8);
                (format!("{}{}", case(&key[..first]), &key[first..]), recased(value, case))
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => items.iter().map(|item| recased(item, case)).collect(),
        other => other.clone(),
    }
}

fn copy(from: &Value, field: &str, to: &mut Value, name: &str) {
    if let Some(value) = get(from, field) {
        set(to, name, value.clone());
    }
}

/// A metric of v2 in the old form.
fn old_metric(metric: &Value, words: &Words) -> Value {
    let empty = json!({});
    let kind = text(metric, "type");
    let mut old = json!({ "type": kind });
    for (field, source) in metric.as_object().into_iter().flatten().filter(|(_, source)| source.is_object()) {
        let amount = get(source, words.whole).unwrap_or(&empty);
        let named = get(source, "metric").unwrap_or(&empty);
        let mut part = json!({});
        match field.as_str() {
            "resource" | "containerResource" => {
                copy(source, "name", &mut part, "name");
                copy(source, "container", &mut part, "container");
                copy(amount, "averageUtilization", &mut part, words.share);
                copy(amount, "averageValue", &mut part, words.average);
            }
            "object" => {
                copy(source, "describedObject", &mut part, "target");
                copy(named, "name", &mut part, "metricName");
                copy(named, "selector", &mut part, "selector");
                copy(amount, "value", &mut part, words.value);
                default_to(&mut part, words.value, "0");
                copy(amount, "averageValue", &mut part, "averageValue");
            }
            _ => {
                copy(named, "name", &mut part, "metricName");
                let selector = if field == "external" { "metricSelector" } else { "selector" };
                copy(named, "selector", &mut part, selector);
                copy(amount, "averageValue", &mut part, words.average);
                if field == "external" {
                    copy(amount, "value", &mut part, words.value);
                }
            }
        }
        set(&mut old, field, part);
    }
    old
}

/// The way back.
fn new_metric(metric: &Value, words: &Words) -> Value {
    let mut new = json!({ "type": text(metric, "type") });
    for (field, source) in metric.as_object().into_iter().flatten().filter(|(_, source)| source.is_object()) {
        let (mut part, mut amount, mut named) = (json!({}), json!({}), json!({}));
        copy(source, words.average, &mut amount, "averageValue");
        let mut kind = "AverageValue";
        match field.as_str() {
            "resource" | "containerResource" => {
                copy(source, "name", &mut part, "name");
                copy(source, "container", &mut part, "container");
                copy(source, words.share, &mut amount, "averageUtilization");
                if is_set(source, words.share) {
                    kind = "Utilization";
                }
            }
            "object" => {
                copy(source, "target", &mut part, "describedObject");
                copy(source, "averageValue", &mut amount, "averageValue");
                if !is_set(source, "averageValue") {
                    copy(source, words.value, &mut amount, "value");
                    kind = "Value";
                }
                copy(source, "selector", &mut named, "selector");
            }
            _ => {
                copy(source, "selector", &mut named, "selector");
                copy(source, "metricSelector", &mut named, "selector");
                copy(source, words.value, &mut amount, "value");
                if is_set(source, words.value) {
                    kind = "Value";
                }
            }
        }
        copy(source, "metricName", &mut named, "name");
        if words.whole == "target" {
            set(&mut amount, "type", kind);
        }
        set(&mut part, words.whole, amount);
        if named.as_object().is_some_and(|named| !named.is_empty()) {
            set(&mut part, "metric", named);
        }
        set(&mut new, field, part);
    }
    new
}
