//! APIService: a group and version of the API, and which server answers for it.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, invalid_each};
use super::fields::{default_to, flag, get, int, list_at, set, text, text_at};
use super::row::row;
use crate::names::{dns_subdomain_errors, dns1035_label_errors, path_segment_errors};
use crate::{Behaviour, FieldError, Kind, Scope, meta};

/// The row.
pub fn kind() -> Kind {
    row("apiregistration.k8s.io", "v1", "APIService", "apiservices", Scope::Cluster)
        .category("api-extensions")
        .status()
        .columns(vec![
            name_column(),
            column("Service", "The Service that answers, or this server.", |object, _| {
                match object.get("spec").and_then(|spec| get(spec, "service")) {
                    Some(service) => json!(format!("{}/{}", text(service, "namespace"), text(service, "name"))),
                    None => json!("Local"),
                }
            }),
            column("Available", "Whether it answers.", |object, _| json!(available(object))),
            age_column(),
        ])
        .behaviour(ApiService)
        .build()
}

fn available(object: &Value) -> String {
    let conditions = list_at(object, "/status/conditions");
    match conditions.iter().find(|condition| text(condition, "type") == "Available") {
        None => "Unknown".to_owned(),
        Some(condition) if text(condition, "status") == "True" => "True".to_owned(),
        Some(condition) => format!("{} ({})", text(condition, "status"), text(condition, "reason")),
    }
}

struct ApiService;

impl Behaviour for ApiService {
    fn default(&self, object: &mut Value) {
        if let Some(service) = object.pointer_mut("/spec/service") {
            default_to(service, "port", 443);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        let local = object.get("spec").is_none_or(|spec| get(spec, "service").is_none());
        let status = if local {
            json!({ "conditions": [{
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
            }] })
        } else {
            json!({})
        };
        set(object, "status", status);
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        named_for_its_version(&mut faults, object);
        let (group, version) = (text(spec, "group"), text(spec, "version"));
        if group.is_empty() && version != "v1" {
            let detail = "only v1 may have an empty group and it better be legacy kube";
            faults.push(FieldError::required("spec.group", detail));
        }
        if !group.is_empty() {
            invalid_each(&mut faults, "spec.group", group, dns_subdomain_errors(group));
        }
        invalid_each(&mut faults, "spec.version", version, dns1035_label_errors(version));
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            let number = int(spec, field).unwrap_or_default();
            if !(1..=most).contains(&number) {
                let detail = format!("must be positive and less than {most}");
                faults.push(FieldError::invalid(format!("spec.{field}"), &json!(number), &detail));
            }
        }
        service_faults(&mut faults, spec);
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        for (at, condition) in list_at(object, "/status/conditions").iter().enumerate() {
            let allowed = ["True", "False", "Unknown"];
            let status = text(condition, "status");
            if !allowed.contains(&status) {
                let path = format!("status.conditions[{at}].status");
                faults.push(FieldError::not_supported(path, &json!(status), &allowed));
            }
        }
        faults
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        path_segment_errors(name)
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn named_for_its_version(faults: &mut Faults, object: &Value) {
    let wanted = format!("{}.{}", text_at(object, "/spec/version"), text_at(object, "/spec/group"));
    let name = meta::name(object);
    if !name.is_empty() && name != wanted && path_segment_errors(name).is_empty() {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        faults.push(FieldError::invalid("metadata.name", &json!(name), &detail));
    }
}

fn service_faults(faults: &mut Faults, spec: &Value) {
    let bundle = text(spec, "caBundle");
    let skips = flag(spec, "insecureSkipTLSVerify");
    let path = "spec.insecureSkipTLSVerify";
    let Some(service) = get(spec, "service") else {
        if !bundle.is_empty() {
            let shown = format!("{} bytes", bundle.len() / 4 * 3);
            let detail = "local APIServices may not have a caBundle";
            faults.push(FieldError::invalid("spec.caBundle", &json!(shown), detail));
        }
        if skips {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            faults.push(FieldError::invalid(path, &json!(true), detail));
        }
        return;
    };
    for field in ["namespace", "name"] {
        if text(service, field).is_empty() {
            faults.push(FieldError::required(format!("spec.service.{field}"), ""));
        }
    }
    if skips && !bundle.is_empty() {
        faults.push(FieldError::invalid(path, &json!(true), "may not be true if caBundle is present"));
    }
}
