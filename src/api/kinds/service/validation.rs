//! What is wrong with a Service.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{HEADLESS, balancing, needs_cluster_ip};
use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each, one_of, unique};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::meta::validate_labels;
use crate::names::{
    dns_label_errors, dns_subdomain_errors, inclusive_range, ip_errors, port_name_errors, port_number_errors,
    qualified_name_errors, special_ip_errors,
};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// No cluster lets the outside speak to its nodes.
const KUBELET_PORT: i64 = 10250;
const POLICIES: &[&str] = &["Cluster", "Local"];

pub(super) fn faults(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut faults = Faults::new();
    let Some(spec) = get(object, "spec") else {
        faults.push(FieldError::required("spec.ports", ""));
        return faults;
    };
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == HEADLESS;
    if list(spec, "ports").is_empty() && !headless && kind != "ExternalName" {
        faults.push(FieldError::required("spec.ports", ""));
    }
    of_type(&mut faults, spec, kind, headless);
    ports(&mut faults, spec, kind);
    faults.extend(validate_labels(spec.get("selector"), "spec.selector"));
    one_of(&mut faults, spec, "spec", "sessionAffinity", &["ClientIP", "None"], true);
    affinity_seconds(&mut faults, spec);
    addresses(&mut faults, spec);
    one_of(&mut faults, spec, "spec", "type", TYPES, true);
    let routed = ["ClusterIP", "NodePort", "LoadBalancer"].contains(&kind);
    one_of(&mut faults, spec, "spec", "internalTrafficPolicy", POLICIES, routed);
    let outside = ["NodePort", "LoadBalancer"].contains(&kind);
    one_of(&mut faults, spec, "spec", "externalTrafficPolicy", POLICIES, outside);
    let places = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of(&mut faults, spec, "spec", "trafficDistribution", &places, false);
    balancing::balancer_faults(&mut faults, spec, old.and_then(|old| get(old, "spec")));
    if is_set(spec, "externalTrafficPolicy")
        && (kind == "ClusterIP" || kind == "ExternalName")
        && list(spec, "externalIPs").is_empty()
    {
        let detail = "may only be set for externally-accessible services";
        faults.push(FieldError::invalid("spec.externalTrafficPolicy", &spec["externalTrafficPolicy"], detail));
    }
    if let Some(was) = old.and_then(|old| get(old, "spec")) {
        address_kept(&mut faults, spec, was);
    }
    faults
}

fn of_type(faults: &mut Faults, spec: &Value, kind: &str, headless: bool) {
    match kind {
        "LoadBalancer" if list(spec, "ports").iter().any(|port| int(port, "port") == Some(KUBELET_PORT)) => {
            for (at, port) in list(spec, "ports").iter().enumerate() {
                if int(port, "port") == Some(KUBELET_PORT) {
                    let detail = "may not expose port 10250 externally since it is used by kubelet";
                    faults.push(FieldError::invalid(format!("spec.ports[{at}]"), &port["port"], detail));
                }
            }
        }
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            faults.push(FieldError::invalid("spec.clusterIPs[0]", &json!(HEADLESS), &detail));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !list(spec, field).is_empty() || !text(spec, field).is_empty() {
                    let detail = "may not be set for ExternalName services";
                    faults.push(FieldError::forbidden(format!("spec.{field}"), detail));
                }
            }
            let name = text(spec, "externalName");
            if name.is_empty() {
                faults.push(FieldError::required("spec.externalName", ""));
            } else {
                let plain = name.strip_suffix('.').unwrap_or(name);
                invalid_each(faults, "spec.externalName", name, dns_subdomain_errors(plain));
            }
        }
        _ => {}
    }
}

fn ports(faults: &mut Faults, spec: &Value, kind: &str) {
    let all = list(spec, "ports");
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut node_ports = BTreeSet::new();
    for (at, port) in all.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        one_port(faults, port, &path, all.len() > 1, &mut names);
        let number = int(port, "port").unwrap_or_default();
        let protocol = text(port, "protocol");
        if !numbers.insert((number, protocol)) {
            faults.push(FieldError::duplicate(path.as_str(), &json!({"port": number, "protocol": protocol})));
        }
        let node_port = int(port, "nodePort").unwrap_or_default();
        if node_port == 0 {
            continue;
        }
        if kind == "ClusterIP" || kind == "ExternalName" {
            let detail = format!("may not be used when `type` is '{kind}'");
            faults.push(FieldError::forbidden(format!("{path}.nodePort"), &detail));
        } else if !node_ports.insert((node_port, protocol)) {
            faults.push(FieldError::duplicate(format!("{path}.nodePort"), &json!(node_port)));
        }
    }
}

fn one_port(faults: &mut Faults, port: &Value, path: &str, name_required: bool, names: &mut BTreeSet<String>) {
    let name = text(port, "name");
    if name.is_empty() {
        if name_required {
            faults.push(FieldError::required(format!("{path}.name"), ""));
        }
    } else {
        invalid_each(faults, &format!("{path}.name"), name, dns_label_errors(name));
        unique(faults, names, &format!("{path}.name"), name);
    }
    let number = int(port, "port").unwrap_or_default();
    for message in port_number_errors(number) {
        faults.push(FieldError::invalid(format!("{path}.port"), &json!(number), &message));
    }
    one_of(faults, port, path, "protocol", PROTOCOLS, true);
    let application = text(port, "appProtocol");
    if !application.is_empty() {
        invalid_each(faults, &format!("{path}.appProtocol"), application, qualified_name_errors(application));
    }
    match get(port, "targetPort") {
        Some(Value::String(name)) => {
            invalid_each(faults, &format!("{path}.targetPort"), name, port_name_errors(name));
        }
        Some(target) => {
            for message in port_number_errors(target.as_i64().unwrap_or_default()) {
                faults.push(FieldError::invalid(format!("{path}.targetPort"), target, &message));
            }
        }
        None => {}
    }
}

fn affinity_seconds(faults: &mut Faults, spec: &Value) {
    let path = "spec.sessionAffinityConfig";
    match text(spec, "sessionAffinity") {
        "ClientIP" if spec.pointer("/sessionAffinityConfig/clientIP").is_none_or(Value::is_null) => {
            faults.push(FieldError::required(path, "when session affinity type is ClientIP"));
        }
        "None" if is_set(spec, "sessionAffinityConfig") => {
            faults.push(FieldError::forbidden(path, "must not be set when session affinity is None"));
        }
        _ => {}
    }
    let Some(seconds) = spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds").and_then(Value::as_i64) else {
        return;
    };
    if !(1..=86400).contains(&seconds) {
        let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        faults.push(FieldError::invalid(path, &json!(seconds), &inclusive_range(1, 86400)));
    }
}

fn addresses(faults: &mut Faults, spec: &Value) {
    let all = list(spec, "clusterIPs");
    let first = all.first().and_then(Value::as_str).unwrap_or_default();
    if text(spec, "clusterIP") != first {
        let detail = "first value must match `clusterIP`";
        faults.push(FieldError::invalid("spec.clusterIPs", &json!(all), detail));
    }
    for (at, address) in all.iter().filter_map(Value::as_str).enumerate() {
        if address != HEADLESS {
            invalid_each(faults, &format!("spec.clusterIPs[{at}]"), address, ip_errors(address));
        }
    }
    for (at, address) in list(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        invalid_each(faults, &format!("spec.externalIPs[{at}]"), address, special_ip_errors(address));
    }
    for (at, family) in list(spec, "ipFamilies").iter().enumerate() {
        let path = format!("spec.ipFamilies[{at}]");
        match family.as_str().unwrap_or_default() {
            "IPv4" if at > 0 => faults.push(FieldError::duplicate(path, family)),
            "IPv4" => {}
            // The pod network is IPv4; nothing could be sent to an address of the other family.
            "IPv6" if !headless_without_pods(spec) => {
                faults.push(FieldError::invalid(path, family, "not configured on this cluster"));
            }
            "IPv6" => {}
            _ => faults.push(FieldError::not_supported(path, family, &["IPv4", "IPv6"])),
        }
    }
    if text(spec, "ipFamilyPolicy") == "RequireDualStack" && !headless_without_pods(spec) {
        let detail = "this cluster is not configured for dual-stack services";
        faults.push(FieldError::invalid("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], detail));
    }
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    one_of(faults, spec, "spec", "ipFamilyPolicy", &policies, false);
}

/// A Service whose endpoints somebody else sees to may name any family.
fn headless_without_pods(spec: &Value) -> bool {
    text(spec, "clusterIP") == HEADLESS && !is_set(spec, "selector")
}

/// What is wrong with the status that says where traffic comes in.
pub(super) fn status_faults(object: &Value) -> Vec<FieldError> {
    let mut faults = Faults::new();
    let empty = json!({});
    let balancer = object.pointer("/status/loadBalancer").unwrap_or(&empty);
    let points = list(balancer, "ingress");
    let path = "status.loadBalancer.ingress";
    if !points.is_empty() && object.get("spec").is_some_and(|spec| text(spec, "type") != "LoadBalancer") {
        faults.push(FieldError::forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"));
    }
    for (at, point) in points.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let (ip, host) = (text(point, "ip"), text(point, "hostname"));
        if !ip.is_empty() {
            invalid_each(&mut faults, &format!("{path}.ip"), ip, ip_errors(ip));
        }
        let modes = ["Proxy", "VIP"];
        if is_set(point, "ipMode") && !modes.contains(&text(point, "ipMode")) {
            faults.push(FieldError::not_supported(format!("{path}.ipMode"), &point["ipMode"], &modes));
        }
        if is_set(point, "ipMode") && ip.is_empty() {
            let detail = "may not be specified when `ip` is not set";
            faults.push(FieldError::forbidden(format!("{path}.ipMode"), detail));
        }
        if !host.is_empty() {
            if host.parse::<std::net::IpAddr>().is_ok() {
                let detail = "must be a DNS name, not an IP address";
                faults.push(FieldError::invalid(format!("{path}.hostname"), &json!(host), detail));
            }
            invalid_each(&mut faults, &format!("{path}.hostname"), host, dns_subdomain_errors(host));
        }
    }
    faults
}

/// An address once given stays, unless the Service stops, or begins, to need one.
fn address_kept(faults: &mut Faults, spec: &Value, was: &Value) {
    let family = |spec: &Value| list(spec, "ipFamilies").first().cloned();
    if let (Some(now), Some(before)) = (family(spec), family(was))
        && now != before
        && needs_cluster_ip(spec)
        && needs_cluster_ip(was)
    {
        faults.retain(|fault| fault.field != "spec.ipFamilies[0]");
        faults.push(FieldError::invalid("spec.ipFamilies[0]", &now, "may not change once set"));
    }
    let (now, before) = (text(spec, "clusterIP"), text(was, "clusterIP"));
    let external = [spec, was].iter().any(|spec| text(spec, "type") == "ExternalName");
    if external || before.is_empty() || now == before || (now.is_empty() && !needs_cluster_ip(spec)) {
        return;
    }
    let value = list(spec, "clusterIPs");
    faults.push(FieldError::invalid("spec.clusterIPs[0]", &json!(value), "may not change once set"));
}
