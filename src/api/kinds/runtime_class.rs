//! RuntimeClass: which runtime runs a pod.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, immutable, invalid_each};
use super::fields::{entries, get, list, text};
use super::pod_template::{canonical_quantities, deprecated_label, toleration_faults};
use super::row::row;
use crate::meta::validate_labels;
use crate::names::dns_label_errors;
use crate::{Behaviour, FieldError, Kind, Quantity, Scope};

/// The row.
pub fn kind() -> Kind {
    row("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", Scope::Cluster)
        .columns(vec![
            name_column(),
            column("Handler", "The runtime that pods of this class are given to.", |object, _| {
                json!(text(object, "handler"))
            }),
            age_column(),
        ])
        .behaviour(RuntimeClass)
        .build()
}

struct RuntimeClass;

impl Behaviour for RuntimeClass {
    fn default(&self, object: &mut Value) {
        if let Some(overhead) = object.get_mut("overhead") {
            canonical_quantities(overhead, "podFixed");
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let handler = text(object, "handler");
        invalid_each(&mut faults, "handler", handler, dns_label_errors(handler));
        if let Some(overhead) = get(object, "overhead") {
            for (name, amount) in entries(overhead, "podFixed") {
                if Quantity::from_json(amount).is_ok_and(Quantity::is_negative) {
                    let path = format!("overhead.podFixed[{name}]");
                    faults.push(FieldError::invalid(path, amount, super::checks::NON_NEGATIVE));
                }
            }
        }
        if let Some(scheduling) = get(object, "scheduling") {
            faults.extend(validate_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector"));
            for (at, toleration) in list(scheduling, "tolerations").iter().enumerate() {
                toleration_faults(&mut faults, toleration, &format!("scheduling.tolerations[{at}]"));
            }
        }
        if let Some(old) = old {
            immutable(&mut faults, object, old, "", "handler");
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let Some(scheduling) = get(object, "scheduling") else { return Vec::new() };
        let old = entries(scheduling, "nodeSelector").filter_map(|(key, _)| deprecated_label(key));
        old.map(|why| format!("scheduling.nodeSelector: {why}")).collect()
    }
    fn has_generation(&self) -> bool {
        false
    }
}
