//! Custom resources: what a CustomResourceDefinition makes of itself.
//!
//! A definition that is accepted ([`naming`]) becomes one row of the kinds table for each version ([`kinds`]). Its schema
//! is read once into a tree that prunes, fills in defaults and validates, its rules are compiled once.

mod defaults;
mod embedded;
mod formats;
pub mod naming;
mod node;
mod resource;
mod rules;
mod schema_checks;
mod spec_checks;
mod structure;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;

use serde_json::Value;

use crate::schema::Definition;
use crate::table::{JsonPath, age_column, name_column};
use crate::{Cell, Column, Form, Kind, Scale, Scope};

pub(crate) use spec_checks::{faults, status_faults};

/// What a kind of custom resources has beyond other kinds.
#[derive(Debug)]
pub struct Custom {
    /// What a list of them is called.
    pub list_kind: String,
    /// The fields.
    pub definition: Arc<Definition>,
    /// The row that objects are stored as, when it is another version's.
    pub stored: Option<Arc<Kind>>,
    /// `ConversionWebhook`: who turns one version into another; without it only the `apiVersion` is another.
    pub webhook: Option<Arc<Value>>,
    /// Objects that were written before this revision may not be as the schema says.
    pub since: u64,
    /// Counts up with each change of the definition's spec.
    pub generation: i64,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
}

fn versions(crd: &Value) -> &[Value] {
    crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// The name of the version that objects are stored in.
pub fn storage_version(crd: &Value) -> Option<&str> {
    versions(crd).iter().find(|version| flag(version, "storage")).map(|version| text(version, "/name"))
}

/// The rows of the versions that a definition serves. Names are those that were accepted. `since`: [`Custom::since`].
pub fn kinds(crd: &Value, since: u64) -> Vec<Arc<Kind>> {
    let Some(storage) = versions(crd).iter().find(|version| flag(version, "storage")) else { return Vec::new() };
    let stored = Arc::new(kind(crd, storage, None, since));
    let mut rows = Vec::new();
    for version in versions(crd).iter().filter(|version| flag(version, "served")) {
        if flag(version, "storage") {
            rows.push(Arc::clone(&stored));
        } else {
            rows.push(Arc::new(kind(crd, version, Some(Arc::clone(&stored)), since)));
        }
    }
    rows
}

fn kind(crd: &Value, version: &Value, stored: Option<Arc<Kind>>, since: u64) -> Kind {
    let name = text(version, "/name");
    let group = text(crd, "/spec/group");
    let names = crd.pointer("/status/acceptedNames").cloned().unwrap_or_default();
    let (kind, plural) = (text(&names, "/kind"), text(&names, "/plural"));
    let schema = version.pointer("/schema/openAPIV3Schema");
    let mut root = schema.map(node::Node::read).unwrap_or_default();
    rules::compile(&mut root, true);
    let free = Value::Bool(true);
    let definition = match schema {
        Some(schema) => Definition::of_custom(group, name, kind, schema),
        None => Definition::of_custom(
            group,
            name,
            kind,
            &serde_json::json!({ "x-kubernetes-preserve-unknown-fields": free }),
        ),
    };
    let definition = Arc::new(definition);
    let subresources = version.get("subresources").cloned().unwrap_or_default();
    let scale = scale(&subresources);
    let namespaced = text(crd, "/spec/scope") != "Cluster";
    let behaviour = resource::Resource {
        root,
        definition: Arc::clone(&definition),
        status: subresources.get("status").is_some_and(|status| !status.is_null()),
        scale: scale.clone(),
        selectable: selectable(version),
        deprecation: deprecation(group, version, kind),
        published: resource::published(group, name, kind, schema),
    };
    let webhook = (text(crd, "/spec/conversion/strategy") == "Webhook")
        .then(|| crd.pointer("/spec/conversion/webhook").cloned().map(Arc::new))
        .flatten();
    let form = stored.as_ref().map(|stored| Form {
        group: stored.group.clone(),
        version: stored.version.clone(),
        plural: stored.plural.clone(),
        to_stored: |_| {},
        from_stored: |_| {},
    });
    let generation = crate::meta::generation(crd);
    let list_kind = text(&names, "/listKind").to_owned();
    let mut verbs = vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    if naming::is_true(crd, "Terminating") {
        verbs.retain(|verb| *verb != "create");
    }
    Kind {
        group: group.to_owned(),
        version: name.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: text(&names, "/singular").to_owned(),
        short_names: texts(&names, "/shortNames"),
        categories: texts(&names, "/categories"),
        scope: if namespaced { Scope::Namespaced } else { Scope::Cluster },
        status: behaviour.status,
        scale,
        verbs: verbs.into_iter().map(str::to_owned).collect(),
        extra_subresources: Vec::new(),
        columns: columns(version),
        strategic: false,
        form,
        custom: Some(Arc::new(Custom { list_kind, definition, stored, webhook, since, generation })),
        behaviour: Arc::new(behaviour),
    }
}

fn deprecation(group: &str, version: &Value, kind: &str) -> Option<String> {
    if !flag(version, "deprecated") {
        return None;
    }
    let said = text(version, "/deprecationWarning");
    if said.is_empty() {
        Some(format!("{group}/{} {kind} is deprecated", text(version, "/name")))
    } else {
        Some(said.to_owned())
    }
}

/// `.spec.replicas` as a JSON pointer.
fn pointer(path: &str) -> String {
    path.trim_start_matches('.').split('.').map(|step| format!("/{step}")).collect()
}

fn scale(subresources: &Value) -> Option<Scale> {
    let scale = subresources.get("scale").filter(|scale| scale.is_object())?;
    let selector = text(scale, "/labelSelectorPath");
    Some(Scale {
        spec_replicas: pointer(text(scale, "/specReplicasPath")),
        status_replicas: pointer(text(scale, "/statusReplicasPath")),
        selector: (!selector.is_empty()).then(|| pointer(selector)),
    })
}

fn selectable(version: &Value) -> Vec<(String, JsonPath)> {
    let fields = version.get("selectableFields").and_then(Value::as_array);
    let read = |field: &Value| {
        let path = text(field, "/jsonPath");
        Some((path.trim_start_matches('.').to_owned(), path.parse().ok()?))
    };
    fields.into_iter().flatten().filter_map(read).collect()
}

fn columns(version: &Value) -> Vec<Column> {
    let said = version.get("additionalPrinterColumns").and_then(Value::as_array).filter(|columns| !columns.is_empty());
    let mut columns = vec![name_column()];
    match said {
        None => columns.push(age_column()),
        Some(said) => columns.extend(said.iter().map(|column| {
            Column {
                name: text(column, "/name").to_owned(),
                kind: text(column, "/type").to_owned(),
                format: text(column, "/format").to_owned(),
                description: match text(column, "/description") {
                    "" => {
                        format!("Custom resource definition column (in JSONPath format): {}", text(column, "/jsonPath"))
                    }
                    said => said.to_owned(),
                },
                priority: column
                    .get("priority")
                    .and_then(Value::as_i64)
                    .and_then(|number| i32::try_from(number).ok())
                    .unwrap_or(0),
                cell: Cell::Path(text(column, "/jsonPath").to_owned()),
            }
        })),
    }
    columns
}

/// What is told of a definition that is not wrong.
pub(crate) fn warnings(crd: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for version in versions(crd) {
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else { continue };
        for warning in schema_checks::warnings(&node::Node::read(schema)) {
            if !out.contains(&warning) {
                out.push(warning);
            }
        }
    }
    out
}
