//! Services and slices as a table.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use network::{PortRef, ServiceTable};
use serde_json::{Value, json};

use super::object;
use crate::services::table;

fn service(name: &str, spec: Value) -> Arc<Service> {
    Arc::new(object(json!({ "metadata": { "namespace": "shop", "name": name }, "spec": spec })))
}

fn slice(of: &str, ports: Value, endpoints: Value) -> Arc<EndpointSlice> {
    let labels = json!({ "kubernetes.io/service-name": of });
    Arc::new(object(json!({
        "metadata": { "namespace": "shop", "name": format!("{of}-1"), "labels": labels },
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    })))
}

fn usable(table: &ServiceTable, key: &str, port: PortRef) -> Vec<String> {
    let port = table.get(key).and_then(|service| service.port(&port).cloned());
    port.map_or(vec!["no such port".into()], |port| port.usable().iter().map(ToString::to_string).collect())
}

#[test]
fn ports_lead_to_the_ports_of_the_slices() {
    let cart = service(
        "cart",
        json!({ "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": [
            { "name": "http", "port": 80, "targetPort": "web", "protocol": "TCP" },
            { "name": "admin", "port": 81 },
            { "name": "dns", "port": 53, "protocol": "UDP" },
        ] }),
    );
    let first = slice(
        "cart",
        json!([{ "name": "http", "port": 8080 }, { "name": "admin", "port": 9000 }, { "name": "dns", "port": 53, "protocol": "UDP" }]),
        json!([
            { "addresses": ["10.128.0.1"], "conditions": { "ready": true } },
            { "addresses": ["10.128.0.2"], "conditions": { "ready": false } },
            { "addresses": ["10.128.0.3"] },
        ]),
    );
    // Pods of a new version may name their ports differently: a slice of its own.
    let second = slice("cart", json!([{ "name": "http", "port": 8081 }]), json!([{ "addresses": ["10.128.0.4"] }]));
    let other = slice("cartoon", json!([{ "name": "http", "port": 1 }]), json!([{ "addresses": ["10.128.0.9"] }]));
    let table = table(&[cart], &[first, second, other]);
    let http = ["10.128.0.1:8080", "10.128.0.3:8080", "10.128.0.4:8081"];
    assert_eq!(usable(&table, "shop/cart", PortRef::Number(80)), http);
    assert_eq!(usable(&table, "shop/cart", PortRef::Name("http".into())), http);
    assert_eq!(usable(&table, "shop/cart", PortRef::Number(81)), ["10.128.0.1:9000", "10.128.0.3:9000"]);
    assert_eq!(usable(&table, "shop/cart", PortRef::Number(53)), ["no such port"]);
    assert_eq!(table.by_address("10.96.0.5".parse().unwrap()).unwrap().key, "shop/cart");
}

#[test]
fn terminating_endpoints_serve_only_when_no_other_does() {
    let cart = service("cart", json!({ "clusterIP": "10.96.0.5", "ports": [{ "port": 80 }] }));
    let going =
        json!({ "addresses": ["10.128.0.1"], "conditions": { "ready": false, "serving": true, "terminating": true } });
    let gone =
        json!({ "addresses": ["10.128.0.2"], "conditions": { "ready": false, "serving": false, "terminating": true } });
    let fresh =
        json!({ "addresses": ["10.128.0.3"], "conditions": { "ready": true, "serving": true, "terminating": false } });
    let seen = |endpoints: Value| {
        let slice = slice("cart", json!([{ "port": 8080, "protocol": "TCP" }]), endpoints);
        usable(&table(std::slice::from_ref(&cart), &[slice]), "shop/cart", PortRef::Number(80))
    };
    assert_eq!(seen(json!([going, gone, fresh])), ["10.128.0.3:8080"]);
    assert_eq!(seen(json!([going, gone])), ["10.128.0.1:8080"]);
    assert!(seen(json!([gone])).is_empty());
    assert!(seen(json!([])).is_empty());
}

#[test]
fn headless_services_external_names_and_affinity() {
    let peers = service("peers", json!({ "clusterIP": "None", "clusterIPs": ["None"] }));
    let mail = service("mail", json!({ "type": "ExternalName", "externalName": "mail.example.com" }));
    let sticky = service(
        "sticky",
        json!({ "clusterIP": "10.96.0.6", "sessionAffinity": "ClientIP", "ports": [{ "port": 80 }] }),
    );
    let members = slice("peers", json!([]), json!([{ "addresses": ["10.128.0.7"], "hostname": "peers-0" }]));
    let table = table(&[peers, mail, sticky], &[members]);
    let peers = table.get("shop/peers").unwrap();
    assert!(peers.is_headless());
    assert_eq!(peers.pod_addresses(), ["10.128.0.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(peers.pod_by_hostname("peers-0"), Some("10.128.0.7".parse().unwrap()));
    assert_eq!(table.get("shop/mail").unwrap().external_name.as_deref(), Some("mail.example.com"));
    assert!(table.get("shop/sticky").unwrap().affinity);
}

#[test]
fn nonsense_in_a_slice_is_passed_over() {
    let cart = service("cart", json!({ "clusterIP": "not an address", "ports": [{ "port": 80 }, { "port": 99999 }] }));
    let slice = slice(
        "cart",
        json!([{ "port": 8080 }]),
        json!([{ "addresses": ["host.example.com"] }, { "addresses": [] }, { "addresses": ["10.128.0.1"] }]),
    );
    assert_eq!(usable(&table(&[cart], &[slice]), "shop/cart", PortRef::Number(80)), ["10.128.0.1:8080"]);
}
