//! What is wrong with a pod's volumes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::checks::{Faults, required_name, required_text, unique};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::kinds::persistent_volume_claim::spec_faults;
use crate::names::dns_label_errors;
use crate::{FieldError, Quantity};

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
    of_kind(faults, source, kind, path);
    if kind != "projected" {
        return;
    }
    for (at, inner) in list(source, "sources").iter().enumerate() {
        let path = format!("{path}.sources[{at}]");
        let kinds = inner.as_object().map_or(0, |inner| inner.values().filter(|source| !source.is_null()).count());
        if kinds != 1 {
            let detail = if kinds == 0 {
                "must specify one of the projected sources"
            } else {
                "may not specify more than 1 volume type per source"
            };
            faults.push(FieldError::forbidden(path.as_str(), detail));
        }
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

/// What only sources of one kind have.
fn of_kind(faults: &mut Faults, source: &Value, kind: &str, path: &str) {
    match kind {
        "hostPath" => {
            let types =
                ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            if !types.contains(&text(source, "type")) {
                faults.push(FieldError::not_supported(format!("{path}.type"), &source["type"], &types));
            }
        }
        "emptyDir" => {
            if let Some(limit) = get(source, "sizeLimit")
                && Quantity::from_json(limit).is_ok_and(Quantity::is_negative)
            {
                let detail = "SizeLimit field must be a valid resource quantity";
                faults.push(FieldError::forbidden(format!("{path}.sizeLimit"), detail));
            }
        }
        "nfs" => {
            required_text(faults, &format!("{path}.path"), text(source, "path"));
            if !text(source, "path").is_empty() && !text(source, "path").starts_with('/') {
                let detail = "must be an absolute path";
                faults.push(FieldError::invalid(format!("{path}.path"), &json!(text(source, "path")), detail));
            }
        }
        "ephemeral" => match get(source, "volumeClaimTemplate") {
            None => faults.push(FieldError::required(format!("{path}.volumeClaimTemplate"), "")),
            Some(claim) => {
                let empty = json!({});
                let spec = get(claim, "spec").unwrap_or(&empty);
                spec_faults(faults, spec, &format!("{path}.volumeClaimTemplate.spec"));
            }
        },
        _ => {}
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
        if kind == "downwardAPI" {
            let (of_pod, of_container) = (is_set(item, "fieldRef"), is_set(item, "resourceFieldRef"));
            if of_pod && of_container {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                faults.push(FieldError::invalid(path.as_str(), &json!("resource"), detail));
            } else if !of_pod && !of_container {
                faults.push(FieldError::required(path.as_str(), "one of fieldRef and resourceFieldRef is required"));
            }
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
