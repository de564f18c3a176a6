//! IngressClass: who serves which Ingresses.

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column};
use super::checks::{Faults, IMMUTABLE, invalid_each, one_of, required_name};
use super::fields::{get, text, text_at};
use super::row::row;
use crate::names::{dns_label_errors, dns_subdomain_errors, path_segment_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

const CONTROLLER_BYTES_MAX: usize = 250;

/// The row.
pub fn kind() -> Kind {
    row("networking.k8s.io", "v1", "IngressClass", "ingressclasses", Scope::Cluster)
        .columns(vec![
            name_column(),
            column("Controller", "Controller that is responsible for handling this class", |object, _| {
                json!(text_at(object, "/spec/controller"))
            }),
            column("Parameters", "A reference to a resource with additional parameters", |object, _| {
                json!(parameters(object))
            }),
            age_column(),
        ])
        .behaviour(IngressClass)
        .build()
}

fn parameters(object: &Value) -> String {
    let Some(reference) = object.get("spec").and_then(|spec| get(spec, "parameters")) else { return NONE.to_owned() };
    let group = text(reference, "apiGroup");
    let dot = if group.is_empty() { "" } else { "." };
    format!("{}{dot}{group}/{}", text(reference, "kind"), text(reference, "name"))
}

struct IngressClass;

impl Behaviour for IngressClass {
    fn default(&self, object: &mut Value) {
        if let Some(reference) = object.pointer_mut("/spec/parameters") {
            super::fields::default_text(reference, "scope", "Cluster");
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let path = "spec.controller";
        let controller = text_at(object, "/spec/controller");
        match controller.split_once('/') {
            _ if controller.len() > CONTROLLER_BYTES_MAX => {
                faults.push(FieldError::too_long(path, CONTROLLER_BYTES_MAX));
            }
            _ if controller.is_empty() => faults.push(FieldError::required(path, "")),
            Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
                invalid_each(&mut faults, path, host, dns_subdomain_errors(host));
            }
            _ => {
                let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                faults.push(FieldError::invalid(path, &json!(controller), detail));
            }
        }
        if let Some(reference) = object.get("spec").and_then(|spec| get(spec, "parameters")) {
            reference_faults(&mut faults, reference, "spec.parameters");
        }
        if let Some(old) = old
            && text_at(old, "/spec/controller") != controller
        {
            faults.push(FieldError::invalid(path, &json!(controller), IMMUTABLE));
        }
        faults
    }
}

fn reference_faults(faults: &mut Faults, reference: &Value, path: &str) {
    if let Some(group) = get(reference, "apiGroup").and_then(Value::as_str) {
        invalid_each(faults, &format!("{path}.apiGroup"), group, dns_subdomain_errors(group));
    }
    for field in ["kind", "name"] {
        required_name(faults, &format!("{path}.{field}"), text(reference, field), path_segment_errors);
    }
    one_of(faults, reference, path, "scope", &["Cluster", "Namespace"], true);
    let path = format!("{path}.namespace");
    match (text(reference, "scope"), get(reference, "namespace").and_then(Value::as_str)) {
        ("Namespace", None) => faults.push(FieldError::required(path, "`parameters.scope` is set to 'Namespace'")),
        ("Namespace", Some(space)) => invalid_each(faults, &path, space, dns_label_errors(space)),
        ("Cluster", Some(_)) => faults.push(FieldError::forbidden(path, "`parameters.scope` is set to 'Cluster'")),
        _ => {}
    }
}
