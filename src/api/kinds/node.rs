//! Node: a machine, or a process, that runs pods.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cells::{NONE, UNKNOWN, age_column, column, joined, name_column, or, wide};
use super::checks::{Faults, invalid_each};
use super::fields::{default_to, flag, get, keep, list, list_at, same, set, text, text_at};
use super::pod_template::canonical_quantities;
use super::row::{PROXY_VERBS, row};
use crate::names::{cidr_errors, label_value_errors, qualified_name_errors};
use crate::{Behaviour, FieldError, Kind, Scope, meta};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "Node", "nodes", Scope::Cluster)
        .short(&["no"])
        .status()
        .subresource("proxy", "v1", "NodeProxyOptions", PROXY_VERBS)
        .columns(vec![
            name_column(),
            column("Status", "The status of the node", |object, _| json!(status(object))),
            column("Roles", "The roles of the node", |object, _| json!(roles(object))),
            age_column(),
            column("Version", "Kubelet Version reported by the node.", |object, _| {
                json!(text_at(object, "/status/nodeInfo/kubeletVersion"))
            }),
            wide(column("Internal-IP", "The first internal address of the node.", |object, _| {
                json!(address(object, "InternalIP"))
            })),
            wide(column("External-IP", "The first external address of the node.", |object, _| {
                json!(address(object, "ExternalIP"))
            })),
            wide(column("OS-Image", "OS Image reported by the node.", |object, _| {
                json!(or(text_at(object, "/status/nodeInfo/osImage"), UNKNOWN))
            })),
            wide(column("Kernel-Version", "Kernel Version reported by the node.", |object, _| {
                json!(or(text_at(object, "/status/nodeInfo/kernelVersion"), UNKNOWN))
            })),
            wide(column("Container-Runtime", "ContainerRuntime Version reported by the node.", |object, _| {
                json!(or(text_at(object, "/status/nodeInfo/containerRuntimeVersion"), UNKNOWN))
            })),
        ])
        .behaviour(Node)
        .build()
}

fn status(object: &Value) -> String {
    let ready = list_at(object, "/status/conditions").iter().find(|condition| text(condition, "type") == "Ready");
    let first = match ready.map(|condition| text(condition, "status")) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    };
    let cordoned = object.get("spec").is_some_and(|spec| flag(spec, "unschedulable"));
    if cordoned { format!("{first},SchedulingDisabled") } else { first.to_owned() }
}

fn roles(object: &Value) -> String {
    let of_label = |(key, value)| {
        let role: &str = if key == ROLE { value } else { str::strip_prefix(key, ROLE_PREFIX).unwrap_or_default() };
        (!role.is_empty()).then_some(role)
    };
    let mut roles: Vec<&str> = meta::labels(object).filter_map(of_label).collect();
    roles.sort_unstable();
    roles.dedup();
    joined(roles)
}

fn address(object: &Value, kind: &str) -> String {
    let found = list_at(object, "/status/addresses").iter().find(|address| text(address, "type") == kind);
    found.map_or(NONE, |address| text(address, "address")).to_owned()
}

struct Node;

impl Behaviour for Node {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
            let (one, all) = (text(spec, "podCIDR").to_owned(), list(spec, "podCIDRs").to_vec());
            match (one.is_empty(), all.first().cloned()) {
                (false, None) => set(spec, "podCIDRs", json!([one])),
                (true, Some(first)) => set(spec, "podCIDR", first),
                _ => {}
            }
        }
        let Some(status) = object.get_mut("status") else { return };
        for field in ["capacity", "allocatable"] {
            canonical_quantities(status, field);
        }
        if let Some(capacity) = get(status, "capacity").cloned() {
            default_to(status, "allocatable", capacity);
        }
    }
    /// A node registers itself with its status.
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        taints(&mut faults, object);
        if let Some(old) = old {
            let (now, was) = (text_at(object, "/spec/providerID"), text_at(old, "/spec/providerID"));
            if !was.is_empty() && now != was {
                let detail = "node updates may not change providerID except from \"\" to valid";
                faults.push(FieldError::forbidden("spec.providerID", detail));
            }
            let empty = json!({});
            let (new, before) = (get(object, "spec").unwrap_or(&empty), get(old, "spec").unwrap_or(&empty));
            if !list(before, "podCIDRs").is_empty() && !same(get(new, "podCIDRs"), get(before, "podCIDRs")) {
                let detail = "node updates may not change podCIDR except from \"\" to valid";
                faults.push(FieldError::forbidden("spec.podCIDRs", detail));
            }
            if !same(get(new, "externalID"), get(before, "externalID")) {
                let detail = "node updates may only change labels, taints, or capacity (or configSource, if the \
                              DynamicKubeletConfig feature gate is enabled)";
                faults.push(FieldError::forbidden("", detail));
            }
        }
        for (at, range) in list_at(object, "/spec/podCIDRs").iter().filter_map(Value::as_str).enumerate() {
            invalid_each(&mut faults, &format!("spec.podCIDRs[{at}]"), range, cidr_errors(range));
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let mut seen = Vec::new();
        for (at, address) in list_at(object, "/status/addresses").iter().enumerate() {
            if seen.contains(&address) {
                faults.push(FieldError::duplicate(format!("status.addresses[{at}]"), address));
            }
            seen.push(address);
        }
        for field in ["capacity", "allocatable"] {
            let amounts = object.pointer(&format!("/status/{field}")).and_then(Value::as_object);
            for (name, amount) in amounts.into_iter().flatten() {
                super::persistent_volume_claim::amount(&mut faults, amount, &format!("status.{field}.{name}"));
            }
        }
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let gone = [
            ("configSource", "spec.configSource: the feature is removed"),
            ("externalID", "spec.externalID: this field is deprecated, and is unused by Kubernetes"),
        ];
        let spec = object.get("spec").unwrap_or(&Value::Null);
        gone.into_iter().filter(|(field, _)| get(spec, field).is_some()).map(|(_, rule)| rule.to_owned()).collect()
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let cordoned = object.get("spec").is_some_and(|spec| flag(spec, "unschedulable"));
        vec![("spec.unschedulable".into(), cordoned.to_string())]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["spec.unschedulable"]
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn taints(faults: &mut Faults, object: &Value) {
    let Some(spec) = object.get("spec") else { return };
    let mut seen = Vec::new();
    for (at, taint) in list(spec, "taints").iter().enumerate() {
        let path = format!("spec.taints[{at}]");
        let key = text(taint, "key");
        invalid_each(faults, &format!("{path}.key"), key, qualified_name_errors(key));
        let value = text(taint, "value");
        invalid_each(faults, &format!("{path}.value"), value, label_value_errors(value));
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        let effect = text(taint, "effect");
        if effect.is_empty() {
            faults.push(FieldError::required(format!("{path}.effect"), ""));
        } else if !effects.contains(&effect) {
            faults.push(FieldError::not_supported(format!("{path}.effect"), &json!(effect), &effects));
        }
        if seen.contains(&(key, effect)) {
            let detail = format!("taints must be unique by key and effect pair: {key}:{effect}");
            faults.push(FieldError::duplicate(&path, &json!(detail)));
        }
        seen.push((key, effect));
    }
}
