//! FlowSchema: which requests go to which priority level.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column, or};
use super::checks::{Faults, required_name};
use super::fields::{flag, get, int, list, list_at, object_at, same, set, text, text_at};
use super::row::row;
use crate::names::{dns_label_errors, dns_subdomain_errors};
use crate::{Behaviour, FieldError, Kind, Scope, meta};

const PRECEDENCE: i64 = 1000;
const PRECEDENCE_MAX: i64 = 10_000;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// The row.
pub fn kind() -> Kind {
    row("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", Scope::Cluster)
        .status()
        .columns(vec![
            name_column(),
            column("PriorityLevel", "Where the requests go.", |object, _| {
                json!(text_at(object, "/spec/priorityLevelConfiguration/name"))
            }),
            column("MatchingPrecedence", "Of schemas that match, the one with the least is taken.", |object, _| {
                json!(object.pointer("/spec/matchingPrecedence").and_then(Value::as_i64).unwrap_or_default())
            }),
            column("DistinguisherMethod", "By what requests are told apart.", |object, _| {
                json!(or(text_at(object, "/spec/distinguisherMethod/type"), NONE))
            }),
            age_column(),
            column("MissingPL", "Whether the priority level is missing.", |object, _| {
                let conditions = list_at(object, "/status/conditions");
                let dangling = conditions.iter().find(|condition| text(condition, "type") == "Dangling");
                json!(dangling.map_or("?", |condition| text(condition, "status")))
            }),
        ])
        .behaviour(FlowSchema)
        .build()
}

/// What the schemas that every cluster must have hold, and nobody may change.
pub fn mandatory(name: &str) -> Option<Value> {
    let everything =
        json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"] }]);
    let paths = json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]);
    let group = |name: &str| json!({ "kind": "Group", "group": { "name": name } });
    match name {
        "exempt" => Some(json!({
            "priorityLevelConfiguration": { "name": "exempt" },
            "matchingPrecedence": 1,
            "rules": [{ "subjects": [group("system:masters")], "resourceRules": everything, "nonResourceRules": paths }],
        })),
        "catch-all" => Some(json!({
            "priorityLevelConfiguration": { "name": "catch-all" },
            "matchingPrecedence": PRECEDENCE_MAX,
            "distinguisherMethod": { "type": "ByUser" },
            "rules": [{
                "subjects": [group("system:unauthenticated"), group("system:authenticated")],
                "resourceRules": everything, "nonResourceRules": paths,
            }],
        })),
        _ => None,
    }
}

struct FlowSchema;

impl Behaviour for FlowSchema {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        if int(spec, "matchingPrecedence").unwrap_or_default() == 0 {
            set(spec, "matchingPrecedence", PRECEDENCE);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        precedence(&mut faults, spec, meta::name(object));
        if let Some(method) = get(spec, "distinguisherMethod") {
            let methods = ["ByNamespace", "ByUser"];
            if !methods.contains(&text(method, "type")) {
                faults.push(FieldError::not_supported("spec.distinguisherMethod.type", method, &methods));
            }
        }
        let level = text_at(spec, "/priorityLevelConfiguration/name");
        let path = "spec.priorityLevelConfiguration.name";
        if level.is_empty() {
            faults.push(FieldError::required(path, "must reference a priority level"));
        } else {
            super::checks::invalid_each(&mut faults, path, level, dns_subdomain_errors(level));
        }
        for (at, rule) in list(spec, "rules").iter().enumerate() {
            rule_faults(&mut faults, rule, &format!("spec.rules[{at}]"));
        }
        let name = meta::name(object);
        if let Some(fixed) = mandatory(name)
            && !same(Some(&fixed), Some(spec))
        {
            let detail = format!("spec of '{name}' must equal the fixed value");
            faults.push(FieldError::invalid("spec", spec, &detail));
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        condition_faults(object)
    }
}

/// What is wrong with the conditions of a FlowSchema or a PriorityLevelConfiguration.
pub(crate) fn condition_faults(object: &Value) -> Vec<FieldError> {
    let mut faults = Faults::new();
    let mut seen = BTreeSet::new();
    for (at, condition) in list_at(object, "/status/conditions").iter().enumerate() {
        let path = format!("status.conditions[{at}].type");
        let kind = text(condition, "type");
        if !seen.insert(kind) {
            faults.push(FieldError::duplicate(path.as_str(), &json!(kind)));
        }
        if kind.is_empty() {
            faults.push(FieldError::required(path, "must not be empty"));
        }
    }
    faults
}

fn precedence(faults: &mut Faults, spec: &Value, name: &str) {
    let number = int(spec, "matchingPrecedence").unwrap_or_default();
    let mut wrong = |detail: &str| faults.push(FieldError::invalid("spec.matchingPrecedence", &json!(number), detail));
    if number <= 0 {
        wrong("must be a positive value");
    }
    if number > PRECEDENCE_MAX {
        wrong(&format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if number == 1 && name != "exempt" {
        wrong("only the schema named 'exempt' may have matchingPrecedence 1");
    }
}

fn rule_faults(faults: &mut Faults, rule: &Value, path: &str) {
    let subjects = list(rule, "subjects");
    if subjects.is_empty() {
        faults.push(FieldError::required(format!("{path}.subjects"), "subjects must contain at least one value"));
    }
    for (at, subject) in subjects.iter().enumerate() {
        subject_faults(faults, subject, &format!("{path}.subjects[{at}]"));
    }
    let (resources, paths) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && paths.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        faults.push(FieldError::required(path, detail));
    }
    for (at, rule) in resources.iter().enumerate() {
        resource_faults(faults, rule, &format!("{path}.resourceRules[{at}]"));
    }
    for (at, rule) in paths.iter().enumerate() {
        let path = format!("{path}.nonResourceRules[{at}]");
        verbs(faults, rule, &path);
        let urls = texts(rule, "nonResourceURLs");
        let detail = "nonResourceURLs must contain at least one value";
        if alone(faults, &urls, &format!("{path}.nonResourceURLs"), detail, "non-resource URLs") {
            for (at, url) in urls.iter().enumerate() {
                url_fault(faults, url, &format!("{path}.nonResourceURLs[{at}]"));
            }
        }
    }
}

fn subject_faults(faults: &mut Faults, subject: &Value, path: &str) {
    let kinds = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = text(subject, "kind");
    let Some((_, field)) = kinds.iter().find(|(known, _)| *known == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        faults.push(FieldError::not_supported(format!("{path}.kind"), &json!(kind), &known));
        return;
    };
    match get(subject, field) {
        None => {
            let detail = format!("{field} is required when subject kind is '{kind}'");
            faults.push(FieldError::required(format!("{path}.{field}"), &detail));
        }
        Some(named) => {
            let path = format!("{path}.{field}");
            let name = text(named, "name");
            if kind == "ServiceAccount" && name != "*" {
                required_name(faults, &format!("{path}.name"), name, dns_subdomain_errors);
            } else if name.is_empty() {
                faults.push(FieldError::required(format!("{path}.name"), ""));
            }
            let space = text(named, "namespace");
            if kind == "ServiceAccount" && space.is_empty() {
                let detail = "must specify namespace for service account";
                faults.push(FieldError::required(format!("{path}.namespace"), detail));
            } else if kind == "ServiceAccount" {
                super::checks::invalid_each(faults, &format!("{path}.namespace"), space, dns_label_errors(space));
            }
        }
    }
    for (other, field) in kinds.iter().filter(|(other, _)| *other != kind) {
        if get(subject, field).is_some() {
            let detail = format!("{field} is forbidden when subject kind is not '{other}'");
            faults.push(FieldError::forbidden(format!("{path}.{field}"), &detail));
        }
    }
}

fn texts<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    list(value, field).iter().filter_map(Value::as_str).collect()
}

/// Tells of a list that is empty, or in which `*` is not alone; answers whether its entries are to be looked at.
fn alone(faults: &mut Faults, all: &[&str], path: &str, when_empty: &str, others: &str) -> bool {
    if all.is_empty() {
        faults.push(FieldError::required(path, when_empty));
    } else if all.len() > 1 && all.contains(&"*") {
        let detail = format!("if '*' is present, must not specify other {others}");
        faults.push(FieldError::invalid(path, &json!(all), &detail));
    }
    !all.contains(&"*")
}

fn verbs(faults: &mut Faults, rule: &Value, path: &str) {
    let all = texts(rule, "verbs");
    let path = format!("{path}.verbs");
    let named = alone(faults, &all, &path, "verbs must contain at least one value", "verbs");
    if named && all.iter().any(|verb| !VERBS.contains(verb)) {
        faults.push(FieldError::not_supported(path, &json!(all), &VERBS));
    }
}

fn resource_faults(faults: &mut Faults, rule: &Value, path: &str) {
    verbs(faults, rule, path);
    for (field, when_empty, others) in [
        ("apiGroups", "resource rules must supply at least one api group", "api groups"),
        ("resources", "resource rules must supply at least one resource", "resources"),
    ] {
        alone(faults, &texts(rule, field), &format!("{path}.{field}"), when_empty, others);
    }
    let spaces = texts(rule, "namespaces");
    let path = format!("{path}.namespaces");
    if spaces.is_empty() {
        if !flag(rule, "clusterScope") {
            let detail = "resource rules that are not cluster scoped must supply at least one namespace";
            faults.push(FieldError::required(path, detail));
        }
        return;
    }
    if alone(faults, &spaces, &path, "", "namespaces") {
        for (at, space) in spaces.iter().enumerate() {
            for message in dns_label_errors(space) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {message}");
                faults.push(FieldError::invalid(format!("{path}[{at}]"), &json!(space), &detail));
            }
        }
    }
}

fn url_fault(faults: &mut Faults, url: &str, path: &str) {
    let stars = url.matches('*').count();
    let detail = match url {
        "/" => return,
        "" => "must not be empty",
        _ if !url.starts_with('/') => "must start with slash",
        _ if url.contains(' ') => "must not contain white-space",
        _ if url.contains("//") => "must not contain double slash",
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => "wildcard can only do suffix matching",
        _ => return,
    };
    faults.push(FieldError::invalid(path, &json!(url), detail));
}
