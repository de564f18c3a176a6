//! PodDisruptionBudget: how many pods may be taken away at a time.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, number_column};
use super::checks::{Faults, at_most_all, int_or_percent, none_negative};
use super::conditions::condition_faults;
use super::fields::{get, int_at, is_set, keep, set, text};
use super::row::row;
use crate::selector::validate_label_selector;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", Scope::Namespaced)
        .short(&["pdb"])
        .status()
        .columns(vec![
            name_column(),
            column("Min Available", "The minimum number of pods that must be available.", |object, _| {
                json!(shown(object, "/spec/minAvailable"))
            }),
            column("Max Unavailable", "The maximum number of pods that may be unavailable.", |object, _| {
                json!(shown(object, "/spec/maxUnavailable"))
            }),
            number_column(
                "Allowed Disruptions",
                "Calculated number of pods that may be disrupted at this time.",
                |object, _| json!(int_at(object, "/status/disruptionsAllowed")),
            ),
            age_column(),
        ])
        .behaviour(Budget)
        .build()
}

fn shown(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => "N/A".to_owned(),
        Some(Value::String(share)) => share.clone(),
        Some(number) => number.to_string(),
    }
}

struct Budget;

impl Behaviour for Budget {
    fn prepare_create(&self, object: &mut Value) {
        let none = ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"];
        set(object, "status", none.into_iter().map(|field| (field.to_owned(), json!(0))).collect::<Value>());
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        if is_set(spec, "minAvailable") && is_set(spec, "maxUnavailable") {
            faults.push(FieldError::invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            if let Some(value) = get(spec, field) {
                let path = format!("spec.{field}");
                int_or_percent(&mut faults, value, &path);
                at_most_all(&mut faults, value, &path);
            }
        }
        if let Some(selector) = get(spec, "selector") {
            faults.extend(validate_label_selector(selector, "spec.selector"));
        }
        if let Some(policy) = get(spec, "unhealthyPodEvictionPolicy") {
            let policies = ["AlwaysAllow", "IfHealthyBudget"];
            if !policies.contains(&text(spec, "unhealthyPodEvictionPolicy")) {
                faults.push(FieldError::not_supported("spec.unhealthyPodEvictionPolicy", policy, &policies));
            }
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        condition_faults(&mut faults, status, "status.conditions");
        let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        none_negative(&mut faults, status, "status", &counts);
        faults
    }
}
