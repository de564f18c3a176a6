//! Whether a wish fits the schema. Field sets can only be made of what does.

use std::collections::HashSet;

use serde_json::Value;

use super::fields::element_text;
use super::types::element;
use crate::schema::{Definition, ListKind, Schema};

/// How many faults are told at most.
const TOLD: usize = 100;

/// All that keeps an object from being taken by its fields, in the words of Kubernetes. Empty when it fits.
pub(super) fn faults(definition: Option<&Definition>, object: &Value) -> Vec<String> {
    let mut walk = Walk { path: String::new(), faults: Vec::new() };
    match definition {
        Some(definition) => walk.fields(definition, object),
        None if !object.is_object() => walk.fault(&format!("expected map, got {}", shown(object))),
        None => {}
    }
    walk.faults
}

/// One sentence of all of them.
pub(super) fn sentence(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => std::iter::once("errors:".to_owned())
            .chain(many.iter().map(|one| format!("  {one}")))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

struct Walk {
    path: String,
    faults: Vec<String>,
}

impl Walk {
    fn fault(&mut self, what: &str) {
        if self.faults.len() < TOLD {
            let path = &self.path;
            self.faults.push(if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") });
        }
    }

    fn below(&mut self, element: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&element_text(element));
        look(self);
        self.path.truncate(length);
    }

    fn fields(&mut self, definition: &Definition, value: &Value) {
        let Value::Object(map) = value else {
            if !value.is_null() {
                self.fault(&format!("expected map, got {}", shown(value)));
            }
            return;
        };
        for (name, value) in map {
            self.below(&format!("f:{name}"), |walk| match definition.field(name) {
                Some(field) => walk.value(&field.schema, definition.custom, value),
                None if definition.open => {}
                None => walk.fault("field not declared in schema"),
            });
        }
    }

    fn value(&mut self, schema: &Schema, custom: bool, value: &Value) {
        if value.is_null() {
            return;
        }
        match schema {
            Schema::Ref(_) | Schema::Inline(_) => {
                if let Some(definition) = schema.definition() {
                    self.fields(definition, value);
                }
            }
            Schema::Map(values, _) => match value {
                Value::Object(map) => {
                    for (name, value) in map {
                        self.below(&format!("f:{name}"), |walk| walk.value(values, custom, value));
                    }
                }
                other => self.fault(&format!("expected map, got {}", shown(other))),
            },
            Schema::List(list) => match value {
                Value::Array(items) => self.entries(list, custom, items),
                other => self.fault(&format!("expected list, got {}", shown(other))),
            },
            Schema::String | Schema::Bytes | Schema::Time | Schema::MicroTime | Schema::Duration
                if !value.is_string() =>
            {
                self.fault(&format!("expected string, got &value.valueUnstructured{{Value:{}}}", bare(value)));
            }
            Schema::Bool if !value.is_boolean() => self.fault(&format!("expected boolean, got {}", go_type(value))),
            Schema::Int32 | Schema::Int64 | Schema::Number if !value.is_number() => {
                self.fault(&format!("expected numeric (int or float), got {}", go_type(value)));
            }
            Schema::Quantity | Schema::IntOrString if value.is_array() || value.is_object() => {
                self.fault(&format!("expected any scalar, got {}", shown(value)));
            }
            _ => {}
        }
    }

    fn entries(&mut self, list: &crate::schema::List, custom: bool, items: &[Value]) {
        let told_apart = matches!(list.kind, ListKind::Set | ListKind::Map(_));
        let mut seen = HashSet::new();
        for (number, item) in items.iter().enumerate() {
            if !told_apart {
                self.below(&format!("i:{number}"), |walk| walk.value(&list.items, custom, item));
                continue;
            }
            match element(list, item) {
                Err(why) => self.fault(&format!("element {number}: {why}")),
                Ok(name) if seen.contains(&name) => {
                    self.fault(&format!("duplicate entries for key {}", element_text(&name)));
                }
                Ok(name) => {
                    self.below(&name, |walk| walk.value(&list.items, custom, item));
                    seen.insert(name);
                }
            }
        }
    }
}

/// A value as Go prints one that is wrapped.
fn shown(value: &Value) -> String {
    format!("&{{{}}}", bare(value))
}

/// A value as Go prints it.
pub(crate) fn bare(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(bare).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", bare(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
