//! The schemas of custom resources, as their definitions say them.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::Kind;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// What OpenAPI 2 has no word for.
const UNKNOWN_TO_V2: [&str; 5] = ["oneOf", "anyOf", "allOf", "not", "nullable"];

/// A definition's schema in a dialect. What it refers to is added to `open`.
pub(super) fn schema(schema: &Value, dialect: Dialect, open: &mut Vec<String>) -> Value {
    let kinds = "x-kubernetes-group-version-kind";
    // Clients of OpenAPI 2 would refuse every field that is not said.
    if dialect == Dialect::V2 && schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return json!({ "type": "object", kinds: schema.get(kinds) });
    }
    part(schema, dialect, open)
}

fn part(schema: &Value, dialect: Dialect, open: &mut Vec<String>) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("$ref", Value::String(target)) => {
                open.push(target.clone());
                let target = json!({ "$ref": dialect.reference(target) });
                match dialect {
                    Dialect::V2 => out.extend(target.as_object().cloned().unwrap_or_default()),
                    Dialect::V3 => drop(out.insert("allOf".to_owned(), json!([target]))),
                }
            }
            ("properties", Value::Object(properties)) => {
                let inner = properties.iter().map(|(name, inner)| (name.clone(), part(inner, dialect, open)));
                let inner: Map<String, Value> = inner.collect();
                out.insert(name.clone(), Value::Object(inner));
            }
            ("items" | "additionalProperties", inner) => {
                out.insert(name.clone(), part(inner, dialect, open));
            }
            (condition, _) if dialect == Dialect::V2 && UNKNOWN_TO_V2.contains(&condition) => {}
            _ => drop(out.insert(name.clone(), value.clone())),
        }
    }
    let is = |name: &str| fields.get(name) == Some(&Value::Bool(true));
    if dialect == Dialect::V2 {
        loosen(&mut out, is("nullable"), is("x-kubernetes-preserve-unknown-fields"));
        forget_nullable(&mut out, fields);
    }
    if is("x-kubernetes-embedded-resource") && !(dialect == Dialect::V2 && is("x-kubernetes-preserve-unknown-fields")) {
        embed(&mut out, dialect, open);
    }
    Value::Object(out)
}

/// Clients of OpenAPI 2 would refuse what it cannot say: such places are left open.
fn loosen(schema: &mut Map<String, Value>, nullable: bool, unknown: bool) {
    if nullable || unknown {
        schema.remove("items");
        schema.remove("properties");
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if nullable || (kind == "array" && !schema.contains_key("items")) || (unknown && kind == "object") {
        schema.remove("type");
    }
}

/// What may be null is not required, for those who know no null.
fn forget_nullable(out: &mut Map<String, Value>, said: &Map<String, Value>) {
    let is_nullable = |name: &Value| {
        let property = name.as_str().and_then(|name| said.get("properties")?.get(name));
        property.and_then(|property| property.get("nullable")) == Some(&Value::Bool(true))
    };
    let Some(required) = out.get_mut("required").and_then(Value::as_array_mut) else { return };
    required.retain(|name| !is_nullable(name));
    if required.is_empty() {
        out.remove("required");
    }
}

/// What every object has, where one lies in another.
fn embed(schema: &mut Map<String, Value>, dialect: Dialect, open: &mut Vec<String>) {
    let Value::Object(properties) = schema.entry("properties").or_insert_with(|| json!({})) else { return };
    for name in ["apiVersion", "kind"] {
        properties.insert(name.to_owned(), json!({ "type": "string" }));
    }
    let metadata = part(&json!({ "$ref": OBJECT_META }), dialect, open);
    properties.insert("metadata".to_owned(), metadata);
}

/// The schema of a list of custom resources.
pub(super) fn list(kind: &Kind, own: &str, dialect: Dialect) -> Value {
    let metadata = json!({ "$ref": dialect.reference(LIST_META) });
    let metadata = if dialect == Dialect::V2 { metadata } else { json!({ "allOf": [metadata] }) };
    let item = json!({ "$ref": dialect.reference(own) });
    let item = if dialect == Dialect::V2 { item } else { json!({ "allOf": [item] }) };
    json!({
        "type": "object",
        "description": format!("{} is a list of {}", kind.list_kind(), kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" }, "kind": { "type": "string" }, "metadata": metadata,
            "items": { "type": "array", "items": item },
        },
        "x-kubernetes-group-version-kind": [{ "group": kind.group, "version": kind.version, "kind": kind.list_kind() }],
    })
}
