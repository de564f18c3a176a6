//! NetworkPolicy: who may talk to which pods.

use serde_json::{Value, json};

use super::addresses::{Block, cidr_faults};
use super::cells::{NONE, age_column, column, name_column, or};
use super::checks::{Faults, invalid_each};
use super::fields::{default_text, default_to, get, int, is_set, items_mut, list, object_at, text};
use super::row::row;
use crate::names::{port_name_errors, port_number_errors};
use crate::selector::{LabelSelector, validate_label_selector};
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", Scope::Namespaced)
        .short(&["netpol"])
        .columns(vec![
            name_column(),
            column("Pod-Selector", "The pods that the policy is about.", |object, _| {
                match LabelSelector::from_json(object.pointer("/spec/podSelector")) {
                    Ok(selector) => json!(or(&selector.to_string(), NONE)),
                    Err(_) => json!("<error>"),
                }
            }),
            age_column(),
        ])
        .behaviour(NetworkPolicy)
        .build()
}

struct NetworkPolicy;

impl Behaviour for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_to(spec, "podSelector", json!({}));
        for direction in ["ingress", "egress"] {
            for rule in items_mut(spec, direction) {
                for port in items_mut(rule, "ports") {
                    default_text(port, "protocol", "TCP");
                }
            }
        }
        if list(spec, "policyTypes").is_empty() {
            let types = if list(spec, "egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
            super::fields::set(spec, "policyTypes", types);
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        faults.extend(validate_label_selector(get(spec, "podSelector").unwrap_or(&empty), "spec.podSelector"));
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (at, rule) in list(spec, direction).iter().enumerate() {
                let path = format!("spec.{direction}[{at}]");
                for (at, port) in list(rule, "ports").iter().enumerate() {
                    port_faults(&mut faults, port, &format!("{path}.ports[{at}]"));
                }
                for (at, peer) in list(rule, peers).iter().enumerate() {
                    peer_faults(&mut faults, peer, &format!("{path}.{peers}[{at}]"));
                }
            }
        }
        let types = list(spec, "policyTypes");
        if types.len() > 2 {
            let detail = "may not specify more than two policyTypes";
            faults.push(FieldError::invalid("spec.policyTypes", &json!(types), detail));
            return faults;
        }
        for (at, kind) in types.iter().enumerate() {
            if !matches!(kind.as_str(), Some("Ingress" | "Egress")) {
                let path = format!("spec.policyTypes[{at}]");
                faults.push(FieldError::not_supported(path, kind, &["Ingress", "Egress"]));
            }
        }
        faults
    }
}

fn port_faults(faults: &mut Faults, entry: &Value, path: &str) {
    super::checks::one_of(faults, entry, path, "protocol", &["TCP", "UDP", "SCTP"], false);
    let end = int(entry, "endPort");
    let wrong_end = |faults: &mut Faults, detail: &str| {
        if let Some(end) = end {
            faults.push(FieldError::invalid(format!("{path}.endPort"), &json!(end), detail));
        }
    };
    match get(entry, "port") {
        None => wrong_end(faults, "may not be specified when `port` is not specified"),
        Some(Value::String(name)) => {
            wrong_end(faults, "may not be specified when `port` is non-numeric");
            invalid_each(faults, &format!("{path}.port"), name, port_name_errors(name));
        }
        Some(number) => {
            let port = number.as_i64().unwrap_or_default();
            for message in port_number_errors(port) {
                faults.push(FieldError::invalid(format!("{path}.port"), number, &message));
            }
            if let Some(end) = end {
                if end < port {
                    wrong_end(faults, "must be greater than or equal to `port`");
                }
                for message in port_number_errors(end) {
                    wrong_end(faults, &message);
                }
            }
        }
    }
}

fn peer_faults(faults: &mut Faults, peer: &Value, path: &str) {
    let mut named = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = get(peer, field) {
            named += 1;
            faults.extend(validate_label_selector(selector, &format!("{path}.{field}")));
        }
    }
    if let Some(block) = get(peer, "ipBlock") {
        named += 1;
        block_faults(faults, block, &format!("{path}.ipBlock"));
    }
    if named == 0 {
        faults.push(FieldError::required(path, "must specify a peer"));
    } else if named > 1 && is_set(peer, "ipBlock") {
        faults.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

fn block_faults(faults: &mut Faults, block: &Value, path: &str) {
    let cidr = text(block, "cidr");
    if cidr.is_empty() {
        faults.push(FieldError::required(format!("{path}.cidr"), ""));
        return;
    }
    cidr_faults(faults, &format!("{path}.cidr"), cidr, false);
    let Some(whole) = Block::parse(cidr) else { return };
    for (at, except) in list(block, "except").iter().enumerate() {
        let path = format!("{path}.except[{at}]");
        let text = except.as_str().unwrap_or_default();
        cidr_faults(faults, &path, text, false);
        if let Some(part) = Block::parse(text)
            && (!whole.contains(part.address) || whole.length >= part.length)
        {
            faults.push(FieldError::invalid(path, except, "must be a strict subset of `cidr`"));
        }
    }
}
