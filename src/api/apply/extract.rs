//! From an object to the set of its fields, and from a set to an object without them.

use serde_json::{Map, Value};

use super::Reach;
use super::compare::OWNERLESS;
use super::fields::FieldSet;
use super::types::{Type, element};
use crate::schema::Definition;

/// All fields of an object.
pub(super) fn fields(definition: Option<&Definition>, object: &Value) -> FieldSet {
    fields_of(Type::root(definition), object)
}

/// The fields of a wish that its manager comes to own.
pub(super) fn wished(definition: Option<&Definition>, wish: &Value, reach: Reach<'_>) -> FieldSet {
    let mut set = fields(definition, wish);
    let name = |element: &str| element.strip_prefix("f:").unwrap_or_default().to_owned();
    set.children.retain_mut(|(element, child)| match name(element).as_str() {
        "apiVersion" | "kind" => false,
        "metadata" => {
            child.member = false;
            child.children.retain(|(element, _)| {
                let name = name(element);
                !OWNERLESS.contains(&name.as_str()) && !reach.metadata_without.contains(&name.as_str())
            });
            reach.has("metadata") && !child.is_empty()
        }
        other => reach.has(other),
    });
    set
}

fn fields_of(ty: Type<'_>, value: &Value) -> FieldSet {
    match (ty, value) {
        (Type::Struct(_) | Type::Map(..) | Type::Deduced, Value::Object(map)) => {
            let mut set = FieldSet::default();
            for (name, value) in map {
                let (inner, known) = match ty {
                    Type::Struct(definition) => Type::field(definition, name),
                    _ => (ty.inner(name), false),
                };
                let mut child = fields_of(inner, value);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                child.member |= empty || !known;
                set.put(format!("f:{name}"), child);
            }
            set
        }
        (Type::List(list, _), Value::Array(items)) => {
            let mut named: Vec<_> = items.iter().filter_map(|item| Some((element(list, item).ok()?, item))).collect();
            named.sort_by(|one, other| one.0.cmp(&other.0));
            let mut set = FieldSet::default();
            for group in named.chunk_by(|one, other| one.0 == other.0) {
                let Some((name, item)) = group.first() else { continue };
                let mut child = if group.len() == 1 { fields_of(ty.entries(), item) } else { FieldSet::default() };
                child.member = true;
                set.put(name.clone(), child);
            }
            set
        }
        (Type::Struct(_) | Type::Map(..) | Type::List(..), Value::Null) => FieldSet::default(),
        _ => FieldSet::leaf(),
    }
}

/// The object without the members of `gone`, and whatever is below them.
pub(super) fn without(definition: Option<&Definition>, object: &Value, gone: &FieldSet) -> Value {
    rest(Type::root(definition), object, gone)
}

/// A map or list that loses all it has stays there, empty: who wishes for it wishes for that.
fn rest(ty: Type<'_>, value: &Value, gone: &FieldSet) -> Value {
    match (ty, value) {
        (Type::Struct(_) | Type::Map(..) | Type::Deduced, Value::Object(map)) => {
            let mut left = Map::new();
            for (name, value) in map {
                match gone.child(&format!("f:{name}")) {
                    None => {
                        left.insert(name.clone(), value.clone());
                    }
                    Some(child) if child.member => {}
                    Some(child) => {
                        left.insert(name.clone(), rest(ty.inner(name), value, child));
                    }
                }
            }
            Value::Object(left)
        }
        (Type::List(list, _), Value::Array(items)) => {
            let mut left = Vec::with_capacity(items.len());
            for item in items {
                match element(list, item).ok().and_then(|name| gone.child(&name)) {
                    None => left.push(item.clone()),
                    Some(child) if child.member => {}
                    Some(child) => left.push(rest(ty.entries(), item, child)),
                }
            }
            Value::Array(left)
        }
        _ => value.clone(),
    }
}

/// The set with every field of a struct that leads to a member: who owns what is in `spec` has a part in `spec`.
pub(super) fn with_ways(definition: Option<&Definition>, set: &FieldSet) -> FieldSet {
    ways(Type::root(definition), set)
}

fn ways(ty: Type<'_>, set: &FieldSet) -> FieldSet {
    let mut out = FieldSet { member: set.member, children: Vec::with_capacity(set.children.len()) };
    for (name, child) in &set.children {
        let field = name.strip_prefix("f:");
        let (inner, known) = match (ty, field) {
            (Type::Struct(definition), Some(field)) => Type::field(definition, field),
            (_, Some(field)) => (ty.inner(field), false),
            (_, None) => (ty.entries(), false),
        };
        let mut way = ways(inner, child);
        way.member |= known && !child.children.is_empty();
        out.children.push((name.clone(), way));
    }
    out
}
