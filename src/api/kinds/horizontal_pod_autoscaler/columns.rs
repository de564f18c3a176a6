//! What is printed of an autoscaler.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::SOURCES;
use super::convert::to_v2;
use crate::Column;
use crate::kinds::cells::{NONE, UNKNOWN, age_column, column, name_column, or};
use crate::kinds::fields::{get, int_at, list_at, text, text_at};

/// So many metrics are printed.
const SHOWN: usize = 2;

/// The columns of v2.
pub(super) fn columns() -> Vec<Column> {
    around(|object, _| json!(targets(object)))
}

/// The columns of v1: the same, though its metrics have to be looked for.
pub(super) fn v1_columns() -> Vec<Column> {
    around(|object, _| {
        let mut object = object.clone();
        to_v2(&mut object);
        json!(targets(&object))
    })
}

fn around(targets: fn(&Value, Timestamp) -> Value) -> Vec<Column> {
    vec![
        name_column(),
        column("Reference", "What is scaled.", |object, _| {
            let target = object.pointer("/spec/scaleTargetRef").unwrap_or(&Value::Null);
            json!(format!("{}/{}", text(target, "kind"), text(target, "name")))
        }),
        column("Targets", "What is measured, and what it should be.", targets),
        column("MinPods", "The least number of pods.", |object, _| {
            let least = object.pointer("/spec/minReplicas").and_then(Value::as_i64);
            json!(least.map_or("<unset>".to_owned(), |least| least.to_string()))
        }),
        column("MaxPods", "The largest number of pods.", |object, _| {
            json!(int_at(object, "/spec/maxReplicas").to_string())
        }),
        column("Replicas", "The number of pods.", |object, _| {
            json!(int_at(object, "/status/currentReplicas").to_string())
        }),
        age_column(),
    ]
}

fn targets(object: &Value) -> String {
    let wanted = list_at(object, "/spec/metrics");
    if wanted.is_empty() {
        return NONE.to_owned();
    }
    let seen = list_at(object, "/status/currentMetrics");
    let all: Vec<String> = wanted.iter().enumerate().map(|(at, metric)| target(metric, seen.get(at))).collect();
    if all.len() <= SHOWN {
        return all.join(", ");
    }
    format!("{} + {} more...", all[..SHOWN].join(", "), all.len() - SHOWN)
}

fn target(metric: &Value, seen: Option<&Value>) -> String {
    let kind = text(metric, "type");
    let Some((_, field)) = SOURCES.iter().find(|(known, _)| *known == kind) else { return "<unknown type>".to_owned() };
    let source = metric.get(*field).unwrap_or(&Value::Null);
    let seen = seen.and_then(|seen| get(seen, field));
    let now = |pointer: &str| or(seen.map(|seen| text_at(seen, pointer)).unwrap_or_default(), UNKNOWN).to_owned();
    let average = text_at(source, "/target/averageValue");
    match kind {
        "Pods" => format!("{}/{average}", now("/current/averageValue")),
        "Object" | "External" if !average.is_empty() => format!("{}/{average} (avg)", now("/current/averageValue")),
        "Object" | "External" => format!("{}/{}", now("/current/value"), text_at(source, "/target/value")),
        _ => {
            let name = text(source, "name");
            if !average.is_empty() {
                return format!("{name}: {}/{average}", now("/current/averageValue"));
            }
            let share = |object: Option<&Value>, pointer: &str, none: &str| {
                let share = object.and_then(|object| object.pointer(pointer)).and_then(Value::as_i64);
                share.map_or(none.to_owned(), |share| format!("{share}%"))
            };
            let is = share(seen, "/current/averageUtilization", UNKNOWN);
            format!("{name}: {is}/{}", share(Some(source), "/target/averageUtilization", "<auto>"))
        }
    }
}
