//! The `scale` subresource: how many replicas an object wants, in the same words for every kind.

use api::selector::LabelSelector;
use api::{FieldError, Kind, Status, meta};
use serde_json::{Map, Value, json};

/// The autoscaling/v1 Scale of an object; `None` where the kind has none.
pub fn of(kind: &Kind, object: &Value) -> Option<Value> {
    let scale = kind.scale.as_ref()?;
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta::metadata(object).get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut status = json!({ "replicas": count(&scale.status_replicas) });
    if let Some(selector) = scale.selector.as_deref().and_then(|pointer| object.pointer(pointer)) {
        status["selector"] = json!(selector_text(selector));
    }
    Some(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": count(&scale.spec_replicas) }, "status": status,
    }))
}

fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    if structured {
        LabelSelector::from_json(Some(selector)).map(|selector| selector.to_string()).unwrap_or_default()
    } else {
        LabelSelector::from_plain_json(Some(selector)).to_string()
    }
}

/// Puts what a Scale wants into the object.
pub(crate) fn apply(kind: &Kind, object: &mut Value, wanted: &Value) -> Result<(), Status> {
    let Some(scale) = &kind.scale else { return Err(Status::no_such_path()) };
    let name = meta::name(object).to_owned();
    let sent = meta::name(wanted);
    if !sent.is_empty() && sent != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({name})"
        )));
    }
    let replicas = wanted.pointer("/spec/replicas").cloned().unwrap_or_else(|| json!(0));
    if replicas.as_i64().is_none_or(|count| !(0..=i64::from(i32::MAX)).contains(&count)) {
        let error = FieldError::invalid("spec.replicas", &replicas, "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", &name, &[error]));
    }
    for field in ["resourceVersion", "uid"] {
        if let Some(value) = meta::metadata(wanted).get(field).filter(|value| value.as_str() != Some("")) {
            meta::set(object, field, value.clone());
        }
    }
    set(object, &scale.spec_replicas, replicas);
    Ok(())
}

/// Writes at a pointer, making the objects on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part];
    }
    *at = value;
}
