//! PersistentVolumeClaim: a wish for a volume that outlives pods.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, wide};
use super::checks::{Faults, difference, immutable, invalid_each, one_of};
use super::fields::{default_text, default_to, get, is_set, keep, list, object_at, same, set, text, text_at};
use super::pod_template::canonical_quantities;
use super::row::row;
use crate::names::dns_subdomain_errors;
use crate::selector::validate_label_selector;
use crate::{Behaviour, FieldError, Kind, Quantity, Scope, meta};

/// How volumes may be mounted, with the short form that is printed.
const ACCESS_MODES: &[(&str, &str)] =
    &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
/// The old place of a storage class's name.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", Scope::Namespaced)
        .short(&["pvc"])
        .status()
        .columns(vec![
            name_column(),
            column("Status", "Where the claim is on its way to a volume.", |object, _| json!(shown_phase(object))),
            column("Volume", "The volume that the claim has.", |object, _| json!(text_at(object, "/spec/volumeName"))),
            column("Capacity", "The size of the volume.", |object, _| json!(capacity(object))),
            column("Access Modes", "How the volume may be mounted.", |object, _| {
                let bound = !text_at(object, "/spec/volumeName").is_empty();
                json!(if bound { shown_modes(object.pointer("/status/accessModes")) } else { String::new() })
            }),
            column("StorageClass", "StorageClass of the pvc", |object, _| json!(class(object))),
            column("VolumeAttributesClass", "VolumeAttributesClass of the pvc", |object, _| {
                json!(or_unset(object, "/spec/volumeAttributesClassName"))
            }),
            age_column(),
            wide(column("VolumeMode", "Whether the volume is a file system or a block device.", |object, _| {
                json!(or_unset(object, "/spec/volumeMode"))
            })),
        ])
        .behaviour(Claim)
        .build()
}

/// `Terminating` once the object is being deleted, else what its status says.
pub(crate) fn shown_phase(object: &Value) -> &str {
    if meta::is_being_deleted(object) { "Terminating" } else { text_at(object, "/status/phase") }
}

/// `RWO,ROX`
pub(crate) fn shown_modes(modes: Option<&Value>) -> String {
    let has = |mode: &str| modes.and_then(Value::as_array).is_some_and(|modes| modes.iter().any(|one| one == mode));
    let short: Vec<&str> = ACCESS_MODES.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    short.join(",")
}

/// The storage class, from the old place or the new one.
pub(crate) fn class(object: &Value) -> &str {
    meta::annotation(object, CLASS).unwrap_or_else(|| text_at(object, "/spec/storageClassName"))
}

/// A text, or `<unset>`.
pub(crate) fn or_unset<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("<unset>")
}

fn capacity(object: &Value) -> &str {
    if text_at(object, "/spec/volumeName").is_empty() {
        return "";
    }
    object.pointer("/status/capacity/storage").and_then(Value::as_str).unwrap_or("0")
}

/// What a claim has when its author says nothing.
pub(crate) fn fill(claim: &mut Value) {
    if let Some(status) = object_at(claim, "status") {
        default_text(status, "phase", "Pending");
        canonical_quantities(status, "capacity");
        canonical_quantities(status, "allocatedResources");
    }
    let Some(spec) = object_at(claim, "spec") else { return };
    default_text(spec, "volumeMode", "Filesystem");
    default_to(spec, "resources", json!({}));
    if let Some(resources) = spec.get_mut("resources") {
        canonical_quantities(resources, "limits");
        canonical_quantities(resources, "requests");
    }
    if let Some(source) = get(spec, "dataSource").cloned() {
        default_to(spec, "dataSourceRef", source);
    } else if let Some(source) = get(spec, "dataSourceRef").cloned()
        && text(&source, "namespace").is_empty()
        && source.is_object()
    {
        set(spec, "dataSource", source);
    }
}

struct Claim;

impl Behaviour for Claim {
    fn default(&self, object: &mut Value) {
        fill(object);
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({ "phase": "Pending" }));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        spec_faults(&mut faults, spec, "spec");
        if let Some(old) = old {
            update_faults(&mut faults, object, old);
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let capacity = object.pointer("/status/capacity").and_then(Value::as_object);
        for (name, value) in capacity.into_iter().flatten() {
            amount(&mut faults, value, &format!("status.capacity[{name}]"));
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        if meta::annotation(object, CLASS).is_some() {
            let rule = "deprecated since v1.8; use \"storageClassName\" attribute instead";
            warnings.push(format!("metadata.annotations[{CLASS}]: {rule}"));
        }
        warnings.extend(spec_warnings(object.get("spec").unwrap_or(&Value::Null), "spec"));
        warnings
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// Warnings about a claim's spec that stands at `path`.
pub(crate) fn spec_warnings(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for side in ["limits", "requests"] {
        let Some(size) = spec.pointer(&format!("/resources/{side}/storage")) else { continue };
        if Quantity::from_json(size).is_ok_and(|size| !size.is_whole()) {
            let shown = size.as_str().unwrap_or_default();
            let rule = format!("fractional byte value {shown:?} is invalid, must be an integer");
            warnings.push(format!("{path}.resources.{side}[storage]: {rule}"));
        }
    }
    warnings
}

/// A quantity that is not below zero.
pub(crate) fn amount(faults: &mut Faults, value: &Value, path: &str) {
    match Quantity::from_json(value) {
        Err(error) => faults.push(FieldError::invalid(path, value, &error.to_string())),
        Ok(amount) if amount.is_negative() => {
            faults.push(FieldError::invalid(path, &json!(amount.to_string()), super::checks::NON_NEGATIVE));
        }
        Ok(_) => {}
    }
}

/// A quantity above zero.
pub(crate) fn positive(faults: &mut Faults, value: &Value, path: &str) {
    match Quantity::from_json(value) {
        Err(error) => faults.push(FieldError::invalid(path, value, &error.to_string())),
        Ok(amount) if amount.is_negative() || amount.is_zero() => {
            faults.push(FieldError::invalid(path, &json!(amount.to_string()), "must be greater than zero"));
        }
        Ok(_) => {}
    }
}

/// How a volume may be mounted, for volumes and claims.
pub(crate) fn mode_faults(faults: &mut Faults, spec: &Value, path: &str, when_none: &str) {
    let at = format!("{path}.accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        faults.push(FieldError::required(at.as_str(), when_none));
    }
    let mut known: Vec<&str> = ACCESS_MODES.iter().map(|(mode, _)| *mode).collect();
    known.sort_unstable();
    let (mut alone, mut other) = (false, false);
    for mode in modes {
        let said = mode.as_str().unwrap_or_default();
        if !known.contains(&said) {
            faults.push(FieldError::not_supported(at.as_str(), mode, &known));
        }
        alone |= said == "ReadWriteOncePod";
        other |= known.contains(&said) && said != "ReadWriteOncePod";
    }
    if alone && other {
        faults.push(FieldError::forbidden(at, "may not use ReadWriteOncePod with other access modes"));
    }
}

/// What is wrong with a claim's spec that stands at `path`.
pub(crate) fn spec_faults(faults: &mut Faults, spec: &Value, path: &str) {
    mode_faults(faults, spec, path, "at least 1 access mode is required");
    if let Some(selector) = get(spec, "selector") {
        faults.extend(validate_label_selector(selector, &format!("{path}.selector")));
    }
    let storage = spec.pointer("/resources/requests/storage");
    let at = format!("{path}.resources[storage]");
    match storage {
        None => faults.push(FieldError::required(at, "")),
        Some(storage) => positive(faults, storage, &at),
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let name = text(spec, field);
        if !name.is_empty() {
            invalid_each(faults, &format!("{path}.{field}"), name, dns_subdomain_errors(name));
        }
    }
    if spec.get("volumeAttributesClassName").and_then(Value::as_str) == Some("") {
        let detail = "an empty string is disallowed";
        faults.push(FieldError::required(format!("{path}.volumeAttributesClassName"), detail));
    }
    one_of(faults, spec, path, "volumeMode", &["Block", "Filesystem"], false);
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = get(spec, field) {
            source_faults(faults, source, &format!("{path}.{field}"));
        }
    }
    let (source, reference) = (get(spec, "dataSource"), get(spec, "dataSourceRef"));
    if let (Some(source), Some(reference)) = (source, reference) {
        if !text(reference, "namespace").is_empty() {
            let detail = "may not be specified when dataSourceRef.namespace is specified";
            faults.push(FieldError::invalid(format!("{path}.dataSource"), source, detail));
        } else if !same(Some(source), Some(reference)) {
            faults.push(FieldError::invalid(path, &json!(format!("{path}.dataSource")), "must match dataSourceRef"));
        }
    }
}

fn source_faults(faults: &mut Faults, source: &Value, path: &str) {
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            faults.push(FieldError::required(format!("{path}.{field}"), ""));
        }
    }
    let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
    if group.is_empty() && !kind.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        faults.push(FieldError::invalid(path, &json!(kind), detail));
    }
    if !group.is_empty() {
        invalid_each(faults, &format!("{path}.apiGroup"), group, dns_subdomain_errors(group));
    }
}

/// A claim gets a volume, once bound grows, and changes in nothing else.
fn update_faults(faults: &mut Faults, object: &Value, old: &Value) {
    const STORAGE: &str = "/resources/requests/storage";
    let empty = json!({});
    let (new, was) = (get(object, "spec").unwrap_or(&empty), get(old, "spec").unwrap_or(&empty));
    let mut munged = new.clone();
    if text(was, "volumeName").is_empty() {
        keep(&mut munged, was, "volumeName");
    }
    if !is_set(was, "storageClassName") && class(old) == class(object) {
        keep(&mut munged, was, "storageClassName");
    }
    if !is_set(was, "storageClassName")
        && meta::annotation(old, CLASS).is_none()
        && text(was, "volumeName").is_empty()
        && is_set(new, "storageClassName")
    {
        // A claim that came before there was a default class may get it later.
        keep(&mut munged, was, "storageClassName");
    }
    keep(&mut munged, was, "volumeAttributesClassName");
    let bound = text_at(object, "/status/phase") == "Bound";
    let (size, had) = (new.pointer(STORAGE), was.pointer(STORAGE));
    if bound
        && let Some(had) = had
        && let Some(place) = munged.pointer_mut(STORAGE)
    {
        *place = had.clone();
    }
    if !same(Some(&munged), Some(was)) {
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            difference(&munged, was)
        );
        faults.push(FieldError::forbidden("spec", &detail));
    }
    let read = |value: Option<&Value>| value.and_then(|value| Quantity::from_json(value).ok());
    if let (Some(size), Some(had)) = (read(size), read(had))
        && size < had
    {
        let holds = read(old.pointer("/status/capacity/storage"));
        if holds.is_none_or(|holds| size < holds) {
            let detail = "field can not be less than status.capacity";
            faults.push(FieldError::forbidden("spec.resources.requests.storage", detail));
        }
    }
    immutable(faults, new, was, "", "volumeMode");
}
