//! ConfigMap: settings as files or environment variables.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, invalid_each};
use super::fields::{count, entries, flag, get, is_set};
use super::row::row;
use crate::names::config_key_errors;
use crate::{Behaviour, FieldError, Kind, Scope};

/// All values of a ConfigMap, or of a Secret, together.
pub(crate) const DATA_BYTES_MAX: usize = 1024 * 1024;

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "ConfigMap", "configmaps", Scope::Namespaced)
        .short(&["cm"])
        .columns(vec![
            name_column(),
            column("Data", "The number of entries.", |object, _| {
                json!((count(object, "data") + count(object, "binaryData")).to_string())
            }),
            age_column(),
        ])
        .behaviour(ConfigMap)
        .build()
}

struct ConfigMap;

impl Behaviour for ConfigMap {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let mut total = 0;
        for (key, value) in entries(object, "data") {
            invalid_each(&mut faults, &format!("data[{key}]"), key, config_key_errors(key));
            if object.get("binaryData").is_some_and(|binary| binary.get(key).is_some()) {
                let path = format!("data[{key}]");
                faults.push(FieldError::invalid(path, &json!(key), "duplicate of key present in binaryData"));
            }
            total += value.as_str().map_or(0, str::len);
        }
        for (key, value) in entries(object, "binaryData") {
            invalid_each(&mut faults, &format!("binaryData[{key}]"), key, config_key_errors(key));
            total += decoded_length(&mut faults, &format!("binaryData[{key}]"), value);
        }
        if total > DATA_BYTES_MAX {
            // Kubernetes has no field for it: the path is empty, and prints like this.
            faults.push(FieldError::too_long("[]", DATA_BYTES_MAX));
        }
        if let Some(old) = old {
            frozen(&mut faults, object, old, &["data", "binaryData"]);
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// The length of what is held in base64.
pub(crate) fn decoded_length(faults: &mut Faults, path: &str, value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    match STANDARD.decode(text) {
        Ok(bytes) => bytes.len(),
        Err(_) => {
            faults.push(FieldError::invalid(path, &json!("<redacted>"), "must be base64"));
            0
        }
    }
}

/// What `immutable: true` forbids.
pub(crate) fn frozen(faults: &mut Faults, object: &Value, old: &Value, fields: &[&str]) {
    if !flag(old, "immutable") {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if !flag(object, "immutable") {
        faults.push(FieldError::forbidden("immutable", detail));
    }
    for field in fields {
        let same = get(object, field) == get(old, field);
        let both_empty = !is_set(object, field) && count(old, field) == 0;
        if !same && !both_empty {
            faults.push(FieldError::forbidden(*field, detail));
        }
    }
}
