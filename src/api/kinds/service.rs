//! Service: a name and an address for whatever pods a selector finds.

mod balancing;
mod defaults;
mod validation;

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, joined, load_balancer, name_column, plain_selector, wide};
use super::fields::{get, int, is_set, keep, list, list_at, set, text, text_at};
use super::row::{PROXY_VERBS, row};
use crate::names::dns_label_errors;
use crate::{Behaviour, FieldError, Kind, Scope};

/// The `clusterIP` of a Service without an address of its own.
pub const HEADLESS: &str = "None";

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "Service", "services", Scope::Namespaced)
        .short(&["svc"])
        .all()
        .status()
        .subresource("proxy", "v1", "ServiceProxyOptions", PROXY_VERBS)
        .columns(vec![
            name_column(),
            column("Type", "Determines how the Service is exposed.", |object, _| json!(text_at(object, "/spec/type"))),
            column("Cluster-IP", "The address of the service inside the cluster.", |object, _| {
                json!(cluster_ip(object))
            }),
            column("External-IP", "The addresses of the service outside of the cluster.", |object, _| {
                json!(external_ip(object))
            }),
            column("Port(s)", "The list of ports that are exposed by this service.", |object, _| {
                let ports: Vec<String> = list_at(object, "/spec/ports").iter().map(shown_port).collect();
                json!(joined(ports.iter().map(String::as_str)))
            }),
            age_column(),
            wide(column("Selector", "The labels of the pods that traffic goes to.", |object, _| {
                json!(plain_selector(object.pointer("/spec/selector")))
            })),
        ])
        .behaviour(Service)
        .build()
}

fn cluster_ip(object: &Value) -> String {
    let first = list_at(object, "/spec/clusterIPs").first().and_then(Value::as_str);
    let address = first.unwrap_or_else(|| text_at(object, "/spec/clusterIP"));
    if address.is_empty() { NONE.to_owned() } else { address.to_owned() }
}

fn external_ip(object: &Value) -> String {
    let fixed: Vec<&str> = list_at(object, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text_at(object, "/spec/type") {
        "ExternalName" => text_at(object, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let balanced = load_balancer(object);
            if balanced.is_empty() && fixed.is_empty() {
                return "<pending>".to_owned();
            }
            joined(fixed.into_iter().chain((!balanced.is_empty()).then_some(balanced.as_str())))
        }
        "ClusterIP" | "NodePort" => joined(fixed),
        _ => "<unknown>".to_owned(),
    }
}

fn shown_port(port: &Value) -> String {
    let number = int(port, "port").unwrap_or_default();
    let protocol = text(port, "protocol");
    match int(port, "nodePort") {
        Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

/// Whether a Service (its `spec`) is to have an address of its own.
pub fn needs_cluster_ip(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName" && text(spec, "clusterIP") != HEADLESS
}

struct Service;

impl Behaviour for Service {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = super::fields::object_at(object, "spec") {
            defaults::fill(spec);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({ "loadBalancer": {} }));
    }
    /// A client that leaves out what the server allocated means to keep it.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
        if text_at(object, "/spec/type") != "LoadBalancer"
            && let Some(status) = object.get_mut("status").filter(|status| status.is_object())
        {
            set(status, "loadBalancer", json!({}));
        }
        let (Some(spec), Some(was)) = (object.get_mut("spec"), get(old, "spec")) else { return };
        defaults::drop_what_the_type_has_no_use_for(spec, was);
        if needs_cluster_ip(spec) && needs_cluster_ip(was) {
            for field in ["clusterIP", "clusterIPs"] {
                if text(spec, field).is_empty() && list(spec, field).is_empty() {
                    keep(spec, was, field);
                }
            }
        }
        let exposed = ["NodePort", "LoadBalancer"];
        if exposed.contains(&text(spec, "type")) && exposed.contains(&text(was, "type")) {
            defaults::keep_node_ports(spec, was);
        }
        if !is_set(spec, "ipFamilies") && text(spec, "type") != "ExternalName" {
            keep(spec, was, "ipFamilies");
        }
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        validation::faults(object, old)
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        validation::status_faults(object)
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings(object)
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        dns_label_errors(name)
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        vec![
            ("spec.clusterIP".into(), text_at(object, "/spec/clusterIP").to_owned()),
            ("spec.type".into(), text_at(object, "/spec/type").to_owned()),
        ]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec!["spec.clusterIP", "spec.type"]
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let hints = "service.kubernetes.io/topology-aware-hints";
    if crate::meta::annotation(object, hints).is_some() {
        warnings
            .push(format!("annotation {hints} is deprecated, please use service.kubernetes.io/topology-mode instead"));
    }
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if text(spec, "trafficDistribution") == "PreferClose" {
        warnings.push(
            "spec.trafficDistribution: deprecated value \"PreferClose\"; use \"PreferSameZone\" instead".to_owned(),
        );
    }
    if text(spec, "clusterIP") == HEADLESS {
        let ignored = [
            ("loadBalancerIP", !text(spec, "loadBalancerIP").is_empty()),
            ("externalIPs", !list(spec, "externalIPs").is_empty()),
            ("SessionAffinity", !["", "None"].contains(&text(spec, "sessionAffinity"))),
        ];
        for (field, _) in ignored.iter().filter(|(_, said)| *said) {
            warnings.push(format!("spec.{field} is ignored when spec.clusterIP is \"None\""));
        }
    }
    warnings
}
