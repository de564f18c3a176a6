//! EndpointSlice: a piece of the addresses behind a Service.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cells::{age_column, column, first_three, name_column};
use super::checks::{Faults, immutable, invalid_each, one_of, unique};
use super::fields::{default_text, default_to, get, int, items_mut, list, text};
use super::row::row;
use crate::names::{dns_label_errors, dns_subdomain_errors, label_value_errors, port_number_errors, special_ip_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const HINTS_MAX: usize = 8;

/// The row.
pub fn kind() -> Kind {
    row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Scope::Namespaced)
        .columns(vec![
            name_column(),
            column("AddressType", "The type of address carried by this EndpointSlice.", |object, _| {
                json!(text(object, "addressType"))
            }),
            column("Ports", "The ports exposed by each endpoint.", |object, _| {
                let ports: Vec<String> = list(object, "ports").iter().map(shown_port).collect();
                json!(first_three(&ports, "<unset>"))
            }),
            column("Endpoints", "The addresses of all endpoints.", |object, _| {
                let addresses = list(object, "endpoints").iter().flat_map(|endpoint| list(endpoint, "addresses"));
                let shown: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
                json!(first_three(&shown, "<unset>"))
            }),
            age_column(),
        ])
        .behaviour(EndpointSlice)
        .build()
}

fn shown_port(port: &Value) -> String {
    match int(port, "port") {
        Some(number) => number.to_string(),
        None if text(port, "name").is_empty() => "*".to_owned(),
        None => text(port, "name").to_owned(),
    }
}

struct EndpointSlice;

impl Behaviour for EndpointSlice {
    fn default(&self, object: &mut Value) {
        for port in items_mut(object, "ports") {
            default_to(port, "name", "");
            default_text(port, "protocol", "TCP");
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let kinds = ["FQDN", "IPv4", "IPv6"];
        let address_type = text(object, "addressType");
        if address_type.is_empty() {
            faults.push(FieldError::required("addressType", ""));
        } else if !kinds.contains(&address_type) {
            faults.push(FieldError::not_supported("addressType", &json!(address_type), &kinds));
        }
        endpoints(&mut faults, object, address_type);
        ports(&mut faults, object);
        if let Some(old) = old {
            immutable(&mut faults, object, old, "", "addressType");
        }
        faults
    }
}

fn endpoints(faults: &mut Faults, object: &Value, address_type: &str) {
    let all = list(object, "endpoints");
    if all.len() > ENDPOINTS_MAX {
        faults.push(FieldError::too_many("endpoints", all.len(), ENDPOINTS_MAX));
        return;
    }
    for (at, endpoint) in all.iter().enumerate() {
        let path = format!("endpoints[{at}].addresses");
        let addresses = list(endpoint, "addresses");
        if addresses.is_empty() {
            faults.push(FieldError::required(&path, "must contain at least 1 address"));
        } else if addresses.len() > ADDRESSES_MAX {
            faults.push(FieldError::too_many(&path, addresses.len(), ADDRESSES_MAX));
        }
        for (at, address) in addresses.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let address = address.as_str().unwrap_or_default();
            let wrong = match address_type {
                "FQDN" => dns_subdomain_errors(address),
                "IPv4" if address.parse::<std::net::Ipv4Addr>().is_err() => {
                    vec!["must be a valid IPv4 address".to_owned()]
                }
                "IPv6" if address.parse::<std::net::Ipv6Addr>().is_err() => {
                    vec!["must be a valid IPv6 address".to_owned()]
                }
                _ => special_ip_errors(address),
            };
            invalid_each(faults, &path, address, wrong);
        }
        topology_faults(faults, endpoint, &format!("endpoints[{at}]"));
    }
}

fn topology_faults(faults: &mut Faults, endpoint: &Value, path: &str) {
    if let Some(host) = get(endpoint, "hostname").and_then(Value::as_str) {
        invalid_each(faults, &format!("{path}.hostname"), host, dns_label_errors(host));
    }
    if let Some(node) = get(endpoint, "nodeName").and_then(Value::as_str) {
        invalid_each(faults, &format!("{path}.nodeName"), node, dns_subdomain_errors(node));
    }
    if let Some(zone) = get(endpoint, "zone").and_then(Value::as_str) {
        invalid_each(faults, &format!("{path}.zone"), zone, label_value_errors(zone));
    }
    if let Some(hints) = get(endpoint, "hints") {
        for field in ["forZones", "forNodes"] {
            let all = list(hints, field);
            let path = format!("{path}.hints.{field}");
            if all.len() > HINTS_MAX {
                faults.push(FieldError::too_many(path.as_str(), all.len(), HINTS_MAX));
            }
            let mut seen = BTreeSet::new();
            for (at, hint) in all.iter().enumerate() {
                let name = text(hint, "name");
                invalid_each(faults, &format!("{path}[{at}].name"), name, label_value_errors(name));
                unique(faults, &mut seen, &format!("{path}[{at}].name"), name);
            }
        }
    }
}

fn ports(faults: &mut Faults, object: &Value) {
    let all = list(object, "ports");
    if all.len() > PORTS_MAX {
        faults.push(FieldError::too_many("ports", all.len(), PORTS_MAX));
        return;
    }
    let mut names = BTreeSet::new();
    for (at, port) in all.iter().enumerate() {
        let path = format!("ports[{at}]");
        let name = text(port, "name");
        if !name.is_empty() {
            invalid_each(faults, &format!("{path}.name"), name, dns_label_errors(name));
        }
        if !names.insert(name) {
            faults.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        if let Some(number) = int(port, "port") {
            let wrong = port_number_errors(number);
            let path = format!("{path}.port");
            faults.extend(wrong.iter().map(|message| FieldError::invalid(path.as_str(), &json!(number), message)));
        }
        one_of(faults, port, &path, "protocol", &["SCTP", "TCP", "UDP"], true);
    }
}
