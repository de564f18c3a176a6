//! What makes a schema structural: every field is said with its type outside of conditions.

use serde_json::Value;

use super::{flag, text};
use crate::FieldError;
use crate::kinds::checks::Faults;

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Everything that keeps a schema from being structural, sorted.
pub(crate) fn faults(path: &str, schema: &Value) -> Vec<FieldError> {
    let mut out = Faults::new();
    invariants(path, schema, Level::Root, &mut out);
    completeness(path, schema, &mut out);
    let mut out: Vec<FieldError> = out.into_iter().collect();
    out.sort_by_key(ToString::to_string);
    out
}

pub(crate) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

pub(crate) fn list<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A schema that stands under `name`.
pub(crate) fn one<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get(name).filter(|inner| inner.is_object())
}

fn invariants(path: &str, schema: &Value, level: Level, out: &mut Faults) {
    let kind = text(schema, "/type");
    if kind == "array" && one(schema, "items").is_none() {
        out.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    if let Some(items) = one(schema, "items") {
        invariants(&format!("{path}.items"), items, Level::Item, out);
    }
    for (name, inner) in properties(schema) {
        let path = format!("{path}.properties[{name}]");
        if level == Level::Root && name == "metadata" {
            metadata(&path, inner, out);
        } else {
            invariants(&path, inner, Level::Field, out);
        }
    }
    let additional = schema.get("additionalProperties").filter(|inner| !inner.is_null());
    if additional.is_some() && level == Level::Root {
        out.push(FieldError::forbidden(format!("{path}.additionalProperties"), "must not be used at the root"));
    }
    if let Some(values) = additional.filter(|values| values.is_object()) {
        invariants(&format!("{path}.additionalProperties"), values, Level::Field, out);
    }
    extensions(path, schema, out);
    let either = flag(schema, "x-kubernetes-int-or-string") && is_either(list(schema, "anyOf"));
    let within = flag(schema, "x-kubernetes-int-or-string")
        && list(schema, "allOf").first().is_some_and(|first| is_either(list(first, "anyOf")));
    conditions(path, schema, (either, within), out);
    types(path, schema, kind, level, out);
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if embedded && additional.is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        out.push(FieldError::forbidden(format!("{path}.additionalProperties"), why));
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            if let Some(inner) = schema.pointer(&format!("/properties/{name}"))
                && text(inner, "/type") != "string"
            {
                let path = format!("{path}.properties[{name}].type");
                out.push(FieldError::invalid(path, &Value::from(text(inner, "/type")), "must be string"));
            }
        }
    }
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
    if embedded && !open && properties(schema).next().is_none() {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        out.push(FieldError::required(format!("{path}.properties"), why));
    }
}

fn types(path: &str, schema: &Value, kind: &str, level: Level, out: &mut Faults) {
    let path = format!("{path}.type");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let (either, open) =
        (flag(schema, "x-kubernetes-int-or-string"), flag(schema, "x-kubernetes-preserve-unknown-fields"));
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        out.push(match kind {
            "" => FieldError::required(path.clone(), why),
            other => FieldError::invalid(path.clone(), &Value::from(other), why),
        });
    } else if kind.is_empty() && !either && !open {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        out.push(FieldError::required(path.clone(), why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        out.push(FieldError::invalid(path, &Value::from(kind), "must be object at the root"));
    }
}

/// The metadata of the whole: at most name and generateName may be restricted.
fn metadata(path: &str, schema: &Value, out: &mut Faults) {
    if text(schema, "/type") != "object" {
        out.push(FieldError::invalid(format!("{path}.type"), &Value::from(text(schema, "/type")), "must be object"));
    }
    let others = schema.as_object().into_iter().flatten().any(|(key, value)| {
        let plain = matches!(key.as_str(), "type" | "description" | "title" | "properties");
        !plain && !value.is_null()
    });
    if others || properties(schema).any(|(name, _)| !matches!(name.as_str(), "name" | "generateName")) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        out.push(FieldError::forbidden(path, why));
    }
}

fn extensions(path: &str, schema: &Value, out: &mut Faults) {
    if !flag(schema, "x-kubernetes-int-or-string") {
        return;
    }
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if flag(schema, name) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            out.push(FieldError::invalid(format!("{path}.{name}"), &Value::Bool(true), why));
        }
    }
}

/// `[{type: integer}, {type: string}]`
fn is_either(conditions: &[Value]) -> bool {
    let only = |schema: &Value, kind: &str| {
        text(schema, "/type") == kind && schema.as_object().is_some_and(|fields| fields.len() == 1)
    };
    matches!(conditions, [first, second] if only(first, "integer") && only(second, "string"))
}

fn conditions(path: &str, schema: &Value, (skip_any, skip_all_any): (bool, bool), out: &mut Faults) {
    if !skip_any {
        for (at, inner) in list(schema, "anyOf").iter().enumerate() {
            nested(&format!("{path}.anyOf[{at}]"), inner, false, out);
        }
    }
    for (at, inner) in list(schema, "allOf").iter().enumerate() {
        nested(&format!("{path}.allOf[{at}]"), inner, skip_all_any && at == 0, out);
    }
    for (at, inner) in list(schema, "oneOf").iter().enumerate() {
        nested(&format!("{path}.oneOf[{at}]"), inner, false, out);
    }
    if let Some(inner) = one(schema, "not") {
        nested(&format!("{path}.not"), inner, false, out);
    }
    let pattern = text(schema, "/pattern");
    if !pattern.is_empty()
        && let Err(why) = crate::re2::compile(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {why}");
        out.push(FieldError::invalid(format!("{path}.pattern"), &Value::from(pattern), &why));
    }
}

/// A condition may only narrow down what is said elsewhere.
fn nested(path: &str, schema: &Value, skip_any: bool, out: &mut Faults) {
    conditions(path, schema, (skip_any, false), out);
    if let Some(items) = one(schema, "items") {
        nested(&format!("{path}.items"), items, false, out);
    }
    for (name, inner) in properties(schema) {
        nested(&format!("{path}.properties[{name}]"), inner, false, out);
    }
    const FORBIDDEN: [(&str, &str); 14] = [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("externalDocs", "must be undefined to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ];
    for (name, why) in FORBIDDEN {
        let set = match schema.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(entries)) => !entries.is_empty(),
            Some(_) => true,
        };
        if set {
            out.push(FieldError::forbidden(format!("{path}.{name}"), why));
        }
    }
    if schema.pointer("/properties/metadata").is_some() {
        out.push(FieldError::forbidden(
            format!("{path}.properties[metadata]"),
            "must not be specified in a nested context",
        ));
    }
}

/// Every field that a condition speaks of is also said outside.
fn completeness(path: &str, schema: &Value, out: &mut Faults) {
    for name in ["anyOf", "allOf", "oneOf"] {
        for (at, inner) in list(schema, name).iter().enumerate() {
            said_outside(&format!("{path}.{name}[{at}]"), path, inner, Some(schema), out);
        }
    }
    if let Some(inner) = one(schema, "not") {
        said_outside(&format!("{path}.not"), path, inner, Some(schema), out);
    }
    for (name, inner) in properties(schema) {
        completeness(&format!("{path}.properties[{name}]"), inner, out);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = one(schema, name) {
            completeness(&format!("{path}.{name}"), inner, out);
        }
    }
}

fn said_outside(path: &str, outside_path: &str, condition: &Value, outside: Option<&Value>, out: &mut Faults) {
    let Some(outside) = outside else {
        let why = format!("because it is defined in {path}");
        out.push(FieldError::required(outside_path, &why));
        return;
    };
    for name in ["anyOf", "allOf", "oneOf"] {
        for (at, inner) in list(condition, name).iter().enumerate() {
            said_outside(&format!("{path}.{name}[{at}]"), outside_path, inner, Some(outside), out);
        }
    }
    if let Some(inner) = one(condition, "not") {
        said_outside(&format!("{path}.not"), outside_path, inner, Some(outside), out);
    }
    if let Some(inner) = one(condition, "items") {
        said_outside(&format!("{path}.items"), &format!("{outside_path}.items"), inner, one(outside, "items"), out);
    }
    for (name, inner) in properties(condition) {
        let there = properties(outside).find(|(known, _)| *known == name).map(|(_, inner)| inner);
        let place = format!("{outside_path}.properties[{name}]");
        said_outside(&format!("{path}.properties[{name}]"), &place, inner, there, out);
    }
}
