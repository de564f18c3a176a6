//! What a Service has when its author says nothing.

use serde_json::{Value, json};

use super::HEADLESS;
use crate::kinds::fields::{default_text, default_to, get, int, is_set, items_mut, list, object_at, set, text};

/// Sessions stick for three hours.
const AFFINITY_SECONDS: i64 = 10800;

/// Fills `spec` in.
pub(super) fn fill(spec: &mut Value) {
    default_text(spec, "sessionAffinity", "None");
    default_text(spec, "type", "ClusterIP");
    match text(spec, "sessionAffinity") {
        "None" => super::super::fields::remove(spec, "sessionAffinityConfig"),
        "ClientIP" => {
            let client = object_at(spec, "sessionAffinityConfig").and_then(|config| object_at(config, "clientIP"));
            if let Some(client) = client {
                default_to(client, "timeoutSeconds", AFFINITY_SECONDS);
            }
        }
        _ => {}
    }
    for port in items_mut(spec, "ports") {
        default_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        let unset = match get(port, "targetPort") {
            None => true,
            Some(target) => target == &json!(0) || target == &json!(""),
        };
        if unset && !number.is_null() {
            set(port, "targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    if kind == "NodePort" || kind == "LoadBalancer" {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_to(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        default_text(spec, "internalTrafficPolicy", "Cluster");
        addresses(spec);
    }
}

/// One address in one family: the pod network is IPv4.
fn addresses(spec: &mut Value) {
    let first = list(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default().to_owned();
    let single = text(spec, "clusterIP").to_owned();
    if !single.is_empty() && !is_set(spec, "clusterIPs") {
        set(spec, "clusterIPs", json!([single]));
    } else if single.is_empty() && !first.is_empty() {
        set(spec, "clusterIP", first.as_str());
    }
    let family =
        if text(spec, "clusterIP") != HEADLESS && text(spec, "clusterIP").contains(':') { "IPv6" } else { "IPv4" };
    default_to(spec, "ipFamilies", json!([family]));
    default_text(spec, "ipFamilyPolicy", "SingleStack");
}

/// Ports of nodes that were allocated before, for ports that are still there.
pub(super) fn keep_node_ports(spec: &mut Value, was: &Value) {
    let known: Vec<(Value, Value, i64)> = list(was, "ports")
        .iter()
        .filter_map(|port| Some((port.get("port")?.clone(), port.get("protocol")?.clone(), int(port, "nodePort")?)))
        .collect();
    for port in items_mut(spec, "ports") {
        if int(port, "nodePort").unwrap_or_default() != 0 {
            continue;
        }
        let (number, protocol) = (port.get("port").cloned(), port.get("protocol").cloned());
        let before = known.iter().find(|(had, by, _)| Some(had) == number.as_ref() && Some(by) == protocol.as_ref());
        if let Some((_, _, node_port)) = before {
            set(port, "nodePort", *node_port);
        }
    }
}
