//! Checks that several kinds share, with Kubernetes' sentences.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::{entries, get, same, text};
use crate::FieldError;
use crate::names::{Rule, percent_errors};

/// The faults found so far, and where in the object the next ones are looked for.
pub(crate) type Faults = Vec<FieldError>;

pub(crate) const NON_NEGATIVE: &str = "must be greater than or equal to 0";
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// One fault a message, all about `value`.
pub(crate) fn invalid_each(faults: &mut Faults, path: &str, value: &str, messages: Vec<String>) {
    faults.extend(messages.iter().map(|message| FieldError::invalid(path, &json!(value), message)));
}

/// A name that must be there and keep a rule.
pub(crate) fn required_name(faults: &mut Faults, path: &str, value: &str, rule: Rule) {
    if value.is_empty() {
        faults.push(FieldError::required(path, ""));
    } else {
        invalid_each(faults, path, value, rule(value));
    }
}

/// A text that must be there.
pub(crate) fn required_text(faults: &mut Faults, path: &str, value: &str) {
    if value.is_empty() {
        faults.push(FieldError::required(path, ""));
    }
}

/// A number that, where given, is not below zero.
pub(crate) fn non_negative(faults: &mut Faults, object: &Value, path: &str, key: &str) {
    if let Some(number) = object.get(key).and_then(Value::as_i64)
        && number < 0
    {
        faults.push(FieldError::invalid(format!("{path}.{key}"), &json!(number), NON_NEGATIVE));
    }
}

/// Numbers that, where given, are not below zero.
pub(crate) fn none_negative(faults: &mut Faults, object: &Value, path: &str, keys: &[&str]) {
    for key in keys {
        non_negative(faults, object, path, key);
    }
}

/// A number of a status that another one bounds. `named` is how the sentence names the bound.
pub(crate) fn at_most(faults: &mut Faults, status: &Value, less: &str, more: &str, named: &str) {
    let count = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or_default();
    if count(less) > count(more) {
        let detail = format!("cannot be greater than {named}");
        faults.push(FieldError::invalid(format!("status.{less}"), &json!(count(less)), &detail));
    }
}

/// A counter of a status that only grows.
pub(crate) fn not_decremented(faults: &mut Faults, status: &Value, old: Option<&Value>, key: &str) {
    let count = |status: &Value| status.get(key).and_then(Value::as_i64);
    let Some(was) = old.and_then(count) else { return };
    let now = count(status).unwrap_or_default();
    if now < was {
        faults.push(FieldError::invalid(format!("status.{key}"), &json!(now), "cannot be decremented"));
    }
}

/// A fault about something too large, or too well hidden, to be shown.
pub(crate) fn invalid_unseen(path: &str, detail: &str) -> FieldError {
    FieldError { field: path.to_owned(), reason: "FieldValueInvalid", message: format!("Invalid value: {detail}") }
}

/// A percentage of more than all.
pub(crate) fn at_most_all(faults: &mut Faults, value: &Value, path: &str) {
    if percent(value).is_some_and(|share| share > 100) {
        faults.push(FieldError::invalid(path, value, "must not be greater than 100%"));
    }
}

/// Whether a number or percentage is nothing.
pub(crate) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_i64() == Some(0) || percent(value) == Some(0)
}

/// The sentence about a name that pods take over and that no host can have.
pub(crate) fn host_name_warning(object: &Value, used: &str) -> Option<String> {
    let name = crate::meta::name(object);
    let wrong = if name.is_empty() { Vec::new() } else { crate::names::dns_label_errors(name) };
    let rest = "which can result in surprising behavior; a DNS label is recommended";
    (!wrong.is_empty()).then(|| format!("metadata.name: this is used in {used}, {rest}: [{}]", wrong.join(" ")))
}

/// A text out of a closed set; an empty one is a fault when `required`.
pub(crate) fn one_of(faults: &mut Faults, object: &Value, path: &str, key: &str, allowed: &[&str], required: bool) {
    let value = text(object, key);
    if value.is_empty() {
        if required {
            faults.push(FieldError::required(format!("{path}.{key}"), ""));
        }
    } else if !allowed.contains(&value) {
        faults.push(FieldError::not_supported(format!("{path}.{key}"), &json!(value), allowed));
    }
}

/// A field that may not differ from what it was.
pub(crate) fn immutable(faults: &mut Faults, new: &Value, old: &Value, path: &str, key: &str) {
    let now = get(new, key);
    if !same(now, get(old, key)) {
        let full = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        faults.push(FieldError::invalid(full, now.unwrap_or(&Value::Null), IMMUTABLE));
    }
}

/// Remembers `value` and tells when it was there before.
pub(crate) fn unique(faults: &mut Faults, seen: &mut BTreeSet<String>, path: &str, value: &str) {
    if !value.is_empty() && !seen.insert(value.to_owned()) {
        faults.push(FieldError::duplicate(path, &json!(value)));
    }
}

/// A number, or a percentage.
pub(crate) fn int_or_percent(faults: &mut Faults, value: &Value, path: &str) {
    match value {
        Value::String(text) => invalid_each(faults, path, text, percent_errors(text)),
        Value::Number(number) if number.as_i64().is_none_or(|number| number < 0) => {
            faults.push(FieldError::invalid(path, value, NON_NEGATIVE));
        }
        Value::Number(_) => {}
        other => {
            faults.push(FieldError::invalid(path, other, "must be an integer or percentage (e.g '5%%')"));
        }
    }
}

/// The share that a percentage names, nothing for a plain number.
pub(crate) fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

/// The fields that two objects do not share, as a sentence about what may not change ends.
pub(crate) fn difference(new: &Value, old: &Value) -> String {
    let mut lines = String::new();
    let object = json!({ "new": new, "old": old });
    let mut fields: Vec<&String> = entries(&object, "new").chain(entries(&object, "old")).map(|(key, _)| key).collect();
    fields.sort();
    fields.dedup();
    for field in fields {
        let (now, was) = (get(new, field), get(old, field));
        if !same(now, was) {
            let shown = |value: Option<&Value>| value.map_or("nil".to_owned(), Value::to_string);
            lines.push_str(&format!("- \t{field}: {}\n+ \t{field}: {}\n", shown(was), shown(now)));
        }
    }
    lines
}
