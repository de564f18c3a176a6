//! Ingress: which hosts and paths lead to which Services.

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, first_three, load_balancer, name_column, or};
use super::checks::{Faults, invalid_each, required_name};
use super::fields::{get, int, is_set, list, list_at, text, text_at};
use super::row::row;
use crate::names::{
    dns_label_errors, dns_subdomain_errors, ip_errors, path_segment_errors, port_name_errors, port_number_errors,
    wildcard_subdomain_errors,
};
use crate::{Behaviour, FieldError, Kind, Scope, meta};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];

/// The row.
pub fn kind() -> Kind {
    row("networking.k8s.io", "v1", "Ingress", "ingresses", Scope::Namespaced)
        .short(&["ing"])
        .status()
        .columns(vec![
            name_column(),
            column(
                "Class",
                "The name of the IngressClass resource that should be used for additional configuration",
                |object, _| {
                    let annotated = meta::annotation(object, CLASS_ANNOTATION).unwrap_or_default();
                    json!(or(or(text_at(object, "/spec/ingressClassName"), annotated), NONE))
                },
            ),
            column("Hosts", "Hosts that incoming requests are matched against before the ingress rule", |object, _| {
                let rules = list_at(object, "/spec/rules").iter();
                let hosts: Vec<String> =
                    rules.map(|rule| text(rule, "host").to_owned()).filter(|host| !host.is_empty()).collect();
                json!(first_three(&hosts, "*"))
            }),
            column("Address", "Address is a list containing ingress points for the load-balancer", |object, _| {
                json!(load_balancer(object))
            }),
            column("Ports", "Ports of TLS configurations that open", |object, _| {
                json!(if list_at(object, "/spec/tls").is_empty() { "80" } else { "80, 443" })
            }),
            age_column(),
        ])
        .behaviour(Ingress)
        .build()
}

struct Ingress;

impl Behaviour for Ingress {
    fn warnings(&self, object: &Value) -> Vec<String> {
        let annotated = meta::annotation(object, CLASS_ANNOTATION).is_some();
        let sentence =
            format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead");
        annotated.then_some(sentence).into_iter().collect()
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(spec) = get(object, "spec") else {
            let detail = "either `defaultBackend` or `rules` must be specified";
            faults.push(FieldError::invalid("spec", &json!([]), detail));
            return faults;
        };
        let class = text(spec, "ingressClassName");
        if old.is_none()
            && !class.is_empty()
            && let Some(annotated) = meta::annotation(object, CLASS_ANNOTATION).filter(|annotated| *annotated != class)
        {
            let path = format!("annotations.{CLASS_ANNOTATION}");
            let detail = "must match `ingressClassName` when both are specified";
            faults.push(FieldError::invalid(path, &json!(annotated), detail));
        }
        let rules = list(spec, "rules");
        let fallback = get(spec, "defaultBackend");
        if rules.is_empty() && fallback.is_none() {
            let detail = "either `defaultBackend` or `rules` must be specified";
            faults.push(FieldError::invalid("spec", &json!([]), detail));
        }
        if let Some(fallback) = fallback {
            backend(&mut faults, fallback, "spec.defaultBackend");
        }
        for (at, rule) in rules.iter().enumerate() {
            rule_faults(&mut faults, rule, &format!("spec.rules[{at}]"));
        }
        for (at, tls) in list(spec, "tls").iter().enumerate() {
            for (host_at, host) in list(tls, "hosts").iter().enumerate() {
                let path = format!("spec.tls[{at}].hosts[{host_at}]");
                host_faults(&mut faults, host.as_str().unwrap_or_default(), &path);
            }
            let secret = text(tls, "secretName");
            if !secret.is_empty() {
                invalid_each(&mut faults, &format!("spec.tls[{at}].secretName"), secret, dns_subdomain_errors(secret));
            }
        }
        if is_set(spec, "ingressClassName") {
            invalid_each(&mut faults, "spec.ingressClassName", class, dns_subdomain_errors(class));
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        for (at, point) in list_at(object, "/status/loadBalancer/ingress").iter().enumerate() {
            let path = format!("status.loadBalancer.ingress[{at}]");
            let (ip, host) = (text(point, "ip"), text(point, "hostname"));
            if !ip.is_empty() {
                invalid_each(&mut faults, &format!("{path}.ip"), ip, ip_errors(ip));
            }
            if !host.is_empty() {
                invalid_each(&mut faults, &format!("{path}.hostname"), host, dns_subdomain_errors(host));
                not_an_address(&mut faults, host, &format!("{path}.hostname"));
            }
        }
        faults
    }
}

fn not_an_address(faults: &mut Faults, host: &str, path: &str) {
    if host.parse::<std::net::IpAddr>().is_ok() {
        faults.push(FieldError::invalid(path, &json!(host), "must be a DNS name, not an IP address"));
    }
}

fn host_faults(faults: &mut Faults, host: &str, path: &str) {
    let rule = if host.contains('*') { wildcard_subdomain_errors } else { dns_subdomain_errors };
    invalid_each(faults, path, host, rule(host));
}

fn rule_faults(faults: &mut Faults, rule: &Value, path: &str) {
    let host = text(rule, "host");
    if !host.is_empty() {
        not_an_address(faults, host, &format!("{path}.host"));
        host_faults(faults, host, &format!("{path}.host"));
    }
    let Some(http) = get(rule, "http") else { return };
    let paths = list(http, "paths");
    if paths.is_empty() {
        faults.push(FieldError::required(format!("{path}.http.paths"), ""));
    }
    for (at, entry) in paths.iter().enumerate() {
        let path = format!("{path}.http.paths[{at}]");
        path_faults(faults, entry, &path);
        match get(entry, "backend") {
            Some(entry) => backend(faults, entry, &format!("{path}.backend")),
            None => {
                let detail = "resource or service backend is required";
                faults.push(FieldError::invalid(format!("{path}.backend"), &json!(""), detail));
            }
        }
    }
}

fn path_faults(faults: &mut Faults, entry: &Value, path: &str) {
    let (kind, wanted) = (text(entry, "pathType"), text(entry, "path"));
    let path_path = format!("{path}.path");
    match kind {
        "" => faults.push(FieldError::required(format!("{path}.pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !wanted.starts_with('/') {
                faults.push(FieldError::invalid(path_path.as_str(), &json!(wanted), "must be an absolute path"));
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if wanted.contains(sequence) {
                    let detail = format!("must not contain '{sequence}'");
                    faults.push(FieldError::invalid(path_path.as_str(), &json!(wanted), &detail));
                }
            }
            for suffix in ["/..", "/."] {
                if wanted.ends_with(suffix) {
                    let detail = format!("cannot end with '{suffix}'");
                    faults.push(FieldError::invalid(path_path.as_str(), &json!(wanted), &detail));
                }
            }
        }
        "ImplementationSpecific" => {
            if !wanted.is_empty() && !wanted.starts_with('/') {
                faults.push(FieldError::invalid(path_path.as_str(), &json!(wanted), "must be an absolute path"));
            }
        }
        other => faults.push(FieldError::not_supported(format!("{path}.pathType"), &json!(other), PATH_TYPES)),
    }
}

fn backend(faults: &mut Faults, backend: &Value, path: &str) {
    match (get(backend, "resource"), get(backend, "service")) {
        (Some(_), Some(_)) => {
            faults.push(FieldError::invalid(path, &json!(""), "cannot set both resource and service backends"));
        }
        (Some(resource), None) => {
            if let Some(group) = get(resource, "apiGroup").and_then(Value::as_str) {
                invalid_each(faults, &format!("{path}.resource.apiGroup"), group, dns_subdomain_errors(group));
            }
            for field in ["kind", "name"] {
                let path = format!("{path}.resource.{field}");
                required_name(faults, &path, text(resource, field), path_segment_errors);
            }
        }
        (None, Some(service)) => service_backend(faults, service, path),
        (None, None) => {
            faults.push(FieldError::invalid(path, &json!(""), "resource or service backend is required"));
        }
    }
}

fn service_backend(faults: &mut Faults, service: &Value, path: &str) {
    required_name(faults, &format!("{path}.service.name"), text(service, "name"), dns_label_errors);
    let port = service.get("port").unwrap_or(&Value::Null);
    let (name, number) = (text(port, "name"), int(port, "number").unwrap_or_default());
    if !name.is_empty() && number != 0 {
        faults.push(FieldError::invalid(path, &json!(""), "cannot set both port name & port number"));
    } else if !name.is_empty() {
        invalid_each(faults, &format!("{path}.service.port.name"), name, port_name_errors(name));
    } else if number != 0 {
        let wrong = port_number_errors(number);
        let path = format!("{path}.service.port.number");
        faults.extend(wrong.iter().map(|message| FieldError::invalid(path.as_str(), &json!(number), message)));
    } else {
        faults.push(FieldError::required(path, "port name or number is required"));
    }
}
