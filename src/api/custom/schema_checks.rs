//! What a schema of a CustomResourceDefinition may not say, and whether what it says fits together.

use serde_json::Value;

use super::node::Node;
use super::rules::{self, Rule};
use super::structure::{list, one, properties};
use super::{defaults, flag, formats, text, validate};
use crate::FieldError;
use crate::kinds::checks::Faults;

/// What evaluating one rule may cost at most, by the sizes that the schema allows. Kubernetes' limit, and as much again
/// as the two ways of counting may differ.
const RULE_COST_MAX: u64 = 10_000_000;
const LENIENCE: u64 = 10;
/// The same for all rules of a definition.
const ALL_COST_MAX: u64 = 100_000_000;

/// Words of JSON schema that mean nothing here.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("$ref", "$ref is not supported"),
    ("$schema", "$schema is not supported"),
    ("id", "id is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("additionalItems", "additionalItems is not supported"),
];

/// Everything that is wrong with a schema, whether or not it is structural.
pub(crate) fn faults(path: &str, schema: &Value) -> Vec<FieldError> {
    let mut out = Faults::new();
    check(path, schema, &mut out);
    out.into_iter().collect()
}

fn is_set(schema: &Value, name: &str) -> bool {
    match schema.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn check(path: &str, schema: &Value, out: &mut Faults) {
    for (name, why) in UNSUPPORTED {
        if is_set(schema, name) {
            out.push(FieldError::forbidden(format!("{path}.{name}"), why));
        }
    }
    if schema.get("items").is_some_and(Value::is_array) {
        out.push(FieldError::forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
    }
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        out.push(FieldError::forbidden(format!("{path}.uniqueItems"), why));
    }
    let kind = text(schema, "/type");
    const KINDS: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    if kind == "null" {
        out.push(FieldError::forbidden(
            format!("{path}.type"),
            "type cannot be set to null, use nullable as an alternative",
        ));
    } else if !kind.is_empty() && !KINDS.contains(&kind) {
        out.push(FieldError::not_supported(format!("{path}.type"), &Value::from(kind), &KINDS));
    }
    if let Some(additional) = schema.get("additionalProperties").filter(|inner| !inner.is_null()) {
        if properties(schema).next().is_some() && additional != &Value::Bool(true) {
            let why = "additionalProperties and properties are mutual exclusive";
            out.push(FieldError::forbidden(format!("{path}.additionalProperties"), why));
        } else if additional == &Value::Bool(false) {
            let why = "additionalProperties cannot be set to false";
            out.push(FieldError::forbidden(format!("{path}.additionalProperties"), why));
        }
    }
    if let Some(open) = schema.get("x-kubernetes-preserve-unknown-fields").filter(|open| **open == Value::Bool(false)) {
        let why = "must be true or undefined";
        out.push(FieldError::invalid(format!("{path}.x-kubernetes-preserve-unknown-fields"), open, why));
    }
    list_types(path, schema, kind, out);
    map_types(path, schema, kind, out);
    rule_texts(path, schema, out);
    if flag(schema, "x-kubernetes-int-or-string") && !kind.is_empty() {
        let why = "type must be empty if x-kubernetes-int-or-string is true";
        out.push(FieldError::invalid(format!("{path}.type"), &Value::from(kind), why));
    }
    for (name, inner) in properties(schema) {
        check(&format!("{path}.properties[{name}]"), inner, out);
    }
    for name in ["items", "additionalProperties", "not"] {
        if let Some(inner) = one(schema, name) {
            check(&format!("{path}.{name}"), inner, out);
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (at, inner) in list(schema, name).iter().enumerate() {
            check(&format!("{path}.{name}[{at}]"), inner, out);
        }
    }
}

fn list_types(path: &str, schema: &Value, kind: &str, out: &mut Faults) {
    let said = text(schema, "/x-kubernetes-list-type");
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let (type_path, keys_path) =
        (format!("{path}.x-kubernetes-list-type"), format!("{path}.x-kubernetes-list-map-keys"));
    if !said.is_empty() {
        if kind != "array" {
            let fault = if kind.is_empty() {
                FieldError::required(format!("{path}.type"), "must be array if x-kubernetes-list-type is specified")
            } else {
                let why = "must be array if x-kubernetes-list-type is specified";
                FieldError::invalid(format!("{path}.type"), &Value::from(kind), why)
            };
            out.push(fault);
        }
        if !["atomic", "set", "map"].contains(&said) {
            out.push(FieldError::not_supported(type_path, &Value::from(said), &["atomic", "map", "set"]));
        }
    }
    if said != "map" {
        if !keys.is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            let path = format!("{path}.x-kubernetes-list-type");
            out.push(match said {
                "" => FieldError::required(path, why),
                other => FieldError::invalid(path, &Value::from(other), why),
            });
        }
        set_items(path, schema, said, out);
        return;
    }
    if keys.is_empty() {
        out.push(FieldError::required(keys_path, "must not be empty if x-kubernetes-list-type is map"));
        return;
    }
    let Some(items) = one(schema, "items") else {
        out.push(FieldError::required(format!("{path}.items"), "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    if text(items, "/type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        out.push(FieldError::invalid(format!("{path}.items.type"), &Value::from(text(items, "/type")), why));
    }
    map_keys(path, items, keys, out);
}

fn map_keys(path: &str, items: &Value, keys: &[Value], out: &mut Faults) {
    for (at, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let place = format!("{path}.x-kubernetes-list-map-keys[{at}]");
        if keys.iter().take(at).any(|earlier| earlier == key) {
            out.push(FieldError::duplicate(place, key));
            continue;
        }
        let Some((_, property)) = properties(items).find(|(known, _)| *known == name) else {
            out.push(FieldError::invalid(place, key, "entries must all be names of item properties"));
            continue;
        };
        let place = format!("{path}.items.properties[{name}]");
        if matches!(text(property, "/type"), "object" | "array") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            out.push(FieldError::invalid(format!("{place}.type"), &Value::from(text(property, "/type")), why));
        }
        let required = list(items, "required").contains(key);
        if !required && property.get("default").is_none_or(Value::is_null) {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            out.push(FieldError::required(format!("{place}.default"), why));
        }
        if flag(property, "nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            out.push(FieldError::forbidden(format!("{place}.nullable"), why));
        }
    }
}

fn set_items(path: &str, schema: &Value, said: &str, out: &mut Faults) {
    let Some(items) = one(schema, "items").filter(|_| said == "set") else { return };
    if flag(items, "nullable") {
        let why = "cannot be nullable when x-kubernetes-list-type is set";
        out.push(FieldError::forbidden(format!("{path}.items.nullable"), why));
    }
    let free = match text(items, "/type") {
        "array" => text(items, "/x-kubernetes-list-type") != "atomic",
        "object" => text(items, "/x-kubernetes-map-type") != "atomic",
        _ => false,
    };
    if free {
        let (kind, name) = match text(items, "/type") {
            "array" => ("array", "x-kubernetes-list-type"),
            _ => ("object", "x-kubernetes-map-type"),
        };
        let why = format!("must be atomic as item of a list with x-kubernetes-list-type=set and type={kind}");
        out.push(FieldError::invalid(
            format!("{path}.items.{name}"),
            &Value::from(text(items, &format!("/{name}"))),
            &why,
        ));
    }
}

fn map_types(path: &str, schema: &Value, kind: &str, out: &mut Faults) {
    let said = text(schema, "/x-kubernetes-map-type");
    if said.is_empty() {
        return;
    }
    if kind != "object" {
        let why = "must be object if x-kubernetes-map-type is specified";
        out.push(match kind {
            "" => FieldError::required(format!("{path}.type"), why),
            other => FieldError::invalid(format!("{path}.type"), &Value::from(other), why),
        });
    }
    if !["atomic", "granular"].contains(&said) {
        let path = format!("{path}.x-kubernetes-map-type");
        out.push(FieldError::not_supported(path, &Value::from(said), &["atomic", "granular"]));
    }
}

/// What can be said of a rule without compiling it.
fn rule_texts(path: &str, schema: &Value, out: &mut Faults) {
    const REASONS: [&str; 4] =
        ["FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate"];
    for (at, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
        let path = format!("{path}.x-kubernetes-validations[{at}]");
        let (source, message) = (text(rule, "/rule"), text(rule, "/message"));
        if source.trim().is_empty() {
            out.push(FieldError::required(format!("{path}.rule"), "rule is not specified"));
        } else if message.is_empty() && source.trim().contains('\n') && text(rule, "/messageExpression").is_empty() {
            let why = "message must be specified if rule contains line breaks";
            out.push(FieldError::required(format!("{path}.message"), why));
        }
        if !message.is_empty() && message.trim().is_empty() {
            let why = "message must be non-empty if specified";
            out.push(FieldError::invalid(format!("{path}.message"), &Value::from(message), why));
        } else if message.trim().contains('\n') {
            let why = "message must not contain line breaks";
            out.push(FieldError::invalid(format!("{path}.message"), &Value::from(message), why));
        } else if message.len() > 2048 {
            out.push(FieldError::too_long(format!("{path}.message"), 2048));
        }
        let expression = text(rule, "/messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            out.push(FieldError::required(format!("{path}.messageExpression"), why));
        }
        let reason = text(rule, "/reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            out.push(FieldError::not_supported(format!("{path}.reason"), &Value::from(reason), &REASONS));
        }
        let field = text(rule, "/fieldPath");
        if !field.is_empty() && !leads_somewhere(schema, field) {
            let why = "fieldPath must be a valid path";
            let why = if field.trim().is_empty() { "fieldPath must be non-empty if specified" } else { why };
            out.push(FieldError::invalid(format!("{path}.fieldPath"), &Value::from(field), why));
        }
    }
}

/// Whether `.a.b` or `['a']` is the path of a field of the schema.
pub(crate) fn leads_somewhere(schema: &Value, path: &str) -> bool {
    field_at(schema, path).is_some()
}

/// The schema of the field that a simple path leads to.
pub(crate) fn field_at<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let name = if let Some(after) = rest.strip_prefix("['") {
            let (name, after) = after.split_once("']")?;
            rest = after;
            name
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            rest = after.get(end..)?;
            after.get(..end)?
        };
        let property = properties(here).find(|(known, _)| *known == name).map(|(_, inner)| inner);
        here = property.or_else(|| one(here, "additionalProperties"))?;
    }
    Some(here)
}

/// What is wrong with the rules of a schema that is structural.
pub(crate) fn rule_faults(path: &str, root: &Node) -> Vec<FieldError> {
    let mut found = RuleFaults { out: Vec::new(), total: 0 };
    found.walk(path, root, 1);
    if found.total > ALL_COST_MAX.saturating_mul(LENIENCE) && found.out.is_empty() {
        let why = format!(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {} (try \
             simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)",
            factor(found.total, ALL_COST_MAX)
        );
        found.out.push(FieldError::forbidden(path, &why));
    }
    found.out
}

struct RuleFaults {
    out: Vec<FieldError>,
    total: u64,
}

fn factor(cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    if factor > 100.0 { "more than 100x".to_owned() } else { format!("{factor:.1}x") }
}

impl RuleFaults {
    fn walk(&mut self, path: &str, node: &Node, times: u64) {
        if !node.ruled {
            return;
        }
        for (at, rule) in node.rules.iter().enumerate() {
            self.rule(&format!("{path}.x-kubernetes-validations[{at}]"), rule, times);
        }
        for (name, inner) in &node.properties {
            self.walk(&format!("{path}.properties[{name}]"), inner, times);
        }
        let below = rules::times_below(node, times);
        if let Some(items) = &node.items {
            self.walk(&format!("{path}.items"), items, below);
        }
        if let Some(values) = &node.additional {
            self.walk(&format!("{path}.additionalProperties"), values, below);
        }
    }

    fn rule(&mut self, path: &str, rule: &Rule, times: u64) {
        let mut cost = 0u64;
        for (field, source, program) in [
            ("rule", &rule.source, &rule.program),
            ("messageExpression", &rule.message_expression, &rule.message_program),
        ] {
            let path = format!("{path}.{field}");
            match program {
                Some(Err(why)) => {
                    self.out.push(FieldError::invalid(path, &Value::from(source.as_str()), &sentence(field, why)))
                }
                Some(Ok(program)) => {
                    cost = cost.saturating_add(program.cost().saturating_mul(times));
                    if cost > RULE_COST_MAX.saturating_mul(LENIENCE) {
                        let why = format!(
                            "estimated {field} cost exceeds budget by factor of {} (try simplifying the {field}, or adding maxItems, \
                             maxProperties, and maxLength where arrays, maps, and strings are declared)",
                            factor(cost, RULE_COST_MAX)
                        );
                        self.out.push(FieldError::forbidden(path, &why));
                    }
                }
                None => {}
            }
        }
        self.total = self.total.saturating_add(cost);
        if let Some(Ok(program)) = &rule.program
            && rule.optional_old
            && !program.uses("oldSelf")
        {
            let why = "must not be set if oldSelf is not used in rule";
            self.out.push(FieldError::invalid(format!("{path}.optionalOldSelf"), &Value::Bool(true), why));
        }
    }
}

fn sentence(field: &str, why: &str) -> String {
    match (field, why.starts_with("must evaluate")) {
        ("rule", true) => "cel expression must evaluate to a bool".to_owned(),
        (_, true) => "messageExpression must evaluate to a string".to_owned(),
        ("rule", false) => format!("compilation failed: {why}"),
        _ => format!("messageExpression compilation failed: {why}"),
    }
}

/// Defaults must be what their own schema allows.
pub(crate) fn default_faults(path: &str, node: &Node) -> Vec<FieldError> {
    let mut out = Vec::new();
    walk_defaults(path, node, &mut out);
    out
}

fn walk_defaults(path: &str, node: &Node, out: &mut Vec<FieldError>) {
    if !node.defaulted {
        return;
    }
    if let Some(default) = &node.default {
        let mut whole = default.clone();
        defaults::fill(node, &mut whole);
        let path = format!("{path}.default");
        if let Some(unknown) = unknown_field(node, &whole, String::new()) {
            out.push(FieldError::invalid(path.clone(), default, &format!("must not have unknown fields: {unknown}")));
        }
        let mut faults = validate::faults(node, &whole, None);
        faults.extend(validate::duplicates(node, &whole));
        faults.extend(rules::faults(node, &whole, None));
        for fault in faults {
            let field = match fault.field.as_str() {
                "<nil>" => path.clone(),
                field if field.starts_with('[') => format!("{path}{field}"),
                field => format!("{path}.{field}"),
            };
            out.push(FieldError { field, ..fault });
        }
    }
    for (name, inner) in &node.properties {
        walk_defaults(&format!("{path}.properties[{name}]"), inner, out);
    }
    if let Some(items) = &node.items {
        walk_defaults(&format!("{path}.items"), items, out);
    }
    if let Some(values) = &node.additional {
        walk_defaults(&format!("{path}.additionalProperties"), values, out);
    }
}

fn unknown_field(node: &Node, value: &Value, path: String) -> Option<String> {
    match value {
        Value::Object(fields) if !node.embedded => fields.iter().find_map(|(name, inner)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match node.properties.get(name).or(node.additional.as_deref()) {
                Some(schema) => unknown_field(schema, inner, path),
                None if node.open => None,
                None => Some(path),
            }
        }),
        Value::Array(entries) => {
            let items = node.items.as_deref()?;
            entries.iter().enumerate().find_map(|(at, entry)| unknown_field(items, entry, format!("{path}[{at}]")))
        }
        _ => None,
    }
}

/// Formats that mean nothing are told of, not refused.
pub(crate) fn warnings(node: &Node) -> Vec<String> {
    let mut out = Vec::new();
    if !formats::is_known(&node.format) {
        out.push(format!("unrecognized format {:?}", node.format));
    }
    for inner in node.below() {
        out.extend(warnings(inner));
    }
    out
}
