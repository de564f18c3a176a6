//! Definitions as JSON schemas, with the marks that clients merge by.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Dialect;
use super::descriptions::{Descriptions, Sentences};
use crate::kind::Kind;
use crate::schema::{self, Alternative, Definition, Field, ListKind, Schema};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const SCHEMA_OR: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOr";
const FIELD_SET: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";

/// The name of a kind's definition: the asset's, or one made from the group for custom resources.
pub(super) fn name(group: &str, version: &str, kind: &str) -> String {
    if let Some(definition) = schema::lookup(group, version, kind) {
        return definition.name.to_string();
    }
    let mut parts: Vec<&str> = group.rsplit('.').collect();
    parts.extend([version, kind]);
    parts.join(".")
}

/// The schemas called `names` and all that they refer to.
pub(super) fn closure(names: BTreeSet<String>, rows: &[&Kind], dialect: Dialect) -> Map<String, Value> {
    let mut open: Vec<String> = names.into_iter().collect();
    let mut out = Map::new();
    let descriptions = Descriptions::unpack();
    let sentences = descriptions.sentences();
    while let Some(name) = open.pop() {
        if out.contains_key(&name) {
            continue;
        }
        let schema = match schema::by_name(&name) {
            Some(definition) => {
                let mut found = Refs { dialect, sentences: &sentences, names: Vec::new() };
                let schema = found.definition(definition);
                open.append(&mut found.names);
                schema
            }
            None => special(&name, dialect, &sentences).unwrap_or_else(|| custom(&name, rows, dialect, &mut open)),
        };
        out.insert(name, schema);
    }
    out
}

/// A custom resource's own schema; a list of them; or, for a kind without a definition, anything.
fn custom(name: &str, rows: &[&Kind], dialect: Dialect, open: &mut Vec<String>) -> Value {
    for kind in rows {
        let Some(schema) = kind.behaviour.published_schema() else { continue };
        let own = self::name(&kind.group, &kind.version, &kind.kind);
        if own == name {
            return super::custom::schema(schema, dialect, open);
        }
        if self::name(&kind.group, &kind.version, &kind.list_kind()) == name {
            open.extend([own.clone(), super::custom::LIST_META.to_owned()]);
            return super::custom::list(kind, &own, dialect);
        }
    }
    let mut body = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    for kind in rows {
        for shown in [kind.kind.clone(), kind.list_kind()] {
            if self::name(&kind.group, &kind.version, &shown) == name {
                body["x-kubernetes-group-version-kind"] =
                    json!([{ "group": kind.group, "version": kind.version, "kind": shown }]);
            }
        }
    }
    body
}

/// Definitions that are one value.
fn special(name: &str, dialect: Dialect, sentences: &Sentences<'_>) -> Option<Value> {
    let mut body = shape(name, dialect)?;
    if let Some(sentence) = sentences.of(name) {
        body["description"] = json!(sentence);
    }
    Some(body)
}

fn shape(name: &str, dialect: Dialect) -> Option<Value> {
    let either = |a: &str, b: &str| match dialect {
        Dialect::V2 => json!({ "type": "string" }),
        Dialect::V3 => json!({ "oneOf": [{ "type": a }, { "type": b }] }),
    };
    Some(match name {
        QUANTITY => either("string", "number"),
        INT_OR_STRING => {
            let mut body = either("integer", "string");
            body["format"] = json!("int-or-string");
            body
        }
        TIME | MICRO_TIME => json!({ "type": "string", "format": "date-time" }),
        FIELD_SET => json!({ "type": "object" }),
        JSON => json!({}),
        _ if name.starts_with(SCHEMA_OR) => json!({}),
        _ => return None,
    })
}

/// Writes schemas and notes what they refer to.
struct Refs<'a> {
    dialect: Dialect,
    sentences: &'a Sentences<'a>,
    names: Vec<String>,
}

impl Refs<'_> {
    fn definition(&mut self, definition: &Definition) -> Value {
        let mut body = json!({ "type": "object" });
        if let Some(sentence) = self.sentences.of(&definition.name) {
            body["description"] = json!(sentence);
        }
        let mut properties = Map::new();
        for field in &definition.fields {
            let mut property = self.field(field);
            if let Some(sentence) = self.sentences.of_field(&definition.name, &field.name) {
                property["description"] = json!(sentence);
            }
            properties.insert(field.name.to_string(), property);
        }
        if !properties.is_empty() {
            body["properties"] = Value::Object(properties);
        }
        let required: Vec<&str> =
            definition.fields.iter().filter(|field| field.required).map(|field| field.name.as_ref()).collect();
        if !required.is_empty() {
            body["required"] = json!(required);
        }
        if !definition.kinds.is_empty() {
            let kinds = definition.kinds.iter();
            body["x-kubernetes-group-version-kind"] =
                kinds.map(|kind| json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })).collect();
        }
        if definition.atomic {
            body["x-kubernetes-map-type"] = json!("atomic");
        }
        if let Ok(unions) = serde_json::from_str::<Value>(&definition.unions) {
            body["x-kubernetes-unions"] = unions;
        }
        body
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut body = self.schema(&field.schema);
        match (field.patch_merge, field.retain_keys) {
            (true, true) => body["x-kubernetes-patch-strategy"] = json!("merge,retainKeys"),
            (true, false) => body["x-kubernetes-patch-strategy"] = json!("merge"),
            (false, true) => body["x-kubernetes-patch-strategy"] = json!("retainKeys"),
            (false, false) => {}
        }
        if !field.merge_key.is_empty() {
            body["x-kubernetes-patch-merge-key"] = json!(field.merge_key);
        }
        if field.atomic {
            body["x-kubernetes-map-type"] = json!("atomic");
        }
        body
    }

    fn refer(&mut self, name: &str) -> Value {
        self.names.push(name.to_owned());
        let target = json!({ "$ref": self.dialect.reference(name) });
        match self.dialect {
            Dialect::V2 => target,
            // Beside a bare `$ref` OpenAPI 3.0 ignores everything, the marks too.
            Dialect::V3 => json!({ "allOf": [target] }),
        }
    }

    fn schema(&mut self, schema: &Schema) -> Value {
        match schema {
            Schema::String | Schema::Duration => json!({ "type": "string" }),
            Schema::Bytes => json!({ "type": "string", "format": "byte" }),
            Schema::Bool => json!({ "type": "boolean" }),
            Schema::Int32 => json!({ "type": "integer", "format": "int32" }),
            Schema::Int64 => json!({ "type": "integer", "format": "int64" }),
            Schema::Number => json!({ "type": "number", "format": "double" }),
            Schema::Quantity => self.refer(QUANTITY),
            Schema::IntOrString => self.refer(INT_OR_STRING),
            Schema::Time => self.refer(TIME),
            Schema::MicroTime => self.refer(MICRO_TIME),
            Schema::FieldSet => self.refer(FIELD_SET),
            // Not an empty schema: `kubectl explain` takes that for none.
            Schema::Any => self.refer(JSON),
            Schema::SchemaOr(alternative) => {
                let other = match alternative {
                    Alternative::List => "Array",
                    Alternative::Bool => "Bool",
                    Alternative::Strings => "StringArray",
                };
                self.refer(&format!("{SCHEMA_OR}{other}"))
            }
            Schema::Open => json!({ "type": "object" }),
            Schema::Ref(_) => match schema.definition() {
                Some(definition) => self.refer(&definition.name),
                None => json!({}),
            },
            Schema::Inline(definition) => self.definition(definition),
            Schema::Map(values, atomic) => {
                let mut body = json!({ "type": "object", "additionalProperties": self.schema(values) });
                if *atomic {
                    body["x-kubernetes-map-type"] = json!("atomic");
                }
                body
            }
            Schema::List(list) => {
                let mut body = json!({ "type": "array", "items": self.schema(&list.items) });
                let kind = match &list.kind {
                    ListKind::Unset => return body,
                    ListKind::Atomic => "atomic",
                    ListKind::Set => "set",
                    ListKind::Map(keys) => {
                        body["x-kubernetes-list-map-keys"] = json!(keys);
                        "map"
                    }
                };
                body["x-kubernetes-list-type"] = json!(kind);
                body
            }
        }
    }
}
