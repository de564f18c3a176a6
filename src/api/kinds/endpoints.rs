//! Endpoints: the addresses behind a Service, in the old form.

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, first_three, name_column};
use super::checks::{Faults, invalid_each, one_of};
use super::fields::{default_text, int, items_mut, list, text};
use super::row::row;
use crate::names::{dns_label_errors, port_number_errors, special_ip_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "Endpoints", "endpoints", Scope::Namespaced)
        .short(&["ep"])
        .columns(vec![
            name_column(),
            column("Endpoints", "The addresses and ports that are ready.", |object, _| json!(shown(object))),
            age_column(),
        ])
        .behaviour(Endpoints)
        .build()
}

fn shown(object: &Value) -> String {
    let subsets = list(object, "subsets");
    let mut all = Vec::new();
    for subset in subsets {
        for port in list(subset, "ports") {
            let port = int(port, "port").unwrap_or_default();
            for address in list(subset, "addresses") {
                let ip = text(address, "ip");
                all.push(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") });
            }
        }
    }
    if subsets.is_empty() { NONE.to_owned() } else { first_three(&all, "") }
}

struct Endpoints;

impl Behaviour for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in items_mut(object, "subsets") {
            for port in items_mut(subset, "ports") {
                default_text(port, "protocol", "TCP");
            }
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        for (at, subset) in list(object, "subsets").iter().enumerate() {
            let path = format!("subsets[{at}]");
            let ready = list(subset, "addresses");
            let waiting = list(subset, "notReadyAddresses");
            if ready.is_empty() && waiting.is_empty() {
                faults.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
            }
            for (field, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
                for (at, address) in addresses.iter().enumerate() {
                    let ip = text(address, "ip");
                    invalid_each(&mut faults, &format!("{path}.{field}[{at}].ip"), ip, special_ip_errors(ip));
                    let host = text(address, "hostname");
                    if !host.is_empty() {
                        let wrong = dns_label_errors(host);
                        invalid_each(&mut faults, &format!("{path}.{field}[{at}].hostname"), host, wrong);
                    }
                }
            }
            let ports = list(subset, "ports");
            for (at, port) in ports.iter().enumerate() {
                validate_port(&mut faults, port, &format!("{path}.ports[{at}]"), ports.len() > 1);
            }
        }
        faults
    }
    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn validate_port(faults: &mut Faults, port: &Value, path: &str, name_required: bool) {
    let name = text(port, "name");
    if !name.is_empty() {
        invalid_each(faults, &format!("{path}.name"), name, dns_label_errors(name));
    } else if name_required {
        faults.push(FieldError::required(format!("{path}.name"), ""));
    }
    let number = int(port, "port").unwrap_or_default();
    let wrong = port_number_errors(number);
    faults.extend(wrong.iter().map(|message| FieldError::invalid(format!("{path}.port"), &json!(number), message)));
    one_of(faults, port, path, "protocol", &["SCTP", "TCP", "UDP"], true);
}
