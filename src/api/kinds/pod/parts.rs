//! What may change through `resize` and `ephemeralcontainers`, the two subresources that show a part of the pod.

use serde_json::{Value, json};

use super::quality_of_service;
use crate::kinds::checks::{Faults, difference};
use crate::kinds::fields::{get, is_set, items_mut, keep, list, object_at, remove, same, set, text, text_at};
use crate::kinds::pod_template::pod_spec_faults;
use crate::{FieldError, meta};

/// The annotation of a pod that a node runs by itself and only shows.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// What a pod can get more or less of while it runs.
const RESIZED: &[&str] = &["cpu", "memory"];

/// Everything but what the subresource is for stays as it was.
pub(super) fn prepare(name: &str, object: &mut Value, old: &Value) {
    match name {
        "resize" => prepare_resize(object, old),
        "ephemeralcontainers" => prepare_ephemeral(object, old),
        _ => {}
    }
}

/// Faults of an update through the subresource.
pub(super) fn faults(name: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    match name {
        "resize" => resize_faults(object, old),
        "ephemeralcontainers" => ephemeral_faults(object, old),
        _ => Vec::new(),
    }
}

fn keep_metadata(object: &mut Value, old: &Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        match meta::metadata(old).get(field).cloned() {
            Some(kept) => meta::set(object, field, kept),
            None => meta::unset(object, field),
        }
    }
}

fn prepare_resize(object: &mut Value, old: &Value) {
    let empty = json!({});
    let (new, was) = (object.get("spec").cloned().unwrap_or_default(), get(old, "spec").unwrap_or(&empty));
    let counts = |spec: &Value| (list(spec, "containers").len(), list(spec, "initContainers").len());
    if counts(&new) != counts(was) {
        return;
    }
    keep(object, old, "spec");
    keep(object, old, "status");
    keep_metadata(object, old);
    let Some(spec) = object_at(object, "spec") else { return };
    for field in ["containers", "initContainers"] {
        for (container, sent) in items_mut(spec, field).zip(list(&new, field)) {
            set(container, "name", text(sent, "name"));
            keep(container, sent, "resources");
            keep(container, sent, "resizePolicy");
        }
    }
}

fn resize_faults(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut faults = Faults::new();
    let empty = json!({});
    let (new, was) = (get(object, "spec").unwrap_or(&empty), get(old, "spec").unwrap_or(&empty));
    pod_spec_faults(&mut faults, new, "spec");
    if meta::annotation(old, MIRROR).is_some() {
        faults.push(FieldError::forbidden("", "static pods cannot be resized"));
    }
    for field in ["containers", "initContainers"] {
        if list(new, field).len() != list(was, field).len() {
            let detail = "containers may not be added or removed on resize";
            faults.push(FieldError::forbidden(format!("spec.{field}"), detail));
            return faults;
        }
        for (at, (container, before)) in list(new, field).iter().zip(list(was, field)).enumerate() {
            let path = format!("spec.{field}[{at}]");
            if text(container, "name") != text(before, "name") {
                let detail = "containers may not be renamed or reordered on resize";
                faults.push(FieldError::forbidden(format!("{path}.name"), detail));
            }
            removed_faults(&mut faults, container, before, &path);
        }
    }
    let quality = text_at(old, "/status/qosClass");
    let quality = if quality.is_empty() { quality_of_service(old) } else { quality };
    if quality_of_service(object) != quality {
        let detail = "Pod QOS Class may not change as a result of resizing";
        faults.push(FieldError::invalid("spec", &json!(quality), detail));
    }
    let munged = without_sizes(new, was);
    if !same(Some(&munged), Some(was)) {
        let detail = format!("only cpu and memory resources are mutable\n{}", difference(&munged, was));
        faults.push(FieldError::forbidden("spec", &detail));
    }
    faults
}

/// An amount can change, and it cannot go.
fn removed_faults(faults: &mut Faults, container: &Value, before: &Value, path: &str) {
    let amounts = |container: &Value, side: &str| container.get("resources").and_then(|all| all.get(side)).cloned();
    for side in ["limits", "requests"] {
        let (now, had) = (amounts(container, side).unwrap_or_default(), amounts(before, side).unwrap_or_default());
        if RESIZED.iter().any(|name| is_set(&had, name) && !is_set(&now, name)) {
            let detail = format!("resource {side} cannot be removed");
            faults.push(FieldError::forbidden(format!("{path}.resources.{side}"), &detail));
        }
    }
}

/// The new spec with the sizes that it had before.
fn without_sizes(new: &Value, was: &Value) -> Value {
    let mut munged = new.clone();
    for field in ["containers", "initContainers"] {
        for (container, before) in items_mut(&mut munged, field).zip(list(was, field)) {
            // An init container that ends has no size that could change while the pod runs.
            if field == "initContainers" && text(before, "restartPolicy") != "Always" {
                continue;
            }
            keep(container, before, "resizePolicy");
            let Some(resources) = object_at(container, "resources") else { continue };
            let empty = json!({});
            let had = get(before, "resources").unwrap_or(&empty);
            for side in ["limits", "requests"] {
                let Some(amounts) = object_at(resources, side) else { continue };
                let held = get(had, side).unwrap_or(&empty);
                for name in RESIZED {
                    keep(amounts, held, name);
                }
                if amounts.as_object().is_some_and(serde_json::Map::is_empty) {
                    remove(resources, side);
                }
            }
        }
    }
    munged
}

fn prepare_ephemeral(object: &mut Value, old: &Value) {
    let mut asked = list(object.get("spec").unwrap_or(&Value::Null), "ephemeralContainers").to_vec();
    keep(object, old, "spec");
    keep(object, old, "status");
    keep_metadata(object, old);
    for container in &mut asked {
        // kubectl debug reads it without looking.
        object_at(container, "securityContext");
    }
    if let Some(spec) =
        object_at(object, "spec").filter(|spec| is_set(spec, "ephemeralContainers") || !asked.is_empty())
    {
        set(spec, "ephemeralContainers", asked);
    }
}

fn ephemeral_faults(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut faults = Faults::new();
    let empty = json!({});
    let path = "spec.ephemeralContainers";
    let (new, was) = (get(object, "spec").unwrap_or(&empty), get(old, "spec").unwrap_or(&empty));
    pod_spec_faults(&mut faults, new, "spec");
    if meta::annotation(old, MIRROR).is_some() {
        faults.push(FieldError::forbidden("", "static pods do not support ephemeral containers"));
    }
    for held in list(was, "ephemeralContainers") {
        let name = text(held, "name");
        match list(new, "ephemeralContainers").iter().find(|other| text(other, "name") == name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                faults.push(FieldError::forbidden(path, &detail));
            }
            Some(other) if !same(Some(other), Some(held)) => {
                let changes = difference(other, held);
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n{changes}");
                faults.push(FieldError::forbidden(path, &detail));
            }
            Some(_) => {}
        }
    }
    faults
}
