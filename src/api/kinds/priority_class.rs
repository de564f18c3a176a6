//! PriorityClass: how important pods are, by name.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, number_column};
use super::checks::{Faults, immutable};
use super::fields::{default_text, default_to, flag, int, text};
use super::row::row;
use crate::{Behaviour, Column, FieldError, Kind, Scope, meta};

/// The most important that a user may call a pod.
pub const USER_MAX: i64 = 1_000_000_000;
/// The classes that are the system's own, and their values.
pub const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2 * USER_MAX + 1000), ("system-cluster-critical", 2 * USER_MAX)];
const SYSTEM_PREFIX: &str = "system-";

/// The row.
pub fn kind() -> Kind {
    let global = column("Global-Default", "Whether pods without a class are of this one.", |object, _| {
        json!(flag(object, "globalDefault"))
    });
    row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", Scope::Cluster)
        .short(&["pc"])
        .columns(vec![
            name_column(),
            number_column("Value", "The priority of the class.", |object, _| {
                json!(int(object, "value").unwrap_or_default())
            }),
            Column { kind: "boolean".to_owned(), ..global },
            age_column(),
            column("PreemptionPolicy", "Whether pods of the class push others aside.", |object, _| {
                json!(text(object, "preemptionPolicy"))
            }),
        ])
        .behaviour(PriorityClass)
        .build()
}

struct PriorityClass;

impl Behaviour for PriorityClass {
    fn default(&self, object: &mut Value) {
        default_to(object, "value", 0);
        default_text(object, "preemptionPolicy", "PreemptLowerPriority");
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let value = int(object, "value").unwrap_or_default();
        let name = meta::name(object);
        if name.starts_with(SYSTEM_PREFIX) {
            if let Some(wrong) = not_the_systems(name, value, flag(object, "globalDefault")) {
                let detail = format!(
                    "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {wrong}"
                );
                faults.push(FieldError::forbidden("metadata.name", &detail));
            }
        } else if value > USER_MAX {
            let detail = format!("maximum allowed value of a user defined priority is {USER_MAX}");
            faults.push(FieldError::forbidden("value", &detail));
        }
        let policies = ["PreemptLowerPriority", "Never"];
        let policy = text(object, "preemptionPolicy");
        if !policies.contains(&policy) {
            faults.push(FieldError::not_supported("preemptionPolicy", &json!(policy), &policies));
        }
        if let Some(old) = old {
            if int(old, "value").unwrap_or_default() != value {
                faults.push(FieldError::forbidden("value", "may not be changed in an update."));
            }
            immutable(&mut faults, object, old, "", "preemptionPolicy");
        }
        faults
    }
}

fn not_the_systems(name: &str, value: i64, global: bool) -> Option<String> {
    match SYSTEM.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, known)) if *known != value => Some(format!("value of {name} PriorityClass must be {known}")),
        Some(_) if global => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}
