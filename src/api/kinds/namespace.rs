//! Namespace: a cluster-wide name under which other objects live.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, invalid_each};
use super::fields::{keep, list_at, object_at, set, text_at};
use super::row::row;
use crate::names::{dns_label_errors, qualified_name_errors};
use crate::{Behaviour, FieldError, Kind, Scope, meta};

/// The finalizer that stands in `spec.finalizers` until the namespace is empty.
pub const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "Namespace", "namespaces", Scope::Cluster)
        .short(&["ns"])
        .status()
        .without_deletecollection()
        .subresource("finalize", "v1", "Namespace", &["update"])
        .columns(vec![
            name_column(),
            column("Status", "The status of the namespace", |object, _| json!(text_at(object, "/status/phase"))),
            age_column(),
        ])
        .behaviour(Namespace)
        .build()
}

struct Namespace;

impl Behaviour for Namespace {
    fn default(&self, object: &mut Value) {
        let name = meta::name(object).to_owned();
        if name.is_empty() {
            return;
        }
        let labels = meta::metadata_mut(object).entry("labels").or_insert(Value::Null);
        if labels.is_null() {
            *labels = json!({});
        }
        set(labels, NAME_LABEL, name);
    }
    fn prepare_create(&self, object: &mut Value) {
        self.default(object);
        set(object, "status", json!({ "phase": "Active" }));
        if let Some(spec) = object_at(object, "spec") {
            let mut finalizers = spec.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
            if !finalizers.contains(&json!(FINALIZER)) {
                finalizers.push(json!(FINALIZER));
            }
            set(spec, "finalizers", finalizers);
        }
    }
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
        keep(object, old, "status");
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        for finalizer in list_at(object, "/spec/finalizers").iter().filter_map(Value::as_str) {
            let wrong = qualified_name_errors(finalizer);
            let standard = finalizer == FINALIZER || finalizer.contains('/') || !wrong.is_empty();
            invalid_each(&mut faults, "spec.finalizers", finalizer, wrong);
            if !standard {
                let detail = "name is neither a standard finalizer name nor is it fully qualified";
                faults.push(FieldError::invalid("spec.finalizers", &json!(finalizer), detail));
            }
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let phase = text_at(object, "/status/phase");
        let (expected, when) =
            if meta::is_being_deleted(object) { ("Terminating", "is not empty") } else { ("Active", "is empty") };
        if phase != expected {
            let detail = format!("may only be '{expected}' if `deletionTimestamp` {when}");
            faults.push(FieldError::invalid("status.phase", &json!(phase), &detail));
        }
        faults
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        dns_label_errors(name)
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("status.phase".into(), text_at(object, "/status/phase").to_owned())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["status.phase"]
    }
    fn has_generation(&self) -> bool {
        false
    }
}
