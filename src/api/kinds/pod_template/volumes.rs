//! What is wrong with a pod's volumes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, required_name, required_text, unique};
use crate::kinds::fields::{get, int, list, text};
use crate::names::dns_label_errors;

/// The sources that are checked further: the source, and the field that it cannot do without.
const REQUIRED: &[(&str, &str)] = &[
    ("secret", "secretName"),
    ("configMap", "name"),
    ("hostPath", "path"),
    ("persistentVolumeClaim", "claimName"),
    ("nfs", "server"),
    ("csi", "driver"),
];

/// Collects the faults and answers the names of all volumes.
pub(super) fn volume_faults(faults: &mut Faults, spec: &Value, path: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{at}]");
        let name = text(volume, "name");
        required_name(faults, &format!("{path}.name"), name, dns_label_errors);
        unique(faults, &mut names, &format!("{path}.name"), name);
        let sources: Vec<&String> = volume
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key)
            .collect();
        if sources.is_empty() {
            faults.push(FieldError::required(&path, "must specify a volume type"));
        }
        for extra in sources.iter().skip(1) {
            faults.push(FieldError::forbidden(format!("{path}.{extra}"), "may not specify more than 1 volume type"));
        }
        if let [source] = sources.as_slice() {
            source_faults(faults, &volume[source.as_str()], source, &format!("{path}.{source}"));
        }
    }
    names
}

fn source_faults(faults: &mut Faults, source: &Value, kind: &str, path: &str) {
    if let Some((_, field)) = REQUIRED.iter().find(|(name, _)| *name == kind) {
        required_text(faults, &format!("{path}.{field}"), text(source, field));
    }
    mode_faults(faults, source, "defaultMode", path);
    key_paths(faults, source, path, kind);
    if kind == "hostPath" && text(source, "path").split('/').any(|part| part == "..") {
        faults.push(FieldError::invalid(format!("{path}.path"), &json!(text(source, "path")), "must not contain '..'"));
    }
    if kind != "projected" {
        return;
    }
    for (at, inner) in list(source, "sources").iter().enumerate() {
        let path = format!("{path}.sources[{at}]");
        for kind in ["secret", "configMap", "downwardAPI"] {
            let Some(inner) = get(inner, kind) else { continue };
            if kind != "downwardAPI" {
                required_text(faults, &format!("{path}.{kind}.name"), text(inner, "name"));
            }
            key_paths(faults, inner, &format!("{path}.{kind}"), kind);
        }
        if let Some(token) = get(inner, "serviceAccountToken") {
            required_text(faults, &format!("{path}.serviceAccountToken.path"), text(token, "path"));
            let seconds = int(token, "expirationSeconds").unwrap_or_default();
            if seconds < 600 {
                let at = format!("{path}.serviceAccountToken.expirationSeconds");
                faults.push(FieldError::invalid(
                    at,
                    &json!(seconds),
                    "may not specify a duration less than 10 minutes",
                ));
            }
        }
    }
}

fn mode_faults(faults: &mut Faults, value: &Value, field: &str, path: &str) {
    if let Some(mode) = int(value, field)
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        faults.push(FieldError::invalid(format!("{path}.{field}"), &json!(mode), detail));
    }
}

fn key_paths(faults: &mut Faults, source: &Value, path: &str, kind: &str) {
    for (at, item) in list(source, "items").iter().enumerate() {
        let path = format!("{path}.items[{at}]");
        if kind != "downwardAPI" {
            required_text(faults, &format!("{path}.key"), text(item, "key"));
        }
        let target = text(item, "path");
        required_text(faults, &format!("{path}.path"), target);
        inside(faults, target, &format!("{path}.path"));
        mode_faults(faults, item, "mode", &path);
    }
}

/// A path that stays within its volume.
pub(super) fn inside(faults: &mut Faults, target: &str, path: &str) {
    if target.starts_with('/') {
        faults.push(FieldError::invalid(path, &json!(target), "must be a relative path"));
    }
    if target.split('/').any(|part| part == "..") {
        faults.push(FieldError::invalid(path, &json!(target), "must not contain '..'"));
    }
}
