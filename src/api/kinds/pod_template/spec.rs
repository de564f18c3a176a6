//! What is wrong with a pod's spec as a whole.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::container::{ContainerPlace, container_faults};
use super::ending::stop_signal_faults;
use super::placement::placement_faults;
use super::probe::sleep_faults;
use super::resources::pod_level_faults;
use super::security::{pod_security_faults, system_faults};
use super::volumes::volume_faults;
use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each, one_of};
use crate::kinds::fields::{flag, int, list, text};
use crate::meta::validate_labels;
use crate::names::{Rule, dns_label_errors, dns_subdomain_errors, inclusive_range, ip_errors};

/// Collects what is wrong with the pod spec that stands at `path`.
pub fn pod_spec_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let volumes = volume_faults(faults, spec, path);
    let mut names = BTreeSet::new();
    if list(spec, "containers").is_empty() {
        faults.push(FieldError::required(format!("{path}.containers"), ""));
    }
    for (field, place) in [
        ("containers", ContainerPlace::Main),
        ("initContainers", ContainerPlace::Init),
        ("ephemeralContainers", ContainerPlace::Ephemeral),
    ] {
        for (at, container) in list(spec, field).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            container_faults(faults, container, &path, place, &volumes, &mut names);
            stop_signal_faults(faults, spec, container, &path);
            sleep_faults(faults, container, &path, int(spec, "terminationGracePeriodSeconds"));
        }
    }
    one_of(faults, spec, path, "restartPolicy", &["Always", "OnFailure", "Never"], true);
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(faults, spec, path, "dnsPolicy", &policies, true);
    dns_faults(faults, spec, path);
    faults.extend(validate_labels(spec.get("nodeSelector"), &format!("{path}.nodeSelector")));
    placement_faults(faults, spec, path);
    pod_security_faults(faults, spec, path);
    system_faults(faults, spec, path);
    host_port_faults(faults, spec, path);
    pod_level_faults(faults, spec, path);
    named(faults, spec, path);
    if let Some(seconds) = int(spec, "activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = inclusive_range(1, i64::from(i32::MAX));
        faults.push(FieldError::invalid(format!("{path}.activeDeadlineSeconds"), &json!(seconds), &detail));
    }
    for (at, alias) in list(spec, "hostAliases").iter().enumerate() {
        let at = format!("{path}.hostAliases[{at}]");
        invalid_each(faults, &format!("{at}.ip"), text(alias, "ip"), ip_errors(text(alias, "ip")));
        for (host_at, host) in list(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            invalid_each(faults, &format!("{at}.hostnames[{host_at}]"), host, dns_subdomain_errors(host));
        }
    }
}

/// Fields that name something, each with its rule; an empty one is none.
fn named(faults: &mut Faults, spec: &Value, path: &str) {
    let rules: [(&str, Rule); 7] = [
        ("serviceAccountName", dns_subdomain_errors),
        ("nodeName", dns_subdomain_errors),
        ("hostname", dns_label_errors),
        ("subdomain", dns_label_errors),
        ("priorityClassName", dns_subdomain_errors),
        ("runtimeClassName", dns_subdomain_errors),
        ("schedulerName", dns_subdomain_errors),
    ];
    for (field, rule) in rules {
        let value = text(spec, field);
        if !value.is_empty() {
            invalid_each(faults, &format!("{path}.{field}"), value, rule(value));
        }
    }
    let policies = ["PreemptLowerPriority", "Never"];
    one_of(faults, spec, path, "preemptionPolicy", &policies, false);
}

/// Two containers cannot have the same port of a node, and one on the node's network has no other ports.
fn host_port_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let on_host = flag(spec, "hostNetwork");
    let mut seen = BTreeSet::new();
    for field in ["containers", "initContainers"] {
        for (at, container) in list(spec, field).iter().enumerate() {
            if field == "initContainers" && text(container, "restartPolicy") != "Always" {
                seen.clear();
            }
            for (port_at, port) in list(container, "ports").iter().enumerate() {
                let path = format!("{path}.{field}[{at}].ports[{port_at}]");
                let host = int(port, "hostPort").unwrap_or_default();
                if on_host && host != int(port, "containerPort").unwrap_or_default() {
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    faults.push(FieldError::invalid(format!("{path}.containerPort"), &port["containerPort"], detail));
                }
                if host == 0 {
                    continue;
                }
                let key = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
                if !seen.insert(key.clone()) {
                    faults.push(FieldError::duplicate(format!("{path}.hostPort"), &json!(key)));
                }
            }
        }
    }
}

fn dns_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let config = spec.get("dnsConfig").unwrap_or(&Value::Null);
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            faults.push(FieldError::required(format!("{path}.dnsConfig"), detail));
        } else if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            faults.push(FieldError::required(format!("{path}.dnsConfig.nameservers"), detail));
        }
    }
    for (at, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        invalid_each(faults, &format!("{path}.dnsConfig.nameservers[{at}]"), server, ip_errors(server));
    }
    for (at, domain) in list(config, "searches").iter().filter_map(Value::as_str).enumerate() {
        let plain = domain.strip_suffix('.').unwrap_or(domain);
        if !plain.is_empty() {
            let wrong = dns_subdomain_errors(&plain.replace('_', "-"));
            invalid_each(faults, &format!("{path}.dnsConfig.searches[{at}]"), domain, wrong);
        }
    }
    for (at, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            faults.push(FieldError::required(format!("{path}.dnsConfig.options[{at}]"), "must not be empty"));
        }
    }
}
