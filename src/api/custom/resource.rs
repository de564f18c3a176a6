//! What a custom resource does: as one version of its CustomResourceDefinition says.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::node::Node;
use super::{defaults, embedded, rules, validate};
use crate::schema::Definition;
use crate::table::JsonPath;
use crate::{Behaviour, FieldError, strict};

/// The behaviour of one version.
pub(crate) struct Resource {
    pub root: Node,
    pub definition: std::sync::Arc<Definition>,
    /// Whether `/status` is a subresource.
    pub status: bool,
    /// Where `/scale` finds its numbers.
    pub scale: Option<crate::Scale>,
    /// `spec.color` and the path.
    pub selectable: Vec<(String, JsonPath)>,
    /// Said whenever the version is used.
    pub deprecation: Option<String>,
    /// The schema as clients may read it.
    pub published: Value,
}

impl Resource {
    /// Drops what the schema does not know and fills in what it has defaults for.
    fn settle(&self, object: &mut Value) {
        // Types are told of by validation, in better words.
        let _ = strict::shape(object, &self.definition);
        defaults::fill(&self.root, object);
    }

    fn faults(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = validate::faults(&self.root, object, old);
        faults.extend(self.scale_faults(object, old));
        faults.extend(embedded::faults(&self.root, object));
        faults.extend(validate::duplicates(&self.root, object));
        if !self.root.ruled {
            return faults;
        }
        const BLOCKING: [&str; 4] =
            ["FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];
        if faults.iter().any(|fault| BLOCKING.contains(&fault.reason)) {
            faults.push(FieldError::invalid(
                "<nil>",
                &Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors to \
                 complete validation",
            ));
            return faults;
        }
        faults.extend(rules::faults(&self.root, object, old));
        faults
    }

    fn scale_faults(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let Some(scale) = &self.scale else { return Vec::new() };
        let mut faults = Vec::new();
        for pointer in [&scale.spec_replicas, &scale.status_replicas] {
            let Some(value) = object.pointer(pointer).filter(|value| !value.is_null()) else { continue };
            if old.is_some_and(|old| old.pointer(pointer) == Some(value)) {
                continue;
            }
            let path = pointer.trim_start_matches('/').replace('/', ".");
            match value.as_i64() {
                Some(count) if count < 0 => {
                    faults.push(FieldError::invalid(path, value, "should be a non-negative integer"));
                }
                Some(count) if count > i64::from(i32::MAX) => {
                    let detail = format!("should be less than or equal to {}", i32::MAX);
                    faults.push(FieldError::invalid(path, value, &detail));
                }
                _ => {}
            }
        }
        faults
    }
}

impl Behaviour for Resource {
    fn default(&self, object: &mut Value) {
        self.settle(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        if self.status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if !self.status {
            return;
        }
        let Some(fields) = object.as_object_mut() else { return };
        match old.get("status") {
            Some(status) => fields.insert("status".to_owned(), status.clone()),
            None => fields.remove("status"),
        };
    }

    /// Only the status changes, and who wrote it.
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        let mut new = old.clone();
        let Some(fields) = new.as_object_mut() else { return };
        match object.get("status") {
            Some(status) => fields.insert("status".to_owned(), status.clone()),
            None => fields.remove("status"),
        };
        for kept in ["managedFields", "resourceVersion"] {
            if let Some(value) = object.get("metadata").and_then(|metadata| metadata.get(kept)) {
                crate::meta::set(&mut new, kept, value.clone());
            }
        }
        *object = new;
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        self.faults(object, old)
    }

    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        self.faults(object, Some(old))
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let found = |path: &JsonPath| path.find(object).first().map(|value| text(value)).unwrap_or_default();
        self.selectable.iter().map(|(label, path)| (Cow::Owned(label.clone()), found(path))).collect()
    }

    fn field_labels(&self) -> Vec<&str> {
        self.selectable.iter().map(|(label, _)| label.as_str()).collect()
    }

    fn status_counts(&self) -> bool {
        !self.status
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    fn published_schema(&self) -> Option<&Value> {
        Some(&self.published)
    }
}

/// The schema that OpenAPI shows: the definition's own, with what every object has.
pub(crate) fn published(group: &str, version: &str, kind: &str, schema: Option<&Value>) -> Value {
    let mut out = schema
        .filter(|schema| schema.is_object())
        .cloned()
        .unwrap_or_else(|| json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }));
    if !out["properties"].is_object() {
        out["properties"] = json!({});
    }
    out["type"] = json!("object");
    for (field, described) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        out["properties"][field] = json!({ "type": "string", "description": described });
    }
    out["properties"]["metadata"] = json!({
        "description": "Standard object's metadata.",
        "$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    });
    out["x-kubernetes-group-version-kind"] = json!([{ "group": group, "version": version, "kind": kind }]);
    out
}

const API_VERSION: &str = "The version of the schema that this object is written in.";
const KIND: &str = "The kind of thing that this object stands for.";
