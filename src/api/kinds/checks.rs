//! Checks that several kinds share, with Kubernetes' sentences.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::{get, same, text};
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
