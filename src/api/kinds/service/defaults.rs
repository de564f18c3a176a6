//! What a Service has when its author says nothing.

use serde_json::{Value, json};

use super::{HEADLESS, needs_cluster_ip};
use crate::kinds::fields::{
    default_text, default_to, get, int, is_set, items_mut, list, object_at, remove, same, set, text,
};

/// Sessions stick for three hours.
const AFFINITY_SECONDS: i64 = 10800;

/// Fills `spec` in.
pub(super) fn fill(spec: &mut Value) {
    default_text(spec, "sessionAffinity", "None");
    default_text(spec, "type", "ClusterIP");
    match text(spec, "sessionAffinity") {
        "None" => remove(spec, "sessionAffinityConfig"),
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

/// A Service that becomes one of another type loses what only the old type used, unless its author changed that as well.
pub(super) fn drop_what_the_type_has_no_use_for(spec: &mut Value, was: &Value) {
    let kind = |spec: &Value| text(spec, "type").to_owned();
    let (now, before) = (kind(spec), kind(was));
    let unchanged = |spec: &Value, field: &str| same(get(spec, field), get(was, field));
    if needs_cluster_ip(was) && !needs_cluster_ip(spec) && now == "ExternalName" && unchanged(spec, "clusterIP") {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            remove(spec, field);
        }
    }
    let exposed = |kind: &str| ["NodePort", "LoadBalancer"].contains(&kind);
    if exposed(&before) && !exposed(&now) {
        let old: Vec<Value> = list(was, "ports").iter().filter_map(|port| get(port, "nodePort").cloned()).collect();
        for port in items_mut(spec, "ports") {
            if get(port, "nodePort").is_some_and(|node_port| old.contains(node_port)) {
                remove(port, "nodePort");
            }
        }
        if unchanged(spec, "externalTrafficPolicy") && list(spec, "externalIPs").is_empty() {
            remove(spec, "externalTrafficPolicy");
        }
    }
    if before == "LoadBalancer" && now != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"] {
            if unchanged(spec, field) {
                remove(spec, field);
            }
        }
    }
    let checked = |spec: &Value| kind(spec) == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local";
    if checked(was) && !checked(spec) && unchanged(spec, "healthCheckNodePort") {
        remove(spec, "healthCheckNodePort");
    }
}
