//! PersistentVolume: a place for data that outlives pods and claims.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, wide};
use super::checks::{Faults, difference, immutable, invalid_each, one_of, required_text};
use super::fields::{default_text, default_to, entries, get, is_set, keep, object_at, same, set, text, text_at};
use super::persistent_volume_claim::{class, mode_faults, or_unset, positive, shown_modes, shown_phase};
use super::pod_template::{canonical_quantities, node_selector_faults, node_selector_warnings};
use super::row::row;
use crate::names::dns_subdomain_errors;
use crate::{Behaviour, FieldError, Kind, Scope, meta};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "PersistentVolume", "persistentvolumes", Scope::Cluster)
        .short(&["pv"])
        .status()
        .columns(vec![
            name_column(),
            column("Capacity", "The size of the volume.", |object, _| {
                json!(object.pointer("/spec/capacity/storage").and_then(Value::as_str).unwrap_or("0"))
            }),
            column("Access Modes", "How the volume may be mounted.", |object, _| {
                json!(shown_modes(object.pointer("/spec/accessModes")))
            }),
            column("Reclaim Policy", "What becomes of the volume once its claim is gone.", |object, _| {
                json!(text_at(object, "/spec/persistentVolumeReclaimPolicy"))
            }),
            column("Status", "Whether a claim has the volume.", |object, _| json!(shown_phase(object))),
            column("Claim", "The claim that has the volume.", |object, _| json!(claim(object))),
            column("StorageClass", "StorageClass of the pv", |object, _| json!(class(object))),
            column("VolumeAttributesClass", "VolumeAttributesClass of the pv", |object, _| {
                json!(or_unset(object, "/spec/volumeAttributesClassName"))
            }),
            column("Reason", "Why the volume is in such a state.", |object, _| {
                json!(text_at(object, "/status/reason"))
            }),
            age_column(),
            wide(column("VolumeMode", "Whether the volume is a file system or a block device.", |object, _| {
                json!(or_unset(object, "/spec/volumeMode"))
            })),
        ])
        .behaviour(Volume)
        .build()
}

fn claim(object: &Value) -> String {
    match object.pointer("/spec/claimRef").filter(|claim| claim.is_object()) {
        Some(claim) => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
        None => String::new(),
    }
}

/// Where a volume may be kept.
const SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];
/// The fields that sources cannot do without.
const REQUIRED: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cinder", &["volumeID"]),
    ("csi", &["volumeHandle"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("glusterfs", &["endpoints", "path"]),
    ("hostPath", &["path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("local", &["path"]),
    ("nfs", &["server", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("rbd", &["image"]),
    ("vsphereVolume", &["volumePath"]),
];

struct Volume;

impl Behaviour for Volume {
    fn default(&self, object: &mut Value) {
        if let Some(status) = object_at(object, "status") {
            default_text(status, "phase", "Pending");
        }
        let Some(spec) = object_at(object, "spec") else { return };
        default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        default_text(spec, "volumeMode", "Filesystem");
        canonical_quantities(spec, "capacity");
        if let Some(path) = spec.get_mut("hostPath").filter(|path| path.is_object()) {
            default_to(path, "type", "");
        }
        if let Some(disk) = spec.get_mut("iscsi").filter(|disk| disk.is_object()) {
            default_text(disk, "iscsiInterface", "default");
        }
        if let Some(claim) = spec.get_mut("claimRef").filter(|claim| claim.is_object()) {
            default_text(claim, "kind", "PersistentVolumeClaim");
            default_text(claim, "apiVersion", "v1");
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        let mut status = json!({ "phase": "Pending" });
        let created = text_at(object, "/metadata/creationTimestamp");
        if !created.is_empty() {
            set(&mut status, "lastPhaseTransitionTime", created);
        }
        set(object, "status", status);
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        mode_faults(&mut faults, spec, "spec", "");
        capacity(&mut faults, spec);
        let policies = ["Delete", "Recycle", "Retain"];
        one_of(&mut faults, spec, "spec", "persistentVolumeReclaimPolicy", &policies, false);
        affinity(&mut faults, spec);
        sources(&mut faults, spec);
        let name = text(spec, "storageClassName");
        if !name.is_empty() {
            invalid_each(&mut faults, "spec.storageClassName", name, dns_subdomain_errors(name));
        }
        one_of(&mut faults, spec, "spec", "volumeMode", &["Block", "Filesystem"], false);
        attributes_class(&mut faults, spec);
        if let Some(old) = old {
            let was = get(old, "spec").unwrap_or(&empty);
            update_faults(&mut faults, spec, was);
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings(object)
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn capacity(faults: &mut Faults, spec: &Value) {
    let all = spec.get("capacity").and_then(Value::as_object);
    let count = all.map_or(0, serde_json::Map::len);
    if count == 0 {
        faults.push(FieldError::required("spec.capacity", ""));
    }
    if count != 1 || all.is_some_and(|all| !all.contains_key("storage")) {
        let shown = spec.get("capacity").cloned().unwrap_or(Value::Null);
        faults.push(FieldError::not_supported("spec.capacity", &shown, &["storage"]));
    }
    for (name, value) in entries(spec, "capacity") {
        positive(faults, value, &format!("spec.capacity[{name}]"));
    }
}

fn affinity(faults: &mut Faults, spec: &Value) {
    let Some(affinity) = get(spec, "nodeAffinity") else {
        if is_set(spec, "local") {
            faults.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
        }
        return;
    };
    match get(affinity, "required") {
        Some(required) => node_selector_faults(faults, required, "spec.nodeAffinity.required"),
        None => {
            let detail = "must specify required node constraints";
            faults.push(FieldError::required("spec.nodeAffinity.required", detail));
        }
    }
}

fn sources(faults: &mut Faults, spec: &Value) {
    let found: Vec<&str> = SOURCES.iter().copied().filter(|source| is_set(spec, source)).collect();
    let Some(source) = found.first() else {
        faults.push(FieldError::required("spec", "must specify a volume type"));
        return;
    };
    for extra in found.iter().skip(1) {
        faults.push(FieldError::forbidden(format!("spec.{extra}"), "may not specify more than 1 volume type"));
    }
    let (held, path) = (&spec[*source], format!("spec.{source}"));
    if *source == "csi" {
        driver(faults, text(held, "driver"), &format!("{path}.driver"));
    }
    for field in REQUIRED.iter().find(|(name, _)| name == source).map_or(&[][..], |(_, fields)| fields) {
        required_text(faults, &format!("{path}.{field}"), text(held, field));
    }
    let place = text(held, "path");
    match *source {
        "hostPath" | "local" if place.split('/').any(|part| part == "..") => {
            faults.push(FieldError::invalid(format!("{path}.path"), &json!(place), "must not contain '..'"));
        }
        "nfs" if !place.is_empty() && !place.starts_with('/') => {
            faults.push(FieldError::invalid(format!("{path}.path"), &json!(place), "must be an absolute path"));
        }
        _ => {}
    }
    let recycled = text(spec, "persistentVolumeReclaimPolicy") == "Recycle";
    let root = !place.is_empty() && place.split('/').all(|part| part.is_empty() || part == ".");
    if *source == "hostPath" && recycled && root && place.starts_with('/') {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        faults.push(FieldError::forbidden("spec.persistentVolumeReclaimPolicy", detail));
    }
}

/// The name of a CSI driver.
pub(crate) fn driver(faults: &mut Faults, name: &str, path: &str) {
    if name.is_empty() {
        faults.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > 63 {
        faults.push(FieldError::too_long(path, 63));
    }
    invalid_each(faults, path, name, dns_subdomain_errors(&name.to_lowercase()));
}

fn attributes_class(faults: &mut Faults, spec: &Value) {
    let Some(name) = spec.get("volumeAttributesClassName").and_then(Value::as_str) else { return };
    let path = "spec.volumeAttributesClassName";
    if name.is_empty() {
        faults.push(FieldError::required(path, "an empty string is disallowed"));
    } else {
        invalid_each(faults, path, name, dns_subdomain_errors(name));
    }
    if !is_set(spec, "csi") {
        faults.push(FieldError::required("spec.csi", "has to be specified when using volumeAttributesClassName"));
    }
}

fn update_faults(faults: &mut Faults, spec: &Value, was: &Value) {
    let only_sources = |spec: &Value| {
        let held = SOURCES.iter().filter_map(|source| Some(((*source).to_owned(), get(spec, source)?.clone())));
        let mut held = held.collect::<Value>();
        // Secrets for growing may be named later.
        if let Some(csi) = held.get_mut("csi").filter(|csi| csi.is_object()) {
            for field in ["controllerExpandSecretRef", "nodeExpandSecretRef"] {
                if !is_set(was.get("csi").unwrap_or(&Value::Null), field) {
                    super::fields::remove(csi, field);
                }
            }
        }
        held
    };
    let (new, old) = (only_sources(spec), only_sources(was));
    if !same(Some(&new), Some(&old)) {
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{}", difference(&new, &old));
        faults.push(FieldError::forbidden("spec.persistentvolumesource", &detail));
    }
    immutable(faults, spec, was, "", "volumeMode");
    if is_set(was, "nodeAffinity") {
        immutable(faults, spec, was, "", "nodeAffinity");
    }
}

fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if meta::annotation(object, "volume.beta.kubernetes.io/storage-class").is_some() {
        let rule = "deprecated since v1.8; use \"storageClassName\" attribute instead";
        warnings.push(format!("metadata.annotations[volume.beta.kubernetes.io/storage-class]: {rule}"));
    }
    if text_at(object, "/spec/persistentVolumeReclaimPolicy") == "Recycle" {
        let rule = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        warnings.push(format!("spec.persistentVolumeReclaimPolicy: {rule}"));
    }
    if let Some(selector) = object.pointer("/spec/nodeAffinity/required") {
        warnings.extend(node_selector_warnings(selector, "spec.nodeAffinity.required"));
    }
    let gone = [
        ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];
    for (source, rule) in gone {
        if object.get("spec").is_some_and(|spec| is_set(spec, source)) {
            warnings.push(format!("spec.{source}: {rule}"));
        }
    }
    warnings
}
