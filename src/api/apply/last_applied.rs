//! `kubectl apply` without and with `--server-side` on one object.
//!
//! The one leaves what it applied in an annotation and owns its fields as an update of its own. When kubectl's server-side
//! apply comes to such an object, what the annotation says and the object still has is no conflict; and the annotation is
//! kept up to date, so that the way back stays open.

use serde_json::Value;

use super::Reach;
use super::compare::compare;
use super::extract;
use super::fields::FieldSet;
use crate::meta;
use crate::schema::Definition;

/// The annotation that kubectl's client-side apply keeps.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The one manager that this is for.
pub(super) const KUBECTL: &str = "kubectl";
/// All annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The fields that a client-side apply has a right to, by the object's annotation.
pub(super) fn allowed(definition: Option<&Definition>, live: &Value, api_version: &str) -> Option<FieldSet> {
    let text = meta::annotation(live, ANNOTATION).filter(|text| !text.is_empty())?;
    let applied: Value = serde_json::from_str(text).ok()?;
    if applied.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return None;
    }
    let mut set = extract::fields(definition, &applied);
    let found = compare(definition, &applied, live, Reach::default());
    for other in [&found.modified, &found.added, &found.removed] {
        set.subtract(other);
    }
    Some(set)
}

/// Brings the annotation of `object` up to date, where it has one.
pub(super) fn refresh(object: &mut Value, wish: &Value) {
    if meta::annotation(object, ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = wish.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    annotations.insert(ANNOTATION.to_owned(), format!("{applied}\n").into());
    let total: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if total > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}
