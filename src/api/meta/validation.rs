//! What may stand in an object's metadata, with Kubernetes' sentences.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    FOREGROUND, ORPHAN, finalizers, generation, metadata, name, namespace, owner_references, resource_version,
};
use crate::names::{dns_label_errors, label_value_errors, qualified_name_errors};
use crate::{FieldError, Kind};

/// All annotations of an object together, keys and values.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
const IMMUTABLE: &str = "field is immutable";

/// All that is wrong with the metadata of `object`, which is to be created, or to take the place of `old`.
///
/// For an update call [`super::carry_over`] before, and put the current resourceVersion in when none was sent and the
/// kind allows it.
pub fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match old {
        None => created(kind, object, &mut errors),
        Some(old) => updated(object, old, &mut errors),
    }
    if generation(object) < 0 {
        errors.push(FieldError::invalid(
            "metadata.generation",
            &json!(generation(object)),
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(validate_labels(metadata(object).get("labels"), "metadata.labels"));
    errors.extend(validate_annotations(metadata(object).get("annotations"), "metadata.annotations"));
    owners(object, &mut errors);
    finalizer_names(kind, object, &mut errors);
    errors
}

fn created(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    if name(object).is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        let wrong = kind.behaviour.validate_name(name(object));
        errors.extend(wrong.iter().map(|message| FieldError::invalid("metadata.name", &json!(name(object)), message)));
    }
    let space = namespace(object);
    if !kind.namespaced() {
        if !space.is_empty() {
            errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
        }
    } else if space.is_empty() {
        errors.push(FieldError::required("metadata.namespace", ""));
    } else {
        let wrong = dns_label_errors(space);
        errors.extend(wrong.iter().map(|message| FieldError::invalid("metadata.namespace", &json!(space), message)));
    }
}

fn updated(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if super::is_being_deleted(old) {
        let had: BTreeSet<&str> = finalizers(old).collect();
        let extra: BTreeSet<&str> = finalizers(object).filter(|name| !had.contains(name)).collect();
        if !extra.is_empty() {
            let quoted: Vec<String> = extra.iter().map(|name| format!("{name:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &detail));
        }
    }
    if resource_version(object).is_empty() {
        errors.push(FieldError::invalid("metadata.resourceVersion", &json!(""), "must be specified for an update"));
    }
    if generation(object) < generation(old) {
        errors.push(FieldError::invalid("metadata.generation", &json!(generation(object)), "must not be decremented"));
    }
    let fields = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in fields {
        let now = metadata(object).get(field).unwrap_or(&Value::Null);
        if now != metadata(old).get(field).unwrap_or(&Value::Null) {
            errors.push(FieldError::invalid(format!("metadata.{field}"), now, IMMUTABLE));
        }
    }
}

/// What is wrong with a map of labels that stands at `path`.
pub fn validate_labels(labels: Option<&Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let of_key = qualified_name_errors(key);
        errors.extend(of_key.iter().map(|message| FieldError::invalid(path, &json!(key), message)));
        let of_value = label_value_errors(value);
        errors.extend(of_value.iter().map(|message| FieldError::invalid(path, &json!(value), message)));
    }
    errors
}

/// What is wrong with a map of annotations that stands at `path`.
pub fn validate_annotations(annotations: Option<&Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut total = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        total += key.len() + value.as_str().map_or(0, str::len);
        let wrong = qualified_name_errors(&key.to_lowercase());
        errors.extend(wrong.iter().map(|message| FieldError::invalid(path, &json!(key), message)));
    }
    if total > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

fn owners(object: &Value, errors: &mut Vec<FieldError>) {
    let path = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in owner_references(object) {
        let part = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = part("apiVersion");
        if version.is_empty() || version.ends_with('/') {
            let detail = "version must not be empty";
            errors.push(FieldError::invalid(format!("{path}.apiVersion"), &json!(version), detail));
        }
        for field in ["kind", "name", "uid"] {
            if part(field).is_empty() {
                errors.push(FieldError::invalid(format!("{path}.{field}"), &json!(""), "must not be empty"));
            }
        }
        if version == "v1" && part("kind") == "Event" {
            errors.push(FieldError::invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", part("kind"), part("name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    );
                    errors.push(FieldError::invalid(path, &json!(owner_references(object)), &detail));
                }
            }
        }
    }
}

fn finalizer_names(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let path = "metadata.finalizers";
    let all: Vec<&str> = finalizers(object).collect();
    for finalizer in &all {
        let wrong = qualified_name_errors(finalizer);
        errors.extend(wrong.iter().map(|message| FieldError::invalid(path, &json!(finalizer), message)));
        let standard = [FOREGROUND, ORPHAN, "kubernetes"].contains(finalizer);
        // Definitions and what they make are not asked for a domain.
        let free = kind.custom.is_some() || kind.group == "apiextensions.k8s.io";
        if !free && !standard && !finalizer.contains('/') && wrong.is_empty() {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, &json!(finalizer), detail));
        }
    }
    if all.contains(&FOREGROUND) && all.contains(&ORPHAN) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.push(FieldError::invalid(path, &json!(all), &detail));
    }
}
