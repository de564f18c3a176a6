//! ResourceSlice: the devices that a driver offers, at a node or for several.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, IMMUTABLE, invalid_each, required_name};
use super::csi::driver_name_faults;
use super::fields::{count, entries, flag, get, int, is_set, list, text, text_at};
use super::pod_template::node_selector_faults;
use super::resource_claim::pool_name_faults;
use super::row::row;
use crate::names::{dns_label_errors, dns_subdomain_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

const DEVICES_MAX: usize = 128;
const ATTRIBUTES_MAX: usize = 32;
const PLACES: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";

/// The row.
pub fn kind() -> Kind {
    row("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", Scope::Cluster)
        .columns(vec![
            name_column(),
            column("Node", "The node that has the devices.", |object, _| json!(text_at(object, "/spec/nodeName"))),
            column("Driver", "Who offers them.", |object, _| json!(text_at(object, "/spec/driver"))),
            column("Pool", "What they belong to.", |object, _| json!(text_at(object, "/spec/pool/name"))),
            age_column(),
        ])
        .behaviour(ResourceSlice)
        .build()
}

struct ResourceSlice;

impl Behaviour for ResourceSlice {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        driver_name_faults(&mut faults, "spec.driver", text(spec, "driver"));
        pool_faults(&mut faults, get(spec, "pool").unwrap_or(&empty));
        for pointer in ["/pool/name", "/driver", "/nodeName"] {
            if let Some(was) = old.and_then(|old| get(old, "spec"))
                && text_at(was, pointer) != text_at(spec, pointer)
            {
                let path = format!("spec{}", pointer.replace('/', "."));
                faults.push(FieldError::invalid(path, &json!(text_at(spec, pointer)), IMMUTABLE));
            }
        }
        place_faults(&mut faults, spec);
        let devices = list(spec, "devices");
        if devices.len() > DEVICES_MAX {
            faults.push(FieldError::too_many("spec.devices", devices.len(), DEVICES_MAX));
        }
        let mut names = BTreeSet::new();
        for (at, device) in devices.iter().enumerate() {
            let path = format!("spec.devices[{at}]");
            let name = text(device, "name");
            required_name(&mut faults, &format!("{path}.name"), name, dns_label_errors);
            super::checks::unique(&mut faults, &mut names, &format!("{path}.name"), name);
            device_faults(&mut faults, device, &path);
        }
        faults
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let field = |pointer| text_at(object, pointer).to_owned();
        vec![("spec.nodeName".into(), field("/spec/nodeName")), ("spec.driver".into(), field("/spec/driver"))]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["spec.nodeName", "spec.driver"]
    }
}

fn pool_faults(faults: &mut Faults, pool: &Value) {
    pool_name_faults(faults, "spec.pool.name", text(pool, "name"));
    let slices = int(pool, "resourceSliceCount").unwrap_or_default();
    if slices <= 0 {
        let detail = "must be greater than zero";
        faults.push(FieldError::invalid("spec.pool.resourceSliceCount", &json!(slices), detail));
    }
    super::checks::non_negative(faults, pool, "spec.pool", "generation");
}

fn place_faults(faults: &mut Faults, spec: &Value) {
    let node = text(spec, "nodeName");
    let named =
        [!node.is_empty(), is_set(spec, "nodeSelector"), flag(spec, "allNodes"), flag(spec, "perDeviceNodeSelection")];
    match named.iter().filter(|given| **given).count() {
        0 => faults.push(FieldError::required("spec", PLACES)),
        1 => {}
        _ => faults.push(FieldError::invalid("spec", spec, PLACES)),
    }
    invalid_unless_empty(faults, "spec.nodeName", node);
    if let Some(selector) = get(spec, "nodeSelector") {
        node_selector_faults(faults, selector, "spec.nodeSelector");
    }
}

fn invalid_unless_empty(faults: &mut Faults, path: &str, name: &str) {
    if !name.is_empty() {
        invalid_each(faults, path, name, dns_subdomain_errors(name));
    }
}

fn device_faults(faults: &mut Faults, device: &Value, path: &str) {
    let total = count(device, "attributes") + count(device, "capacity");
    if total > ATTRIBUTES_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        faults.push(FieldError::invalid(path, &json!(total), &detail));
    }
    for (name, attribute) in entries(device, "attributes") {
        let path = format!("{path}.attributes[{name}]");
        let kinds = ["bool", "int", "string", "version", "bools", "ints", "strings", "versions"];
        match kinds.iter().filter(|kind| is_set(attribute, kind)).count() {
            0 => faults.push(FieldError::required(path, "exactly one value must be specified")),
            1 => {}
            _ => faults.push(FieldError::invalid(path, attribute, "exactly one value must be specified")),
        }
    }
}
