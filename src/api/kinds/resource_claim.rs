//! ResourceClaim, ResourceClaimTemplate and DeviceClass: devices that pods ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, IMMUTABLE, invalid_each, required_name};
use super::csi::driver_name_faults;
use super::fields::{default_text, default_to, get, int, is_set, items_mut, list, list_at, same, text};
use super::row::row;
use crate::meta::{is_being_deleted, validate_annotations, validate_labels};
use crate::names::{dns_label_errors, dns_subdomain_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

const GROUP: &str = "resource.k8s.io";
const REQUESTS_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const RESERVED_MAX: usize = 256;

/// The row of ResourceClaim.
pub fn kind() -> Kind {
    row(GROUP, "v1", "ResourceClaim", "resourceclaims", Scope::Namespaced)
        .status()
        .columns(vec![
            name_column(),
            column("State", "How far the claim has come.", |object, _| json!(state(object))),
            age_column(),
        ])
        .behaviour(Claim)
        .build()
}

/// The row of ResourceClaimTemplate.
pub fn template_kind() -> Kind {
    row(GROUP, "v1", "ResourceClaimTemplate", "resourceclaimtemplates", Scope::Namespaced).behaviour(Template).build()
}

/// The row of DeviceClass.
pub fn class_kind() -> Kind {
    row(GROUP, "v1", "DeviceClass", "deviceclasses", Scope::Cluster).behaviour(Class).build()
}

fn state(object: &Value) -> String {
    let mut states = Vec::new();
    let deleted = is_being_deleted(object);
    if deleted {
        states.push("deleted");
    }
    if object.get("status").is_some_and(|status| is_set(status, "allocation")) {
        states.push("allocated");
        if !list_at(object, "/status/reservedFor").is_empty() {
            states.push("reserved");
        }
    } else if !deleted {
        states.push("pending");
    }
    states.join(",")
}

fn default_claim(spec: &mut Value) {
    let Some(devices) = spec.get_mut("devices") else { return };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = request.get_mut("exactly") {
            default_request(exactly);
        }
        for alternative in items_mut(request, "firstAvailable") {
            default_request(alternative);
        }
    }
}

fn default_request(request: &mut Value) {
    default_text(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" && int(request, "count").unwrap_or_default() == 0 {
        super::fields::set(request, "count", 1);
    }
    for toleration in items_mut(request, "tolerations") {
        default_text(toleration, "operator", "Equal");
    }
}

struct Claim;

impl Behaviour for Claim {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec") {
            default_to(spec, "devices", json!({}));
            default_claim(spec);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        super::fields::set(object, "status", json!({}));
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        if let Some(old) = old
            && !same(get(old, "spec"), Some(spec))
        {
            faults.push(FieldError::invalid("spec", spec, IMMUTABLE));
        }
        claim_faults(&mut faults, spec, "spec");
        faults
    }
    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let status = get(object, "status").unwrap_or(&empty);
        let was = get(old, "status").unwrap_or(&empty);
        reserved_faults(&mut faults, object, status, was);
        if let (Some(now), Some(was)) = (get(status, "allocation"), get(was, "allocation"))
            && !same(Some(now), Some(was))
        {
            faults.push(FieldError::invalid("status.allocation", now, IMMUTABLE));
        }
        let requests: Vec<&str> =
            list_at(object, "/spec/devices/requests").iter().map(|request| text(request, "name")).collect();
        for (at, result) in list_at(status, "/allocation/devices/results").iter().enumerate() {
            let path = format!("status.allocation.devices.results[{at}]");
            let name = text(result, "request");
            let first = name.split('/').next().unwrap_or_default();
            if !requests.contains(&first) {
                let detail = "must be the name of a request in the claim";
                faults.push(FieldError::invalid(format!("{path}.request"), &json!(name), detail));
            }
            driver_name_faults(&mut faults, &format!("{path}.driver"), text(result, "driver"));
            pool_name_faults(&mut faults, &format!("{path}.pool"), text(result, "pool"));
            required_name(&mut faults, &format!("{path}.device"), text(result, "device"), dns_label_errors);
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn reserved_faults(faults: &mut Faults, object: &Value, status: &Value, was: &Value) {
    let path = "status.reservedFor";
    let reserved = list(status, "reservedFor");
    if reserved.len() > RESERVED_MAX {
        faults.push(FieldError::too_many(path, reserved.len(), RESERVED_MAX));
    }
    let mut uids = BTreeSet::new();
    for (at, consumer) in reserved.iter().enumerate() {
        for field in ["resource", "name", "uid"] {
            if text(consumer, field).is_empty() {
                faults.push(FieldError::required(format!("{path}[{at}].{field}"), ""));
            }
        }
        let uid = text(consumer, "uid");
        if !uids.insert(uid) {
            faults.push(FieldError::duplicate(format!("{path}[{at}].uid"), &json!(uid)));
        }
    }
    if reserved.is_empty() {
        return;
    }
    if !is_set(status, "allocation") {
        faults.push(FieldError::forbidden(path, "may not be specified when `allocated` is not set"));
    } else if is_being_deleted(object) {
        let before = list(was, "reservedFor");
        if reserved.iter().any(|consumer| !before.contains(consumer)) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            faults.push(FieldError::forbidden(path, detail));
        }
    }
}

/// What is wrong with the spec of a claim that stands at `path`.
fn claim_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let empty = json!({});
    let devices = get(spec, "devices").unwrap_or(&empty);
    let path = format!("{path}.devices");
    let requests = list(devices, "requests");
    if requests.len() > REQUESTS_MAX {
        faults.push(FieldError::too_many(format!("{path}.requests"), requests.len(), REQUESTS_MAX));
    }
    let mut names = BTreeSet::new();
    for (at, request) in requests.iter().enumerate() {
        let path = format!("{path}.requests[{at}]");
        request_faults(faults, request, &path);
        let name = text(request, "name");
        if !names.insert(name.to_owned()) {
            faults.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        for alternative in list(request, "firstAvailable") {
            names.insert(format!("{name}/{}", text(alternative, "name")));
        }
    }
    for (at, constraint) in list(devices, "constraints").iter().enumerate() {
        let path = format!("{path}.constraints[{at}]");
        references(faults, constraint, &names, &path);
        match get(constraint, "matchAttribute").and_then(Value::as_str) {
            None if !is_set(constraint, "distinctAttribute") => {
                let detail = "one of `matchAttribute` or `distinctAttribute` is required";
                faults.push(FieldError::required(path, detail));
            }
            Some(attribute) if !attribute.contains('/') => {
                let detail = "must include a domain prefix";
                faults.push(FieldError::required(format!("{path}.matchAttribute.domain"), detail));
            }
            _ => {}
        }
    }
    for (at, config) in list(devices, "config").iter().enumerate() {
        let path = format!("{path}.config[{at}]");
        references(faults, config, &names, &path);
        config_faults(faults, config, &path);
    }
}

fn references(faults: &mut Faults, holder: &Value, names: &BTreeSet<String>, path: &str) {
    for (at, name) in list(holder, "requests").iter().enumerate() {
        if !name.as_str().is_some_and(|name| names.contains(name)) {
            let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
                          separated by '/'";
            faults.push(FieldError::invalid(format!("{path}.requests[{at}]"), name, detail));
        }
    }
}

fn request_faults(faults: &mut Faults, request: &Value, path: &str) {
    required_name(faults, &format!("{path}.name"), text(request, "name"), dns_label_errors);
    let alternatives = list(request, "firstAvailable");
    match (get(request, "exactly"), alternatives.is_empty()) {
        (None, true) => {
            faults.push(FieldError::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (Some(_), false) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            faults.push(FieldError::invalid(path, &Value::Null, detail));
        }
        (Some(exactly), true) => device_faults(faults, exactly, &format!("{path}.exactly")),
        (None, false) => {
            if alternatives.len() > ALTERNATIVES_MAX {
                let at = format!("{path}.firstAvailable");
                faults.push(FieldError::too_many(at, alternatives.len(), ALTERNATIVES_MAX));
            }
            let mut names = BTreeSet::new();
            for (at, alternative) in alternatives.iter().enumerate() {
                let path = format!("{path}.firstAvailable[{at}]");
                let name = text(alternative, "name");
                required_name(faults, &format!("{path}.name"), name, dns_label_errors);
                super::checks::unique(faults, &mut names, &format!("{path}.name"), name);
                device_faults(faults, alternative, &path);
            }
        }
    }
}

fn device_faults(faults: &mut Faults, request: &Value, path: &str) {
    required_name(faults, &format!("{path}.deviceClassName"), text(request, "deviceClassName"), dns_subdomain_errors);
    selector_faults(faults, request, path);
    let count = int(request, "count").unwrap_or_default();
    match text(request, "allocationMode") {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            faults.push(FieldError::invalid(format!("{path}.count"), &json!(count), detail));
        }
        "ExactCount" if count <= 0 => {
            let detail = "must be greater than zero";
            faults.push(FieldError::invalid(format!("{path}.count"), &json!(count), detail));
        }
        "All" | "ExactCount" => {}
        mode => {
            let modes = ["All", "ExactCount"];
            faults.push(FieldError::not_supported(format!("{path}.allocationMode"), &json!(mode), &modes));
        }
    }
}

fn selector_faults(faults: &mut Faults, holder: &Value, path: &str) {
    let selectors = list(holder, "selectors");
    if selectors.len() > SELECTORS_MAX {
        faults.push(FieldError::too_many(format!("{path}.selectors"), selectors.len(), SELECTORS_MAX));
    }
    for (at, selector) in selectors.iter().enumerate() {
        let path = format!("{path}.selectors[{at}].cel");
        match get(selector, "cel") {
            None => faults.push(FieldError::required(path, "")),
            Some(cel) if text(cel, "expression").trim().is_empty() => {
                faults.push(FieldError::required(format!("{path}.expression"), ""));
            }
            Some(_) => {}
        }
    }
}

fn config_faults(faults: &mut Faults, config: &Value, path: &str) {
    let path = format!("{path}.opaque");
    let Some(opaque) = get(config, "opaque") else {
        faults.push(FieldError::required(path, ""));
        return;
    };
    driver_name_faults(faults, &format!("{path}.driver"), text(opaque, "driver"));
    match get(opaque, "parameters") {
        None => faults.push(FieldError::required(format!("{path}.parameters"), "")),
        Some(Value::Object(_)) => {}
        Some(_) => {
            let detail = "parameters must be a valid JSON object";
            faults.push(FieldError::invalid(format!("{path}.parameters"), &json!("<value omitted>"), detail));
        }
    }
}

/// What is wrong with the name of a pool of devices.
pub(crate) fn pool_name_faults(faults: &mut Faults, path: &str, name: &str) {
    if name.is_empty() {
        faults.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > 253 {
        faults.push(FieldError::too_long(path, 253));
    }
    for part in name.split('/') {
        invalid_each(faults, path, part, dns_subdomain_errors(part));
    }
}

struct Template;

impl Behaviour for Template {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.pointer_mut("/spec/spec") {
            default_to(spec, "devices", json!({}));
            default_claim(spec);
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        if let Some(old) = old
            && !same(get(old, "spec"), Some(spec))
        {
            faults.push(FieldError::invalid("spec", spec, IMMUTABLE));
        }
        let metadata = get(spec, "metadata").unwrap_or(&empty);
        faults.extend(validate_labels(metadata.get("labels"), "spec.metadata.labels"));
        faults.extend(validate_annotations(metadata.get("annotations"), "spec.metadata.annotations"));
        claim_faults(&mut faults, get(spec, "spec").unwrap_or(&empty), "spec.spec");
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

struct Class;

impl Behaviour for Class {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        selector_faults(&mut faults, spec, "spec");
        for (at, config) in list(spec, "config").iter().enumerate() {
            config_faults(&mut faults, config, &format!("spec.config[{at}]"));
        }
        faults
    }
}
