//! Secret: settings that are not for everybody's eyes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, immutable, invalid_each};
use super::config_map::{DATA_BYTES_MAX, decoded_length, frozen};
use super::fields::{count, default_text, entries, object_at, remove, set, text};
use super::row::row;
use crate::names::config_key_errors;
use crate::{Behaviour, FieldError, Kind, Scope, meta};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "Secret", "secrets", Scope::Namespaced)
        .columns(vec![
            name_column(),
            column("Type", "Used to facilitate programmatic handling of secret data.", |object, _| {
                json!(text(object, "type"))
            }),
            column("Data", "The number of entries.", |object, _| json!(count(object, "data").to_string())),
            age_column(),
        ])
        .behaviour(Secret)
        .build()
}

struct Secret;

impl Behaviour for Secret {
    fn default(&self, object: &mut Value) {
        default_text(object, "type", "Opaque");
        let plain = object.get("stringData").and_then(Value::as_object).cloned();
        remove(object, "stringData");
        let Some(plain) = plain.filter(|plain| !plain.is_empty()) else { return };
        if let Some(data) = object_at(object, "data") {
            for (key, value) in plain {
                set(data, &key, STANDARD.encode(value.as_str().unwrap_or_default()));
            }
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let mut total = 0;
        for (key, value) in entries(object, "data") {
            let path = format!("data[{key}]");
            invalid_each(&mut faults, &path, key, config_key_errors(key));
            total += decoded_length(&mut faults, &path, value);
        }
        if total > DATA_BYTES_MAX {
            faults.push(FieldError::too_long("data", DATA_BYTES_MAX));
        }
        of_type(&mut faults, object);
        if let Some(old) = old {
            immutable(&mut faults, object, old, "", "type");
            frozen(&mut faults, object, old, &["data"]);
        }
        faults
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![("type".into(), text(object, "type").to_owned())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["type"]
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// The keys that each well-known type must have.
fn of_type(faults: &mut Faults, object: &Value) {
    let has = |key: &str| object.get("data").is_some_and(|data| data.get(key).is_some());
    let required = |faults: &mut Faults, key: &str| {
        if !has(key) {
            faults.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if meta::annotation(object, key).is_none_or(str::is_empty) {
                faults.push(FieldError::required(format!("metadata.annotations[{key}]"), ""));
            }
        }
        "kubernetes.io/dockercfg" => docker_config(faults, object, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => docker_config(faults, object, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            required(faults, "username");
            required(faults, "password");
        }
        "kubernetes.io/ssh-auth" => required(faults, "ssh-privatekey"),
        "kubernetes.io/tls" => {
            required(faults, "tls.crt");
            required(faults, "tls.key");
        }
        _ => {}
    }
}

fn docker_config(faults: &mut Faults, object: &Value, key: &str) {
    let path = format!("data[{key}]");
    let Some(held) = object.get("data").and_then(|data| data.get(key)).and_then(Value::as_str) else {
        faults.push(FieldError::required(path, ""));
        return;
    };
    let read = STANDARD.decode(held).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    if !read.is_some_and(|config| config.is_object()) {
        faults.push(FieldError::invalid(path, &json!("<secret contents redacted>"), "must be a JSON object"));
    }
}
