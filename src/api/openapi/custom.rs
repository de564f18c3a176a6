//! The schemas of custom resources, as their definitions say them.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::Kind;

pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// What OpenAPI 2 has no word for.
const UNKNOWN_TO_V2: [&str; 5] = ["oneOf", "anyOf", "allOf", "not", "nullable"];

/// A definition's schema in a dialect. What it refers to is added to `open`.
pub(super) fn schema(schema: &Value, dialect: Dialect, open: &mut Vec<String>) -> Value {
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
                let inner = properties.iter().map(|(name, inner)| (name.clone(), self::schema(inner, dialect, open)));
                let inner: Map<String, Value> = inner.collect();
                out.insert(name.clone(), Value::Object(inner));
            }
            ("items" | "additionalProperties", inner) => {
                out.insert(name.clone(), self::schema(inner, dialect, open));
            }
            (condition, _) if dialect == Dialect::V2 && UNKNOWN_TO_V2.contains(&condition) => {}
            _ => drop(out.insert(name.clone(), value.clone())),
        }
    }
    if dialect == Dialect::V2 {
        loosen(&mut out);
    }
    Value::Object(out)
}

/// Clients of OpenAPI 2 would refuse what it cannot say: such places are left open.
fn loosen(schema: &mut Map<String, Value>) {
    let is = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    if is("x-kubernetes-preserve-unknown-fields") {
        schema.remove("items");
        let kept = schema.contains_key("x-kubernetes-group-version-kind");
        if !kept {
            schema.remove("properties");
            schema.remove("type");
        }
    } else if is("x-kubernetes-int-or-string") {
        schema.remove("type");
    }
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
