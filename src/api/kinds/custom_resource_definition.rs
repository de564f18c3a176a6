//! CustomResourceDefinition: a kind that users bring.

use serde_json::{Value, json};

use super::cells::name_column;
use super::row::row;
use crate::custom::{self, naming};
use crate::{Behaviour, Cell, Column, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", Scope::Cluster)
        .short(&["crd", "crds"])
        .category("api-extensions")
        .status()
        .columns(vec![
            name_column(),
            Column {
                name: "Created At".to_owned(),
                kind: "date".to_owned(),
                format: String::new(),
                description: "When the definition was made.".to_owned(),
                priority: 0,
                cell: Cell::Computed(|object, _| {
                    object.pointer("/metadata/creationTimestamp").cloned().unwrap_or_default()
                }),
            },
        ])
        .behaviour(CustomResourceDefinition)
        .build()
}

struct CustomResourceDefinition;

impl Behaviour for CustomResourceDefinition {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
            let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_empty = |names: &serde_json::Map<String, Value>, name: &str| {
                names.get(name).and_then(Value::as_str).unwrap_or_default().is_empty()
            };
            if !kind.is_empty() {
                if is_empty(names, "singular") {
                    names.insert("singular".to_owned(), json!(kind.to_lowercase()));
                }
                if is_empty(names, "listKind") {
                    names.insert("listKind".to_owned(), json!(format!("{kind}List")));
                }
            }
        }
        let conversion = spec.entry("conversion").or_insert_with(|| json!({ "strategy": "None" }));
        if let Some(service) = conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut) {
            service.entry("port").or_insert_with(|| json!(443));
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let Some(storage) = custom::storage_version(object).map(str::to_owned) else { return };
        object["status"] = json!({
            "conditions": [], "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": [storage],
        });
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if !object.is_object() {
            return;
        }
        object["status"] = old.get("status").filter(|held| held.is_object()).cloned().unwrap_or_else(|| json!({}));
        let Some(storage) = custom::storage_version(object).map(str::to_owned) else { return };
        let stored = &mut object["status"]["storedVersions"];
        match stored.as_array_mut() {
            Some(stored) if stored.iter().any(|name| name.as_str() == Some(&storage)) => {}
            Some(stored) => stored.push(json!(storage)),
            None => *stored = json!([storage]),
        }
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        custom::faults(object, old)
    }

    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        custom::status_faults(object)
    }

    fn prepare_delete(&self, object: &mut Value, now: &str) {
        let has = crate::meta::finalizers(object).any(|name| name == naming::CLEANUP);
        if !has {
            let mut all: Vec<String> = crate::meta::finalizers(object).map(str::to_owned).collect();
            all.push(naming::CLEANUP.to_owned());
            crate::meta::set(object, "finalizers", all);
        }
        if !naming::is_true(object, "Terminating") {
            let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
            naming::set_condition(object, now, "Terminating", ("True", "InstanceDeletionPending", message));
        }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        custom::warnings(object)
    }
}
