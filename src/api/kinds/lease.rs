//! Lease: who holds something, and since when.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, one_of};
use super::fields::{int, text, text_at};
use super::row::row;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("coordination.k8s.io", "v1", "Lease", "leases", Scope::Namespaced)
        .columns(vec![
            name_column(),
            column("Holder", "The identity of the holder of the lease.", |object, _| {
                json!(text_at(object, "/spec/holderIdentity"))
            }),
            age_column(),
        ])
        .behaviour(Lease)
        .build()
}

struct Lease;

impl Behaviour for Lease {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(spec) = object.get("spec") else { return faults };
        if let Some(seconds) = int(spec, "leaseDurationSeconds")
            && seconds <= 0
        {
            let path = "spec.leaseDurationSeconds";
            faults.push(FieldError::invalid(path, &json!(seconds), "must be greater than 0"));
        }
        if let Some(transitions) = int(spec, "leaseTransitions")
            && transitions < 0
        {
            let detail = "must be greater than or equal to 0";
            faults.push(FieldError::invalid("spec.leaseTransitions", &json!(transitions), detail));
        }
        one_of(&mut faults, spec, "spec", "strategy", &["OldestEmulationVersion"], false);
        if !text(spec, "preferredHolder").is_empty() && text(spec, "strategy").is_empty() {
            let detail = "may only be specified when `strategy` is defined";
            faults.push(FieldError::forbidden("spec.preferredHolder", detail));
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}
