//! A structural schema, read once from a CustomResourceDefinition.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::rules::Rule;
use crate::cel::Type;

/// What may stand at one place.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub r#type: String,
    pub format: String,
    pub nullable: bool,
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`
    pub open: bool,
    /// `x-kubernetes-embedded-resource`
    pub embedded: bool,
    pub properties: BTreeMap<String, Node>,
    pub additional: Option<Box<Node>>,
    pub items: Option<Box<Node>>,
    pub default: Option<Value>,
    pub required: Vec<String>,
    pub choices: Vec<Value>,
    pub bounds: Bounds,
    pub pattern: Option<Pattern>,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
    /// `x-kubernetes-list-type`
    pub list_type: String,
    pub map_keys: Vec<String>,
    /// `x-kubernetes-map-type`
    pub map_type: String,
    pub rules: Vec<Rule>,
    /// Whether there is a rule here or below.
    pub ruled: bool,
    /// Whether there is a default here or below.
    pub defaulted: bool,
    /// The type that rules see; set where there are rules.
    pub seen_as: Option<Type>,
}

#[derive(Debug, Default)]
pub(crate) struct Bounds {
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub above_minimum: bool,
    pub below_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
}

/// A pattern, and what matches by it: nothing when it cannot be compiled.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub text: String,
    pub regex: Result<Regex, String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), regex: crate::re2::compile(text) }
    }
}

impl Node {
    /// Reads a `JSONSchemaProps`. What has another type than it should is taken as absent.
    pub fn read(schema: &Value) -> Self {
        let mut node = Self::plain(schema);
        let nodes = |name: &str| {
            schema.get(name).and_then(Value::as_array).into_iter().flatten().map(Self::read).collect::<Vec<_>>()
        };
        let one =
            |name: &str| schema.get(name).filter(|inner| inner.is_object()).map(|inner| Box::new(Self::read(inner)));
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        node.properties = properties.map(|(name, inner)| (name.clone(), Self::read(inner))).collect();
        node.additional = one("additionalProperties");
        if schema.get("additionalProperties").and_then(Value::as_bool) == Some(true) {
            node.open = true;
        }
        node.items = one("items");
        node.all_of = nodes("allOf");
        node.any_of = nodes("anyOf");
        node.one_of = nodes("oneOf");
        node.not = one("not");
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        node.rules = rules.into_iter().flatten().map(Rule::read).collect();
        let below = |flag: fn(&Self) -> bool| {
            node.properties.values().chain(node.additional.as_deref()).chain(node.items.as_deref()).any(flag)
        };
        let (ruled, defaulted) = (below(|inner| inner.ruled), below(|inner| inner.defaulted));
        node.ruled = ruled || !node.rules.is_empty() || node.all_of.iter().any(|inner| inner.ruled);
        node.defaulted = defaulted || node.default.is_some();
        node
    }

    fn plain(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let list = |name: &str| schema.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let texts = |name: &str| list(name).iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect();
        Self {
            r#type: text("type"),
            format: text("format"),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            open: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            required: texts("required"),
            choices: list("enum"),
            bounds: Bounds {
                minimum: number("minimum"),
                maximum: number("maximum"),
                above_minimum: flag("exclusiveMinimum"),
                below_maximum: flag("exclusiveMaximum"),
                multiple_of: number("multipleOf"),
                min_length: count("minLength"),
                max_length: count("maxLength"),
                min_items: count("minItems"),
                max_items: count("maxItems"),
                min_properties: count("minProperties"),
                max_properties: count("maxProperties"),
            },
            pattern: schema.get("pattern").and_then(Value::as_str).filter(|text| !text.is_empty()).map(Pattern::new),
            list_type: text("x-kubernetes-list-type"),
            map_keys: texts("x-kubernetes-list-map-keys"),
            map_type: text("x-kubernetes-map-type"),
            ..Self::default()
        }
    }

    /// Every schema right below, nested conditions apart.
    pub fn below(&self) -> impl Iterator<Item = &Self> {
        self.properties.values().chain(self.additional.as_deref()).chain(self.items.as_deref())
    }
}

/// The entry of an old list that stands for `entry`, by the keys of a list of type map.
pub(crate) fn counterpart<'a>(node: &Node, old: Option<&'a Value>, entry: &Value) -> Option<&'a Value> {
    if node.list_type != "map" {
        return None;
    }
    let items = node.items.as_deref()?;
    let key = |entry: &Value, name: &String| {
        let default = || items.properties.get(name).and_then(|property| property.default.clone());
        entry.get(name).cloned().or_else(default)
    };
    let wanted: Vec<Option<Value>> = node.map_keys.iter().map(|name| key(entry, name)).collect();
    old?.as_array()?.iter().find(|old| node.map_keys.iter().map(|name| key(old, name)).eq(wanted.iter().cloned()))
}
