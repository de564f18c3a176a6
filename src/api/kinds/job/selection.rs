//! The labels by which a Job finds its own pods and no others.

use serde_json::{Value, json};

use crate::kinds::checks::Faults;
use crate::kinds::fields::{flag, get, object_at, set, text};
use crate::selector::LabelSelector;
use crate::{FieldError, meta};

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
/// The same two from before labels of Kubernetes had a domain.
const OLD_UID: &str = "controller-uid";
const OLD_NAME: &str = "job-name";

/// Gives a new Job its selector and its template the labels, unless its author sees to that.
pub(super) fn generate(object: &mut Value) {
    let (uid, name) = (meta::uid(object).to_owned(), meta::name(object).to_owned());
    let Some(spec) = object_at(object, "spec") else { return };
    if flag(spec, "manualSelector") {
        return;
    }
    let labels = object_at(spec, "template")
        .and_then(|template| object_at(template, "metadata"))
        .and_then(|metadata| object_at(metadata, "labels"));
    if let Some(labels) = labels {
        for (key, value) in [(OLD_NAME, &name), (NAME, &name), (OLD_UID, &uid), (UID, &uid)] {
            if labels.get(key).is_none() {
                set(labels, key, value.as_str());
            }
        }
    }
    let selected = object_at(spec, "selector").and_then(|selector| object_at(selector, "matchLabels"));
    if let Some(selected) = selected
        && selected.get(UID).is_none()
    {
        set(selected, UID, uid);
    }
}

/// What is wrong with what was generated, or with what stands in its way.
pub(super) fn generated_faults(faults: &mut Faults, object: &Value, spec: &Value, old: Option<&Value>) {
    let Some(selector) = get(spec, "selector").filter(|_| !flag(spec, "manualSelector")) else { return };
    let (uid, name) = (meta::uid(object), meta::name(object));
    if uid.is_empty() {
        faults.push(FieldError::required("metadata.uid", ""));
    }
    let labels = |object: &Value| object.pointer("/spec/template/metadata/labels").cloned().unwrap_or(Value::Null);
    let (have, had) = (labels(object), old.map(labels));
    has_label(faults, &have, OLD_UID, uid);
    has_label(faults, &have, OLD_NAME, name);
    let mut expected = json!({ OLD_UID: uid, OLD_NAME: name });
    if had.is_none_or(|had| had.get(NAME).is_some() && had.get(UID).is_some()) {
        has_label(faults, &have, UID, uid);
        has_label(faults, &have, NAME, name);
        set(&mut expected, UID, uid);
        set(&mut expected, NAME, name);
    }
    if LabelSelector::from_json(Some(selector)).is_ok_and(|selector| !selector.matches_json(Some(&expected))) {
        faults.push(FieldError::invalid("spec.selector", selector, "`selector` not auto-generated"));
    }
}

fn has_label(faults: &mut Faults, labels: &Value, key: &str, expected: &str) {
    let path = "spec.template.metadata.labels";
    match labels.get(key) {
        None => faults.push(FieldError::required(format!("{path}[{key}]"), &format!("must be '{expected}'"))),
        Some(_) if text(labels, key) != expected => {
            let detail = format!("must be '{expected}'");
            faults.push(FieldError::invalid(format!("{path}[{key}]"), labels, &detail));
        }
        Some(_) => {}
    }
}
