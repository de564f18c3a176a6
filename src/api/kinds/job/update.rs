//! What may change of a Job: how many pods run at once, whether it is suspended, and, before it first ran, where its pods run.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, IMMUTABLE, immutable};
use crate::kinds::fields::{flag, get, is_set, items_mut, keep, list, object_at, remove, same, text};

/// Faults of a change from `old`.
pub(super) fn update_faults(faults: &mut Faults, spec: &Value, old: &Value) {
    let empty = json!({});
    let was = get(old, "spec").unwrap_or(&empty);
    completions(faults, spec, was);
    immutable(faults, spec, was, "spec", "selector");
    template(faults, spec, was, old);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        immutable(faults, spec, was, "spec", field);
    }
}

fn completions(faults: &mut Faults, spec: &Value, was: &Value) {
    if text(spec, "completionMode") != "Indexed" {
        immutable(faults, spec, was, "spec", "completions");
        return;
    }
    let now = get(spec, "completions");
    if let Some(count) = now.filter(|_| !same(now, get(was, "completions")))
        && get(spec, "parallelism") != now
    {
        let detail = "can only be modified in tandem with spec.parallelism";
        faults.push(FieldError::invalid("spec.completions", count, detail));
    }
}

fn template(faults: &mut Faults, spec: &Value, was: &Value, old: &Value) {
    let empty = json!({});
    let new = get(spec, "template").unwrap_or(&empty);
    let mut before = get(was, "template").cloned().unwrap_or_else(|| json!({}));
    let suspended = flag(was, "suspend");
    if suspended && old.pointer("/status/startTime").is_none_or(Value::is_null) {
        directives(&mut before, new);
    }
    if suspended {
        resources(&mut before, new);
    }
    if !same(Some(new), Some(&before)) {
        faults.push(FieldError::invalid("spec.template", new, IMMUTABLE));
    }
}

/// Where pods run is still open in a Job that never started.
fn directives(before: &mut Value, new: &Value) {
    let empty = json!({});
    let (now, of_now) = (get(new, "spec").unwrap_or(&empty), get(new, "metadata").unwrap_or(&empty));
    if let Some(metadata) = object_at(before, "metadata") {
        keep(metadata, of_now, "labels");
        keep(metadata, of_now, "annotations");
    }
    let Some(pod) = object_at(before, "spec") else { return };
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        keep(pod, now, field);
    }
    let had = is_set(pod, "affinity");
    match (get(now, "affinity"), had) {
        (None, true) => {
            if let Some(affinity) = object_at(pod, "affinity") {
                remove(affinity, "nodeAffinity");
            }
        }
        (Some(affinity), _) => {
            if let Some(held) = object_at(pod, "affinity") {
                keep(held, affinity, "nodeAffinity");
            }
        }
        (None, false) => {}
    }
}

/// What containers ask for may change while a Job is suspended.
fn resources(before: &mut Value, new: &Value) {
    let empty = json!({});
    let now = get(new, "spec").unwrap_or(&empty);
    let Some(pod) = object_at(before, "spec") else { return };
    for field in ["containers", "initContainers"] {
        let others = list(now, field);
        if list(pod, field).len() != others.len() {
            continue;
        }
        for (container, other) in items_mut(pod, field).zip(others) {
            if text(container, "name") == text(other, "name") {
                keep(container, other, "resources");
            }
        }
    }
}
