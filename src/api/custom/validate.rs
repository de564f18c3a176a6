//! Whether an object is as its schema says. Fields that did not change since the last time are not looked at again, so
//! that a stricter schema does not lock up objects that are there.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::formats;
use super::node::{Node, counterpart};
use crate::FieldError;

/// How many faults are told.
const FAULTS_MAX: usize = 100;

/// Everything that is wrong with `value`, fields of the metadata apart.
pub(crate) fn faults(node: &Node, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk = Walk { path: String::new(), faults: Vec::new() };
    walk.check(node, value, old);
    walk.faults.truncate(FAULTS_MAX);
    walk.faults
}

/// Sets and lists of type map whose entries are not each once.
pub(crate) fn duplicates(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    find_duplicates(node, value, &mut String::new(), &mut out);
    out
}

struct Walk {
    path: String,
    faults: Vec<FieldError>,
}

/// The path of an error that is about the whole object.
fn shown(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

impl Walk {
    fn invalid(&mut self, value: &Value, sentence: &str) {
        let detail = format!("{} in body {sentence}", self.path);
        self.faults.push(FieldError::invalid(shown(&self.path), value, &detail));
    }

    fn composite(&mut self, sentence: &str) {
        self.faults.push(FieldError::invalid("<nil>", &json!(""), &format!("{:?} {sentence}", self.path)));
    }

    fn mistyped(&mut self, wanted: &str, found: &str) {
        let detail = format!("{} in body must be of type {wanted}: {found:?}", self.path);
        self.faults.push(FieldError::type_invalid(shown(&self.path), &json!(found), &detail));
    }

    fn within(&mut self, step: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    fn check(&mut self, node: &Node, value: &Value, old: Option<&Value>) {
        if self.faults.len() > FAULTS_MAX || old == Some(value) {
            return;
        }
        if value.is_null() {
            if !node.nullable && !node.r#type.is_empty() {
                self.mistyped(&node.r#type, "null");
            }
            return;
        }
        if !self.is_typed(node, value) {
            return;
        }
        self.choices(node, value);
        match value {
            Value::String(text) => self.text(node, text, value),
            Value::Number(_) => self.number(node, value),
            Value::Array(entries) => self.list(node, entries, value, old),
            Value::Object(fields) => self.object(node, fields, value, old),
            _ => {}
        }
        self.conditions(node, value);
    }

    fn is_typed(&mut self, node: &Node, value: &Value) -> bool {
        let found = type_of(value);
        let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        let fits = match node.r#type.as_str() {
            "" if node.int_or_string => matches!(found, "integer" | "string"),
            "" => true,
            "integer" => found == "integer" || (found == "number" && whole),
            "number" => matches!(found, "integer" | "number"),
            wanted => wanted == found,
        };
        if !fits {
            let wanted = if node.int_or_string { "integer,string" } else { &node.r#type };
            self.mistyped(wanted, found);
        }
        fits
    }

    fn choices(&mut self, node: &Node, value: &Value) {
        if node.choices.is_empty() || node.choices.contains(value) {
            return;
        }
        let supported: Vec<String> = node
            .choices
            .iter()
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
            .collect();
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        self.faults.push(FieldError::not_supported(shown(&self.path), value, &supported));
    }

    fn text(&mut self, node: &Node, text: &str, value: &Value) {
        let length = text.chars().count() as u64;
        if let Some(max) = node.bounds.max_length.filter(|max| length > *max) {
            self.faults.push(FieldError::too_long(shown(&self.path), usize::try_from(max).unwrap_or(usize::MAX)));
        }
        if let Some(min) = node.bounds.min_length.filter(|min| length < *min) {
            self.invalid(value, &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = &node.pattern
            && !pattern.regex.as_ref().is_ok_and(|regex| regex.is_match(text))
        {
            self.invalid(value, &format!("should match '{}'", pattern.text));
        }
        if !formats::fits(&node.format, text) {
            let detail = format!("{} in body must be of type {}: {text:?}", self.path, node.format);
            self.faults.push(FieldError::type_invalid(shown(&self.path), value, &detail));
        }
    }

    fn number(&mut self, node: &Node, value: &Value) {
        let Some(number) = value.as_f64() else { return };
        let bounds = &node.bounds;
        if let Some(max) = bounds.maximum {
            let (fits, words) = if bounds.below_maximum {
                (number < max, "less than")
            } else {
                (number <= max, "less than or equal to")
            };
            if !fits {
                self.invalid(value, &format!("should be {words} {max}"));
            }
        }
        if let Some(min) = bounds.minimum {
            let (fits, words) = if bounds.above_minimum {
                (number > min, "greater than")
            } else {
                (number >= min, "greater than or equal to")
            };
            if !fits {
                self.invalid(value, &format!("should be {words} {min}"));
            }
        }
        if let Some(of) = bounds.multiple_of.filter(|of| *of > 0.0) {
            let times = number / of;
            if (times - times.round()).abs() > 1e-9 {
                self.invalid(value, &format!("should be a multiple of {of}"));
            }
        }
        let fits = match (node.format.as_str(), value.as_i64()) {
            ("int32", Some(whole)) => i32::try_from(whole).is_ok(),
            ("int32" | "int64", None) => value.as_f64().is_some_and(|number| number.abs() < 9.2e18),
            _ => true,
        };
        if !fits {
            self.invalid(value, &format!("must be of type {}: \"{value}\"", node.format));
        }
    }

    fn list(&mut self, node: &Node, entries: &[Value], value: &Value, old: Option<&Value>) {
        let count = entries.len() as u64;
        if let Some(max) = node.bounds.max_items.filter(|max| count > *max) {
            self.faults.push(FieldError::too_many(
                shown(&self.path),
                entries.len(),
                usize::try_from(max).unwrap_or(usize::MAX),
            ));
        }
        if let Some(min) = node.bounds.min_items.filter(|min| count < *min) {
            self.invalid(value, &format!("should have at least {min} items"));
        }
        let Some(items) = &node.items else { return };
        for (at, entry) in entries.iter().enumerate() {
            let was = counterpart(node, old, entry);
            self.within(&format!("[{at}]"), |walk| walk.check(items, entry, was));
        }
    }

    fn object(&mut self, node: &Node, fields: &serde_json::Map<String, Value>, value: &Value, old: Option<&Value>) {
        for name in node.required.iter().filter(|name| !fields.contains_key(*name)) {
            self.within(name, |walk| walk.faults.push(FieldError::required(walk.path.clone(), "")));
        }
        let count = fields.len() as u64;
        if let Some(max) = node.bounds.max_properties.filter(|max| count > *max) {
            self.faults.push(FieldError::too_many(
                shown(&self.path),
                fields.len(),
                usize::try_from(max).unwrap_or(usize::MAX),
            ));
        }
        if let Some(min) = node.bounds.min_properties.filter(|min| count < *min) {
            self.invalid(value, &format!("should have at least {min} properties"));
        }
        for (name, inner) in fields {
            if let Some(schema) = node.properties.get(name).or(node.additional.as_deref()) {
                let was = old.and_then(|old| old.get(name));
                self.within(name, |walk| walk.check(schema, inner, was));
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`
    fn conditions(&mut self, node: &Node, value: &Value) {
        let path = self.path.clone();
        let attempt = |node: &Node| {
            let mut walk = Walk { path: path.clone(), faults: Vec::new() };
            walk.check(node, value, None);
            walk.faults
        };
        let least = |outcomes: Vec<Vec<FieldError>>| outcomes.into_iter().min_by_key(Vec::len).unwrap_or_default();
        if !node.any_of.is_empty() && !node.int_or_string {
            let outcomes: Vec<_> = node.any_of.iter().map(attempt).collect();
            if outcomes.iter().all(|faults| !faults.is_empty()) {
                self.faults.extend(least(outcomes));
                self.composite("must validate at least one schema (anyOf)");
            }
        }
        if !node.one_of.is_empty() {
            let outcomes: Vec<_> = node.one_of.iter().map(attempt).collect();
            match outcomes.iter().filter(|faults| faults.is_empty()).count() {
                0 => {
                    self.faults.extend(least(outcomes));
                    self.composite("must validate one and only one schema (oneOf). Found none valid");
                }
                1 => {}
                more => {
                    let sentence =
                        format!("must validate one and only one schema (oneOf). Found {more} valid alternatives");
                    self.composite(&sentence);
                }
            }
        }
        let failed: Vec<_> = node.all_of.iter().map(attempt).filter(|faults| !faults.is_empty()).collect();
        if !failed.is_empty() {
            let none = if failed.len() == node.all_of.len() { ". None validated" } else { "" };
            self.faults.extend(failed.into_iter().flatten());
            self.composite(&format!("must validate all the schemas (allOf){none}"));
        }
        if let Some(not) = &node.not
            && attempt(not).is_empty()
        {
            self.composite("must not validate the schema (not)");
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn find_duplicates(node: &Node, value: &Value, path: &mut String, out: &mut Vec<FieldError>) {
    let length = path.len();
    match value {
        Value::Array(entries) => {
            let mut seen = HashSet::new();
            for (at, entry) in entries.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                let identity = match node.list_type.as_str() {
                    "set" => Some(entry.clone()),
                    "map" if entry.is_object() => {
                        let keys = node.map_keys.iter();
                        let key = |key: &String| Some((key.clone(), entry.get(key)?.clone()));
                        Some(Value::Object(keys.filter_map(key).collect()))
                    }
                    _ => None,
                };
                if let Some(identity) = identity
                    && !seen.insert(identity.to_string())
                {
                    out.push(FieldError::duplicate(path.clone(), &identity));
                }
                if let Some(items) = &node.items {
                    find_duplicates(items, entry, path, out);
                }
                path.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                if let Some(schema) = node.properties.get(name) {
                    path.push_str(if length == 0 { "" } else { "." });
                    path.push_str(name);
                    find_duplicates(schema, inner, path, out);
                } else if let Some(schema) = &node.additional {
                    path.push_str(&format!("[{name}]"));
                    find_duplicates(schema, inner, path, out);
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}
