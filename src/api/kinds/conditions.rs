//! `metav1.Condition`, as newer kinds hold it in their status.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::checks::{Faults, invalid_each, unique};
use super::fields::{int, is_set, list, text};
use crate::FieldError;
use crate::names::{qualified_name_errors, regex_sentence};

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Whether the condition of this type holds in a status.
pub(crate) fn holds(status: &Value, kind: &str) -> bool {
    list(status, "conditions").iter().any(|one| text(one, "type") == kind && text(one, "status") == "True")
}

/// What is wrong with the conditions of a status, which stand at `path`.
pub(crate) fn condition_faults(faults: &mut Faults, status: &Value, path: &str) {
    let mut types = BTreeSet::new();
    for (at, condition) in list(status, "conditions").iter().enumerate() {
        let path = format!("{path}[{at}]");
        let kind = text(condition, "type");
        unique(faults, &mut types, &format!("{path}.type"), kind);
        invalid_each(faults, &format!("{path}.type"), kind, qualified_name_errors(kind));
        let states = ["False", "True", "Unknown"];
        if !states.contains(&text(condition, "status")) {
            let said = json!(text(condition, "status"));
            faults.push(FieldError::not_supported(format!("{path}.status"), &said, &states));
        }
        if let Some(generation) = int(condition, "observedGeneration").filter(|generation| *generation < 0) {
            let detail = "must be greater than or equal to zero";
            faults.push(FieldError::invalid(format!("{path}.observedGeneration"), &json!(generation), detail));
        }
        if !is_set(condition, "lastTransitionTime") {
            faults.push(FieldError::required(format!("{path}.lastTransitionTime"), "must be set"));
        }
        reason(faults, text(condition, "reason"), &format!("{path}.reason"));
        if text(condition, "message").len() > MESSAGE_BYTES_MAX {
            faults.push(FieldError::too_long(format!("{path}.message"), MESSAGE_BYTES_MAX));
        }
    }
}

fn reason(faults: &mut Faults, reason: &str, path: &str) {
    if reason.is_empty() {
        faults.push(FieldError::required(path, "must be set"));
        return;
    }
    let bytes = reason.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"_,:".contains(byte);
    let first = bytes.first().is_some_and(u8::is_ascii_alphabetic);
    let last = bytes.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if !first || !last || !bytes.iter().all(inner) {
        let rule = "a condition reason must start with alphabetic character, optionally followed by a string of \
                    alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
        let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
        let detail = regex_sentence(rule, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples);
        faults.push(FieldError::invalid(path, &json!(reason), &detail));
    }
    if reason.len() > REASON_BYTES_MAX {
        faults.push(FieldError::too_long(path, REASON_BYTES_MAX));
    }
}
