//! ResourceQuota: how much of everything a namespace may have.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column};
use super::checks::{Faults, IMMUTABLE, NON_NEGATIVE, invalid_each};
use super::fields::{entries, get, is_set, keep, list, object_at, same, text};
use super::pod_template::canonical_quantities;
use super::row::row;
use crate::names::qualified_name_errors;
use crate::{Behaviour, FieldError, Kind, Quantity, Scope};

/// The row.
pub fn kind() -> Kind {
    row("", "v1", "ResourceQuota", "resourcequotas", Scope::Namespaced)
        .short(&["quota"])
        .status()
        .columns(vec![
            name_column(),
            column("Request", "The amounts that may be requested, and that are.", |object, _| {
                json!(shown(object, false))
            }),
            column("Limit", "The amounts that limits may add up to, and that they do.", |object, _| {
                json!(shown(object, true))
            }),
            age_column(),
        ])
        .behaviour(ResourceQuota)
        .build()
}

/// `pods: 1/10, requests.cpu: 0/1`
fn shown(object: &Value, limits: bool) -> String {
    let empty = json!({});
    let status = get(object, "status").unwrap_or(&empty);
    let mut parts: Vec<String> = entries(status, "hard")
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, hard)| {
            let used = status.get("used").and_then(|used| used.get(name)).and_then(Value::as_str).unwrap_or("0");
            format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
        })
        .collect();
    parts.sort();
    parts.join(", ")
}

struct ResourceQuota;

impl Behaviour for ResourceQuota {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object_at(object, "spec") {
            canonical_quantities(spec, "hard");
        }
        if let Some(status) = object.get_mut("status") {
            canonical_quantities(status, "hard");
            canonical_quantities(status, "used");
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        super::fields::set(object, "status", json!({}));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        amounts(&mut faults, spec, "hard", "spec.hard");
        scopes(&mut faults, spec);
        scope_selector(&mut faults, spec);
        if let Some(was) = old.and_then(|old| get(old, "spec")) {
            let set = |spec: &Value| {
                let mut scopes: Vec<String> =
                    list(spec, "scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
                scopes.sort();
                json!(scopes)
            };
            if !same(Some(&set(spec)), Some(&set(was))) {
                faults.push(FieldError::invalid("spec.scopes", &json!(list(spec, "scopes")), IMMUTABLE));
            }
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        amounts(&mut faults, status, "hard", "status.hard");
        amounts(&mut faults, status, "used", "status.used");
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// The names without a domain that a quota can count.
const COUNTED: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

/// Those of them that pods and claims request, and that are no whole numbers.
fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

fn is_whole_only(name: &str) -> bool {
    const WHOLE: &[&str] = &[
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ];
    let extended = name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.");
    WHOLE.contains(&name) || extended
}

fn amounts(faults: &mut Faults, holder: &Value, field: &str, path: &str) {
    for (name, value) in entries(holder, field) {
        let path = format!("{path}[{name}]");
        invalid_each(faults, &path, name, qualified_name_errors(name));
        if !name.contains('/') && !is_counted(name) {
            for detail in
                ["must be a standard resource type or fully qualified", "must be a standard resource for quota"]
            {
                faults.push(FieldError::invalid(path.as_str(), &json!(name), detail));
            }
        }
        match Quantity::from_json(value) {
            Err(error) => faults.push(FieldError::invalid(path, value, &error.to_string())),
            Ok(amount) if amount.is_negative() => {
                faults.push(FieldError::invalid(path, &json!(amount.to_string()), NON_NEGATIVE));
            }
            Ok(amount) if is_whole_only(name) && !amount.is_whole() => {
                faults.push(FieldError::invalid(path, &json!(amount.to_string()), "must be an integer"));
            }
            Ok(_) => {}
        }
    }
}

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether what a quota counts can be told apart by a scope.
fn fits(scope: &str, name: &str) -> bool {
    const OF_PODS: &[&str] =
        &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory", "pods"];
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            OF_PODS.contains(&name)
        }
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => ["persistentvolumeclaims", "requests.storage"].contains(&name),
        _ => true,
    }
}

fn scopes(faults: &mut Faults, spec: &Value) {
    let path = "spec.scopes";
    let all = list(spec, "scopes");
    let said: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
    for scope in &said {
        if !SCOPES.contains(scope) {
            faults.push(FieldError::invalid(path, &json!(all), "unsupported scope"));
        }
        for (name, _) in entries(spec, "hard") {
            if !fits(scope, name) {
                faults.push(FieldError::invalid(path, &json!(all), "unsupported scope applied to resource"));
            }
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if said.contains(&one) && said.contains(&other) {
            faults.push(FieldError::invalid(path, &json!(all), "conflicting scopes"));
        }
    }
}

fn scope_selector(faults: &mut Faults, spec: &Value) {
    if !is_set(spec, "scopeSelector") {
        return;
    }
    let path = "spec.scopeSelector.matchExpressions";
    for (at, term) in list(&spec["scopeSelector"], "matchExpressions").iter().enumerate() {
        let path = format!("{path}[{at}]");
        let (scope, operator) = (text(term, "scopeName"), text(term, "operator"));
        if !SCOPES.contains(&scope) {
            faults.push(FieldError::invalid(format!("{path}.scopeName"), &json!(scope), "unsupported scope"));
        }
        if entries(spec, "hard").any(|(name, _)| !fits(scope, name)) {
            faults.push(FieldError::invalid(path.as_str(), term, "unsupported scope applied to resource"));
        }
        let plain = !["PriorityClass", "VolumeAttributesClass"].contains(&scope) && SCOPES.contains(&scope);
        if plain && operator != "Exists" {
            let detail = "must be 'Exist' only operator when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                          ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            faults.push(FieldError::invalid(format!("{path}.operator"), &json!(operator), detail));
        }
        let values = list(term, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                faults.push(FieldError::required(format!("{path}.values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                faults.push(FieldError::invalid(format!("{path}.values"), &json!(values), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let detail = "not a valid selector operator";
                faults.push(FieldError::invalid(format!("{path}.operator"), &json!(operator), detail));
            }
        }
    }
}
