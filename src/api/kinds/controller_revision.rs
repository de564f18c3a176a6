//! ControllerRevision: a state of a workload that can be gone back to.

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column};
use super::checks::{Faults, NON_NEGATIVE, immutable};
use super::fields::{int, is_set, text};
use super::row::row;
use crate::{Behaviour, FieldError, Kind, Scope, meta};

/// The row.
pub fn kind() -> Kind {
    row("apps", "v1", "ControllerRevision", "controllerrevisions", Scope::Namespaced)
        .columns(vec![
            name_column(),
            column("Controller", "Controller of the object", |object, _| json!(controller(object))),
            column("Revision", "The place of the state among all states of its workload.", |object, _| {
                json!(int(object, "revision").unwrap_or_default().to_string())
            }),
            age_column(),
        ])
        .behaviour(ControllerRevision)
        .build()
}

/// `daemonset.apps/web`
fn controller(object: &Value) -> String {
    let Some(owner) = meta::controller_of(object) else { return NONE.to_owned() };
    let kind = text(owner, "kind").to_lowercase();
    match text(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "name")),
        None => format!("{kind}/{}", text(owner, "name")),
    }
}

struct ControllerRevision;

impl Behaviour for ControllerRevision {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        if !is_set(object, "data") {
            faults.push(FieldError::required("data", "data is mandatory"));
        }
        if let Some(revision) = int(object, "revision").filter(|revision| *revision < 0) {
            faults.push(FieldError::invalid("revision", &json!(revision), NON_NEGATIVE));
        }
        if let Some(old) = old {
            immutable(&mut faults, object, old, "", "data");
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}
