//! A CustomResourceDefinition's structural schema as a [`Definition`].

use std::sync::Arc;

use serde_json::Value;

use super::{Definition, Field, GroupVersionKind, List, ListKind, Name, Schema, asset};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

pub(super) fn definition(group: &str, version: &str, kind: &str, schema: &Value) -> Definition {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    let name = format!("{}.{version}.{kind}", reversed.join("."));
    let mut root = object(&name, schema, true);
    root.name = name.into();
    root.kinds = Box::new([GroupVersionKind {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: kind.to_owned().into(),
    }]);
    root
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `whole`: the object carries apiVersion, kind and metadata whether its schema says so or not.
fn object(name: &str, schema: &Value, whole: bool) -> Definition {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields: Vec<Field> = Vec::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (key, inner) in properties {
            if whole && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let mut made = field(key, any(&format!("{name}.{key}"), inner));
            made.required = required.contains(&key.as_str());
            made.nullable = flag(inner, "nullable");
            made.atomic = text(inner, "x-kubernetes-map-type") == "atomic";
            fields.push(made);
        }
    }
    if whole {
        fields.push(field("apiVersion", Schema::String));
        fields.push(field("kind", Schema::String));
        let meta = asset().iter().position(|definition| definition.name == OBJECT_META);
        fields.push(field("metadata", meta.and_then(|at| u16::try_from(at).ok()).map_or(Schema::Open, Schema::Ref)));
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Definition {
        name: name.to_owned().into(),
        fields: fields.into_boxed_slice(),
        atomic: text(schema, "x-kubernetes-map-type") == "atomic",
        open: flag(schema, "x-kubernetes-preserve-unknown-fields"),
        custom: true,
        ..Definition::default()
    }
}

fn field(name: &str, schema: Schema) -> Field {
    Field {
        name: name.to_owned().into(),
        schema,
        number: 0,
        required: false,
        pointer: true,
        omit_empty: false,
        wrapped: false,
        nullable: false,
        patch_merge: false,
        retain_keys: false,
        merge_key: Name::Borrowed(""),
        atomic: false,
        go_type: Name::Borrowed(""),
    }
}

fn any(name: &str, schema: &Value) -> Schema {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Schema::IntOrString;
    }
    match text(schema, "type") {
        "string" => Schema::String,
        "boolean" => Schema::Bool,
        "integer" if text(schema, "format") == "int32" => Schema::Int32,
        "integer" => Schema::Int64,
        "number" => Schema::Number,
        "array" => {
            let items = schema.get("items").map_or(Schema::Any, |items| any(name, items));
            Schema::List(Arc::new(List { items, kind: list_kind(schema) }))
        }
        "object" => {
            let whole = flag(schema, "x-kubernetes-embedded-resource");
            match schema.get("additionalProperties") {
                Some(values) if values.is_object() && schema.get("properties").is_none() => {
                    let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
                    Schema::Map(Arc::new(any(name, values)), atomic)
                }
                Some(Value::Bool(true)) => Schema::Open,
                _ => Schema::Inline(Arc::new(object(name, schema, whole))),
            }
        }
        _ => Schema::Any,
    }
}

fn list_kind(schema: &Value) -> ListKind {
    match text(schema, "x-kubernetes-list-type") {
        "map" => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            ListKind::Map(keys.into_iter().flatten().filter_map(|key| Some(key.as_str()?.to_owned().into())).collect())
        }
        "set" => ListKind::Set,
        "atomic" => ListKind::Atomic,
        _ => ListKind::Unset,
    }
}
