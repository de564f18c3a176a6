//! The paths of kinds with their operations.

use serde_json::{Map, Value, json};

use super::{Dialect, schemas};
use crate::discovery::{self, Sub};
use crate::kind::Kind;
use crate::schema;

/// The kind that an operation is about.
#[derive(Clone, Copy)]
struct Target<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    /// Whether its patches may be strategic.
    strategic: bool,
}

/// One operation: HTTP method, `x-kubernetes-action`, what its id begins with, the verb in discovery that stands for it.
struct Operation {
    method: &'static str,
    action: &'static str,
    word: &'static str,
    verb: &'static str,
}

const fn operation(method: &'static str, action: &'static str, word: &'static str, verb: &'static str) -> Operation {
    Operation { method, action, word, verb }
}

const COLLECTION: [Operation; 3] = [
    operation("get", "list", "list", "list"),
    operation("post", "post", "create", "create"),
    operation("delete", "deletecollection", "delete", "deletecollection"),
];

const ITEM: [Operation; 4] = [
    operation("get", "get", "read", "get"),
    operation("put", "put", "replace", "update"),
    operation("patch", "patch", "patch", "patch"),
    operation("delete", "delete", "delete", "delete"),
];

const SUBRESOURCE: [Operation; 5] = [
    operation("get", "get", "read", "get"),
    operation("put", "put", "replace", "update"),
    operation("patch", "patch", "patch", "patch"),
    operation("post", "post", "create", "create"),
    operation("delete", "delete", "delete", "delete"),
];

/// The paths of `rows`.
pub(super) fn of(rows: &[&Kind], dialect: Dialect) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in rows {
        let root = format!("/{}/", super::path_of(&kind.group, &kind.version));
        let target = Target { group: &kind.group, version: &kind.version, kind: &kind.kind, strategic: kind.strategic };
        let mut parameters = Vec::new();
        let mut collection = format!("{root}{}", kind.plural);
        if kind.namespaced() {
            let everywhere = item(&COLLECTION[..1], kind, target, "ForAllNamespaces", &[], &kind.verbs, dialect);
            insert(&mut paths, collection, everywhere);
            collection = format!("{root}namespaces/{{namespace}}/{}", kind.plural);
            parameters.push("namespace");
        }
        insert(&mut paths, collection.clone(), item(&COLLECTION, kind, target, "", &parameters, &kind.verbs, dialect));
        parameters.push("name");
        let one = format!("{collection}/{{name}}");
        insert(&mut paths, one.clone(), item(&ITEM, kind, target, "", &parameters, &kind.verbs, dialect));
        for sub in discovery::subresources(kind) {
            let path = format!("{one}/{}", sub.name);
            insert(&mut paths, path, subresource(kind, &sub, &parameters, dialect));
        }
    }
    paths
}

fn insert(paths: &mut Map<String, Value>, path: String, item: Value) {
    if item.as_object().is_some_and(|item| item.len() > 1) {
        paths.insert(path, item);
    }
}

fn subresource(kind: &Kind, sub: &Sub, parameters: &[&str], dialect: Dialect) -> Value {
    let target = Target { group: &sub.group, version: &sub.version, kind: &sub.kind, strategic: kind.strategic };
    item(&SUBRESOURCE, kind, target, &camel(&sub.name), parameters, &sub.verbs, dialect)
}

/// One path: its operations among `operations` whose verb is in `verbs`.
fn item(
    operations: &[Operation],
    kind: &Kind,
    target: Target<'_>,
    suffix: &str,
    parameters: &[&str],
    verbs: &[String],
    dialect: Dialect,
) -> Value {
    let mut body = Map::new();
    let path: Vec<Value> = parameters.iter().map(|name| parameter(name, "path", "string", true, dialect)).collect();
    body.insert("parameters".to_owned(), Value::Array(path));
    for operation in operations.iter().filter(|operation| verbs.iter().any(|verb| verb == operation.verb)) {
        let scope = if kind.namespaced() && suffix != "ForAllNamespaces" { "Namespaced" } else { "" };
        let collection = if operation.action == "deletecollection" { "Collection" } else { "" };
        let id = format!("{}{}{collection}{scope}{}{suffix}", operation.word, group_word(kind), kind.kind);
        let mut made = json!({
            "operationId": id,
            "tags": [tag(kind)],
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": { "group": target.group, "version": target.version, "kind": target.kind },
        });
        add_input(&mut made, operation, target, dialect);
        made["responses"] = responses(operation, target, dialect);
        body.insert(operation.method.to_owned(), made);
    }
    Value::Object(body)
}

/// `AppsV1`, `CoreV1`, `RbacAuthorizationV1`
fn group_word(kind: &Kind) -> String {
    let group = kind.group.strip_suffix(".k8s.io").unwrap_or(&kind.group);
    let group = if group.is_empty() { "core" } else { group };
    format!("{}{}", camel(group), camel(&kind.version))
}

/// `apps_v1`
fn tag(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or_default() };
    format!("{group}_{}", kind.version)
}

fn camel(text: &str) -> String {
    text.split(['.', '-', '/'])
        .map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            format!("{}{rest}", first.to_ascii_uppercase())
        })
        .collect()
}

fn query(action: &str) -> &'static [(&'static str, &'static str)] {
    match action {
        "list" | "deletecollection" => &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        "post" | "put" => &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")],
        "patch" => {
            &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")]
        }
        "delete" => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        _ => &[],
    }
}

fn parameter(name: &str, place: &str, kind: &str, required: bool, dialect: Dialect) -> Value {
    let mut made = match dialect {
        Dialect::V2 => json!({ "name": name, "in": place, "type": kind, "uniqueItems": true }),
        Dialect::V3 => json!({ "name": name, "in": place, "schema": { "type": kind, "uniqueItems": true } }),
    };
    if required {
        made["required"] = json!(true);
    }
    made
}

/// Query parameters and the body.
fn add_input(made: &mut Value, operation: &Operation, target: Target<'_>, dialect: Dialect) {
    let mut parameters: Vec<Value> =
        query(operation.action).iter().map(|(name, kind)| parameter(name, "query", kind, false, dialect)).collect();
    let name = schemas::name(target.group, target.version, target.kind);
    let body = match operation.action {
        "post" | "put" => Some((json!({ "$ref": dialect.reference(&name) }), vec!["*/*"], true)),
        "patch" => {
            let mut types = vec!["application/json-patch+json", "application/merge-patch+json"];
            if target.strategic {
                types.push("application/strategic-merge-patch+json");
            }
            types.push("application/apply-patch+yaml");
            Some((json!({ "type": "object" }), types, true))
        }
        "delete" | "deletecollection" => schema::lookup("", "v1", "DeleteOptions")
            .map(|options| (json!({ "$ref": dialect.reference(&options.name) }), vec!["*/*"], false)),
        _ => None,
    };
    if let Some((schema, types, required)) = body {
        match dialect {
            Dialect::V2 => {
                let mut entry = json!({ "name": "body", "in": "body", "schema": schema });
                if required {
                    entry["required"] = json!(true);
                }
                parameters.push(entry);
                made["consumes"] = json!(types);
            }
            Dialect::V3 => {
                let content: Map<String, Value> =
                    types.into_iter().map(|name| (name.to_owned(), json!({ "schema": schema }))).collect();
                made["requestBody"] = json!({ "content": content });
                if required {
                    made["requestBody"]["required"] = json!(true);
                }
            }
        }
    }
    made["parameters"] = Value::Array(parameters);
    if dialect == Dialect::V2 {
        made["produces"] = json!(["application/json"]);
    }
}

fn responses(operation: &Operation, target: Target<'_>, dialect: Dialect) -> Value {
    let kind = match operation.action {
        "list" => schemas::name(target.group, target.version, &format!("{}List", target.kind)),
        "delete" | "deletecollection" => schemas::name("", "v1", "Status"),
        _ => schemas::name(target.group, target.version, target.kind),
    };
    let schema = json!({ "$ref": dialect.reference(&kind) });
    let ok = match dialect {
        Dialect::V2 => json!({ "description": "OK", "schema": schema }),
        Dialect::V3 => json!({ "description": "OK", "content": { "application/json": { "schema": schema } } }),
    };
    let mut all = json!({ "401": { "description": "Unauthorized" } });
    if matches!(operation.action, "post" | "put" | "patch") {
        all["201"] = ok.clone();
    }
    all["200"] = ok;
    all
}
