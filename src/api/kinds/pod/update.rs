//! What may change of a pod once it exists: next to nothing.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, difference};
use crate::kinds::fields::{entries, get, int, keep, list, same, set, text};

/// Faults of an update through the main resource.
pub(super) fn update_faults(faults: &mut Faults, object: &Value, old: &Value) {
    let empty = json!({});
    let (new, old) = (get(object, "spec").unwrap_or(&empty), get(old, "spec").unwrap_or(&empty));
    for field in ["containers", "initContainers"] {
        if list(new, field).len() != list(old, field).len() {
            let detail = "pod updates may not add or remove containers";
            faults.push(FieldError::forbidden(format!("spec.{field}"), detail));
            return;
        }
    }
    deadline_faults(faults, new, old);
    toleration_faults(faults, new, old);
    gate_faults(faults, new, old);
    selector_faults(faults, new, old);
    let munged = without_what_may_change(new, old);
    if same(Some(&munged), Some(old)) {
        return;
    }
    let allowed = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                   `spec.tolerations` (only additions to existing tolerations),\
                   `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    let detail = format!("pod updates may not change fields other than {allowed}\n{}", difference(&munged, old));
    faults.push(FieldError::forbidden("spec", &detail));
}

/// The new spec with everything that may change put back to what it was.
fn without_what_may_change(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    for field in ["containers", "initContainers"] {
        let images: Vec<Value> = list(old, field).iter().map(|container| container["image"].clone()).collect();
        for (container, image) in crate::kinds::fields::items_mut(&mut munged, field).zip(images) {
            set(container, "image", image);
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"] {
        keep(&mut munged, old, field);
    }
    // While gates hold a pod back, where it may run can still be narrowed.
    if !list(old, "schedulingGates").is_empty() {
        for field in ["nodeSelector", "affinity"] {
            keep(&mut munged, old, field);
        }
    }
    let negative = int(old, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0);
    if negative && int(new, "terminationGracePeriodSeconds") == Some(1) {
        keep(&mut munged, old, "terminationGracePeriodSeconds");
    }
    munged
}

fn deadline_faults(faults: &mut Faults, new: &Value, old: &Value) {
    let path = "spec.activeDeadlineSeconds";
    match (int(new, "activeDeadlineSeconds"), int(old, "activeDeadlineSeconds")) {
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            faults.push(FieldError::invalid(path, &Value::Null, detail));
        }
        (Some(now), Some(was)) if now > was => {
            faults.push(FieldError::invalid(path, &json!(now), "must be less than or equal to previous value"));
        }
        _ => {}
    }
}

fn toleration_faults(faults: &mut Faults, new: &Value, old: &Value) {
    let without_seconds = |toleration: &Value| {
        let mut plain = toleration.clone();
        crate::kinds::fields::remove(&mut plain, "tolerationSeconds");
        plain
    };
    let kept: Vec<Value> = list(new, "tolerations").iter().map(without_seconds).collect();
    if !list(old, "tolerations").iter().all(|toleration| kept.contains(&without_seconds(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        faults.push(FieldError::forbidden("spec.tolerations", detail));
    }
}

/// A pod that gates hold back can be sent to fewer nodes, and to no others.
fn selector_faults(faults: &mut Faults, new: &Value, old: &Value) {
    if list(old, "schedulingGates").is_empty() {
        return;
    }
    let now = new.get("nodeSelector").unwrap_or(&Value::Null);
    if entries(old, "nodeSelector").any(|(key, value)| now.get(key) != Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        faults.push(FieldError::invalid("spec.nodeSelector", now, detail));
    }
}

fn gate_faults(faults: &mut Faults, new: &Value, old: &Value) {
    let had: Vec<&str> = list(old, "schedulingGates").iter().map(|gate| text(gate, "name")).collect();
    for gate in list(new, "schedulingGates") {
        let name = text(gate, "name");
        if !had.contains(&name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            faults.push(FieldError::forbidden("spec.schedulingGates", &detail));
        }
    }
}
