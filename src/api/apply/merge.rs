//! The object with a wish put into it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::types::{Type, element};
use crate::schema::{Definition, List};

/// `live` with everything that `wish` says.
pub(super) fn merge(definition: Option<&Definition>, live: &Value, wish: &Value) -> Value {
    merged(Type::root(definition), live, wish)
}

fn merged(ty: Type<'_>, live: &Value, wish: &Value) -> Value {
    match (ty, live, wish) {
        (Type::Leaf, _, _) => wish.clone(),
        (_, Value::Object(old), Value::Object(new)) => {
            let mut out = old.clone();
            for (name, value) in new {
                let value = match old.get(name) {
                    Some(was) => merged(ty.inner(name), was, value),
                    None => value.clone(),
                };
                out.insert(name.clone(), value);
            }
            Value::Object(out)
        }
        (Type::List(list, _), Value::Array(old), Value::Array(new)) => {
            if old.is_empty() || new.is_empty() {
                let both = if new.is_empty() { old } else { new };
                return Value::Array(both.clone());
            }
            Value::Array(lists(ty.entries(), list, old, new).unwrap_or_else(|| new.clone()))
        }
        // Nothing takes nothing away.
        (Type::Struct(_) | Type::Map(..) | Type::Deduced, Value::Object(old), Value::Null) if !old.is_empty() => {
            live.clone()
        }
        (Type::List(..), Value::Array(old), Value::Null) if !old.is_empty() => live.clone(),
        _ => wish.clone(),
    }
}

/// Entries that both have come in the order of the wish; those that only the object has stay where they are among them.
/// `None` when entries cannot be told apart.
fn lists(ty: Type<'_>, list: &List, old: &[Value], new: &[Value]) -> Option<Vec<Value>> {
    let names = |items: &[Value]| items.iter().map(|item| element(list, item).ok()).collect::<Option<Vec<_>>>();
    let (old_names, new_names) = (names(old)?, names(new)?);
    // Of what the object has more than once nothing is merged.
    let mut had: HashMap<&str, Option<&Value>> = HashMap::new();
    for (name, item) in old_names.iter().zip(old) {
        had.entry(name).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let wanted: HashMap<&str, &Value> = new_names.iter().map(AsRef::as_ref).zip(new).collect();
    let with_old = |name: &str, item: &Value| match had.get(name) {
        Some(Some(was)) => merged(ty, was, item),
        _ => item.clone(),
    };
    let mut shared = new_names.iter().filter(|name| had.contains_key(&***name)).peekable();
    let mut done: HashSet<&str> = HashSet::new();
    let mut out = Vec::with_capacity(old.len().max(new.len()));
    let (mut at, mut to) = (0, 0);
    while at < old.len() || to < new.len() {
        let (left, right) = (old_names.get(at), new_names.get(to));
        if let (Some(left), Some(right)) = (left, right)
            && left == right
        {
            done.insert(left);
            out.extend(new.get(to).map(|item| with_old(left, item)));
            (at, to) = (at + 1, to + 1);
            shared.next_if_eq(&left);
            continue;
        }
        if let Some(left) = left {
            if right.is_some() && wanted.contains_key(&**left) && shared.peek().is_some_and(|next| *next != left) {
                // Both have it, and the wish has it later.
                at += 1;
                continue;
            }
            if !wanted.contains_key(&**left) {
                out.extend(old.get(at).cloned());
                at += 1;
                continue;
            }
            if done.contains(&**left) {
                at += 1;
            } else if right.is_none() {
                // Cannot be: what is wanted is done when the wish is at its end.
                at += 1;
            }
        }
        if let Some(right) = right {
            done.insert(right);
            out.extend(new.get(to).map(|item| with_old(right, item)));
            to += 1;
            shared.next_if_eq(&right);
        }
    }
    Some(out)
}
