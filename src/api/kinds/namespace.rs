//! Namespace: a cluster-wide name under which other objects live.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::fields::{default_to, keep, object_at, set, text_at};
use super::row::row;
use crate::names::dns_label_errors;
use crate::{Behaviour, Kind, Scope, meta};

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
        default_to(labels, NAME_LABEL, name);
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
