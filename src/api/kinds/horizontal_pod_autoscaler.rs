//! HorizontalPodAutoscaler: how many pods a workload gets, by what they measure. Stored as `autoscaling/v2`; `v1` shows the
//! processor's share in a field of its own and everything else in annotations ([`convert`]).

mod columns;
mod convert;
mod metrics;

use serde_json::{Value, json};

use super::checks::{Faults, NON_NEGATIVE, none_negative};
use super::fields::{default_to, get, int, is_set, items_mut, keep, list, object_at, set, text};
use super::row::{RowBuilder, row};
use crate::kind::Form;
use crate::names::path_segment_errors;
use crate::{Behaviour, FieldError, Kind, Quantity, Scope};

const GROUP: &str = "autoscaling";
/// The share of the processor that is aimed at when nobody says what to aim at.
const CPU_PERCENT: i64 = 80;
const WINDOW_SECONDS_MAX: i64 = 3600;
const PERIOD_SECONDS_MAX: i64 = 1800;

/// The row of `autoscaling/v2`, whose form is stored.
pub fn kind() -> Kind {
    stored("v2").columns(columns::columns()).behaviour(Autoscaler).build()
}

/// The row of `autoscaling/v1`.
pub fn v1_kind() -> Kind {
    stored("v1")
        .columns(columns::v1_columns())
        .form(Form {
            group: GROUP.to_owned(),
            version: "v2".to_owned(),
            plural: "horizontalpodautoscalers".to_owned(),
            to_stored: convert::to_v2,
            from_stored: convert::to_v1,
        })
        .behaviour(V1)
        .build()
}

fn stored(version: &str) -> RowBuilder {
    row(GROUP, version, "HorizontalPodAutoscaler", "horizontalpodautoscalers", Scope::Namespaced)
        .short(&["hpa"])
        .all()
        .status()
}

struct V1;

impl Behaviour for V1 {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object_at(object, "spec") {
            default_to(spec, "minReplicas", 1);
        }
    }
    fn has_generation(&self) -> bool {
        false
    }
}

struct Autoscaler;

impl Behaviour for Autoscaler {
    fn default(&self, object: &mut Value) {
        if let Some(status) = object.get_mut("status").filter(|status| status.is_object()) {
            default_to(status, "desiredReplicas", 0);
            if !is_set(status, "currentMetrics") {
                set(status, "currentMetrics", Value::Null);
            }
        }
        let Some(spec) = object_at(object, "spec") else { return };
        default_to(spec, "minReplicas", 1);
        if list(spec, "metrics").is_empty() {
            set(spec, "metrics", json!([cpu_metric(CPU_PERCENT)]));
        }
        for metric in items_mut(spec, "metrics") {
            canonical_targets(metric);
        }
        if let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) {
            default_rules(behavior);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({ "desiredReplicas": 0, "currentMetrics": null }));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        replicas(&mut faults, spec);
        reference_faults(&mut faults, spec.get("scaleTargetRef").unwrap_or(&empty), "spec.scaleTargetRef");
        metrics::metric_faults(&mut faults, spec);
        if let Some(behavior) = get(spec, "behavior") {
            for side in ["scaleUp", "scaleDown"] {
                if let Some(rules) = get(behavior, side) {
                    rule_faults(&mut faults, rules, &format!("spec.behavior.{side}"));
                }
            }
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        none_negative(&mut faults, status, "status", &["currentReplicas", "desiredReplicas"]);
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// A metric of the processor's use, as v2 has it.
fn cpu_metric(percent: i64) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": percent });
    json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })
}

/// The field in which a metric of each type stands.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn canonical_targets(metric: &mut Value) {
    for (_, source) in SOURCES {
        let Some(target) = metric.get_mut(*source).and_then(|source| source.get_mut("target")) else { continue };
        for field in ["value", "averageValue"] {
            if let Some(amount) = get(target, field).and_then(|amount| Quantity::from_json(amount).ok()) {
                set(target, field, amount.to_string());
            }
        }
    }
}

/// Whoever says something about how to scale gets the rest said, too.
fn default_rules(behavior: &mut Value) {
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    let all = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    if let Some(up) = object_at(behavior, "scaleUp") {
        default_to(up, "stabilizationWindowSeconds", 0);
        default_to(up, "selectPolicy", "Max");
        default_to(up, "policies", json!([pods, all]));
    }
    if let Some(down) = object_at(behavior, "scaleDown") {
        default_to(down, "selectPolicy", "Max");
        default_to(down, "policies", json!([all]));
    }
}

fn replicas(faults: &mut Faults, spec: &Value) {
    let (least, most) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or_default());
    // Scaling to nothing is on here: requests wake what sleeps.
    if let Some(least) = least.filter(|least| *least < 0) {
        let detail = "must be greater than or equal to 0";
        faults.push(FieldError::invalid("spec.minReplicas", &json!(least), detail));
    }
    if most < 1 {
        faults.push(FieldError::invalid("spec.maxReplicas", &json!(most), "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        faults.push(FieldError::invalid("spec.maxReplicas", &json!(most), detail));
    }
}

/// What is wrong with the name of something that stands at `path`.
fn reference_faults(faults: &mut Faults, reference: &Value, path: &str) {
    for field in ["kind", "name"] {
        let said = text(reference, field);
        let path = format!("{path}.{field}");
        if said.is_empty() {
            faults.push(FieldError::required(path, ""));
        } else {
            super::checks::invalid_each(faults, &path, said, path_segment_errors(said));
        }
    }
}

fn rule_faults(faults: &mut Faults, rules: &Value, path: &str) {
    let of_window = format!("{path}.stabilizationWindowSeconds");
    if let Some(window) = int(rules, "stabilizationWindowSeconds") {
        if window < 0 {
            let detail = "must be greater than or equal to zero";
            faults.push(FieldError::invalid(of_window.as_str(), &json!(window), detail));
        }
        if window > WINDOW_SECONDS_MAX {
            let detail = format!("must be less than or equal to {WINDOW_SECONDS_MAX}");
            faults.push(FieldError::invalid(of_window, &json!(window), &detail));
        }
    }
    let choices = ["Disabled", "Max", "Min"];
    if is_set(rules, "selectPolicy") && !choices.contains(&text(rules, "selectPolicy")) {
        let at = format!("{path}.selectPolicy");
        faults.push(FieldError::not_supported(at, &rules["selectPolicy"], &choices));
    }
    if let Some(tolerance) = get(rules, "tolerance")
        && Quantity::from_json(tolerance).is_ok_and(Quantity::is_negative)
    {
        faults.push(FieldError::invalid(format!("{path}.tolerance"), tolerance, NON_NEGATIVE));
    }
    let policies = list(rules, "policies");
    if policies.is_empty() {
        faults.push(FieldError::required(format!("{path}.policies"), "must specify at least one Policy"));
    }
    for (at, policy) in policies.iter().enumerate() {
        policy_faults(faults, policy, &format!("{path}.policies[{at}]"));
    }
}

fn policy_faults(faults: &mut Faults, policy: &Value, path: &str) {
    let kinds = ["Percent", "Pods"];
    if !kinds.contains(&text(policy, "type")) {
        faults.push(FieldError::not_supported(format!("{path}.type"), &json!(text(policy, "type")), &kinds));
    }
    for field in ["value", "periodSeconds"] {
        let number = int(policy, field).unwrap_or_default();
        if number <= 0 {
            let detail = "must be greater than zero";
            faults.push(FieldError::invalid(format!("{path}.{field}"), &json!(number), detail));
        }
        if field == "periodSeconds" && number > PERIOD_SECONDS_MAX {
            let detail = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
            faults.push(FieldError::invalid(format!("{path}.{field}"), &json!(number), &detail));
        }
    }
}
