//! Pod: containers that share an address, volumes and a fate.

mod columns;
mod parts;
mod quality;
mod spreading;
mod update;

use std::borrow::Cow;

use serde_json::{Value, json};

use super::checks::{Faults, host_name_warning, invalid_each};
use super::fields::{default_text, default_to, flag, get, int, keep, list, object_at, set, text, text_at};
use super::pod_template::{default_pod_spec, pod_level_requests, pod_spec_faults, pod_warnings, requests_from_limits};
use super::row::{PROXY_VERBS, row};
use crate::names::{dns_subdomain_errors, ip_errors};
use crate::{Behaviour, FieldError, Kind, Scope, meta};

pub use quality::quality_of_service;

/// How long a pod is given to end when nobody says.
const GRACE_SECONDS: i64 = 30;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The row.
pub fn kind() -> Kind {
    let streams = &["create", "get"];
    let part = &["get", "patch", "update"];
    row("", "v1", "Pod", "pods", Scope::Namespaced)
        .short(&["po"])
        .all()
        .status()
        .subresource("attach", "v1", "PodAttachOptions", streams)
        .subresource("binding", "v1", "Binding", &["create"])
        .subresource("ephemeralcontainers", "v1", "Pod", part)
        .subresource("eviction", "policy/v1", "Eviction", &["create"])
        .subresource("exec", "v1", "PodExecOptions", streams)
        .subresource("log", "v1", "Pod", &["get"])
        .subresource("portforward", "v1", "PodPortForwardOptions", streams)
        .subresource("proxy", "v1", "PodProxyOptions", PROXY_VERBS)
        .subresource("resize", "v1", "Pod", part)
        .columns(columns::columns())
        .behaviour(Pod)
        .build()
}

/// Whether the pod has ended and will not run again.
pub fn is_finished(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text_at(pod, "/status/phase"))
}

struct Pod;

impl Behaviour for Pod {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_pod_spec(spec);
        default_to(spec, "enableServiceLinks", true);
        requests_from_limits(spec);
        pod_level_requests(spec);
    }

    /// What admission fills in (the account, the priority, tolerations of lost nodes) is not filled in here.
    fn prepare_create(&self, object: &mut Value) {
        self.default(object);
        spreading::name_own_labels(object);
        let quality = quality_of_service(object);
        let mut status = json!({ "phase": "Pending", "qosClass": quality });
        if !list(object.get("spec").unwrap_or(&Value::Null), "schedulingGates").is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
        set(object, "status", status);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
    }

    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
        match meta::metadata(old).get("ownerReferences").cloned() {
            Some(owners) => meta::set(object, "ownerReferences", owners),
            None => meta::unset(object, "ownerReferences"),
        }
        let quality = text_at(old, "/status/qosClass");
        let quality = if quality.is_empty() { quality_of_service(object) } else { quality };
        if let Some(status) = object_at(object, "status") {
            default_text(status, "qosClass", quality);
        }
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        pod_spec_faults(&mut faults, get(object, "spec").unwrap_or(&empty), "spec");
        let cost = get(object, "metadata").and_then(|meta| get(meta, "annotations")?.get(DELETION_COST)?.as_str());
        if let Some(cost) = cost.filter(|cost| !cost.is_empty() && cost.parse::<i32>().is_err()) {
            let place = format!("metadata.annotations[{DELETION_COST}]");
            faults.push(FieldError::invalid(place, &json!(cost), "must be a 32bit integer"));
        }
        if let Some(old) = old {
            update::update_faults(&mut faults, object, old);
        } else {
            let spec = get(object, "spec").unwrap_or(&empty);
            if !list(spec, "ephemeralContainers").is_empty() {
                faults.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
            }
            if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
                let detail = "cannot be set until all schedulingGates have been cleared";
                faults.push(FieldError::forbidden("spec.nodeName", detail));
            }
        }
        faults
    }

    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let (now, was) = (text_at(object, "/status/qosClass"), text_at(old, "/status/qosClass"));
        if !was.is_empty() && now != was {
            faults.push(FieldError::invalid("status.qosClass", &json!(now), "field is immutable"));
        }
        let node = text_at(object, "/status/nominatedNodeName");
        if !node.is_empty() {
            invalid_each(&mut faults, "status.nominatedNodeName", node, dns_subdomain_errors(node));
        }
        for field in ["podIPs", "hostIPs"] {
            let addresses = object.pointer(&format!("/status/{field}")).and_then(Value::as_array);
            for (at, address) in addresses.into_iter().flatten().enumerate() {
                let ip = text(address, "ip");
                invalid_each(&mut faults, &format!("status.{field}[{at}]"), ip, ip_errors(ip));
            }
        }
        faults
    }

    fn prepare_subresource(&self, name: &str, object: &mut Value, old: &Value) {
        parts::prepare(name, object, old);
    }

    fn validate_subresource(&self, name: &str, object: &Value, old: &Value) -> Vec<FieldError> {
        parts::faults(name, object, old)
    }

    /// A pod that gets a node is still the pod that was asked for.
    fn counts_generation(&self, subresource: &str) -> bool {
        !["binding", "status"].contains(&subresource)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings: Vec<String> = host_name_warning(object, "the Pod's hostname").into_iter().collect();
        warnings.extend(pod_warnings(object));
        warnings
    }

    /// Pods are changed by programs far more often than by people.
    fn warnings_on_update(&self, _object: &Value, _old: &Value) -> Vec<String> {
        Vec::new()
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let at = |pointer: &str| text_at(object, pointer).to_owned();
        let host_network = object.get("spec").is_some_and(|spec| flag(spec, "hostNetwork"));
        let ips = list(object.get("status").unwrap_or(&Value::Null), "podIPs");
        let ips: Vec<&str> = ips.iter().map(|ip| text(ip, "ip")).collect();
        vec![
            ("spec.nodeName".into(), at("/spec/nodeName")),
            ("spec.restartPolicy".into(), at("/spec/restartPolicy")),
            ("spec.schedulerName".into(), at("/spec/schedulerName")),
            ("spec.serviceAccountName".into(), at("/spec/serviceAccountName")),
            ("spec.hostNetwork".into(), host_network.to_string()),
            ("status.phase".into(), at("/status/phase")),
            ("status.podIP".into(), at("/status/podIP")),
            ("status.podIPs".into(), ips.join(",")),
            ("status.nominatedNodeName".into(), at("/status/nominatedNodeName")),
        ]
    }

    fn field_labels(&self) -> Vec<&str> {
        vec![
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    /// A pod that runs nowhere, or has run out, needs no time to end.
    fn grace_seconds(&self, object: &Value) -> Option<i64> {
        if text_at(object, "/spec/nodeName").is_empty() || is_finished(object) {
            return Some(0);
        }
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let seconds = int(spec, "terminationGracePeriodSeconds").unwrap_or(GRACE_SECONDS);
        Some(if seconds < 0 { 1 } else { seconds })
    }
}
