//! The difference that `apply` sends: additions and changes from current to modified, deletions from original to modified.

use serde_json::{Map, Value, json};

use super::place::{Place, Spot};
use super::{DELETE_FROM, ORDER, PATCH, RETAIN};
use crate::status::Status;

type Fields = Map<String, Value>;

/// Which half of a difference is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Changes,
    Deletions,
}

pub(super) fn strategic(
    original: &Value,
    modified: &Value,
    current: &Value,
    place: Place<'_>,
) -> Result<Value, Status> {
    let empty = Map::new();
    let map = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (original, modified, current) = (map(original), map(modified), map(current));
    let changes = difference(&current, &modified, place, Half::Changes, false)?;
    let mut patch = difference(&original, &modified, place, Half::Deletions, false)?;
    combine(&mut patch, changes, place);
    Ok(Value::Object(patch))
}

fn difference(from: &Fields, to: &Fields, place: Place<'_>, half: Half, retain: bool) -> Result<Fields, Status> {
    let mut patch = Map::new();
    for (name, new) in to {
        let spot = place.spot(name);
        match (from.get(name), new) {
            (None, _) => {
                if half == Half::Changes && !new.is_null() {
                    patch.insert(name.clone(), new.clone());
                }
            }
            (Some(Value::Object(old)), Value::Object(new)) => {
                let inner = difference(old, new, spot.inside(), half, spot.retain)?;
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) if spot.merge => {
                list_difference(&mut patch, name, old, new, spot, half)?;
            }
            (Some(old), _) => {
                if half == Half::Changes && old != new {
                    patch.insert(name.clone(), new.clone());
                }
            }
        }
    }
    if half == Half::Deletions {
        for name in from.keys().filter(|name| !to.contains_key(*name)) {
            patch.insert(name.clone(), Value::Null);
        }
    }
    let surplus = || from.iter().any(|(name, old)| !old.is_null() && !to.contains_key(name));
    if retain && half == Half::Changes && (!patch.is_empty() || surplus()) {
        patch.insert(RETAIN.to_owned(), to.keys().cloned().collect());
    }
    Ok(patch)
}

fn list_difference(
    patch: &mut Fields,
    name: &str,
    old: &[Value],
    new: &[Value],
    spot: Spot<'_>,
    half: Half,
) -> Result<(), Status> {
    let objects = old.iter().chain(new).any(Value::is_object);
    if !objects {
        scalar_difference(patch, name, old, new, half);
        return Ok(());
    }
    let key = spot.key;
    for item in old.iter().chain(new) {
        if key.is_empty() || item.get(key).is_none() {
            return Err(Status::bad_request(format!("map: {item} does not contain declared merge key: {key}")));
        }
    }
    let find = |list: &'_ [Value], item: &Value| list.iter().position(|other| other.get(key) == item.get(key));
    let mut entries = Vec::new();
    for item in new {
        match find(old, item).and_then(|at| old.get(at)) {
            Some(before) => {
                let (Value::Object(from), Value::Object(to)) = (before, item) else { continue };
                let mut inner = difference(from, to, spot.entries(), half, spot.retain)?;
                if !inner.is_empty() {
                    inner.insert(key.to_owned(), item.get(key).cloned().unwrap_or_default());
                    entries.push(Value::Object(inner));
                }
            }
            None if half == Half::Changes => entries.push(item.clone()),
            None => {}
        }
    }
    if half == Half::Deletions {
        for item in old.iter().filter(|item| find(new, item).is_none()) {
            entries.push(json!({ PATCH: "delete", key: item.get(key) }));
        }
    }
    let moved = || !new.iter().filter_map(|item| find(old, item)).is_sorted();
    if !entries.is_empty() || half == Half::Changes && moved() {
        let order = new.iter().map(|item| json!({ key: item.get(key) })).collect();
        patch.insert(format!("{ORDER}{name}"), order);
    }
    if !entries.is_empty() {
        patch.insert(name.to_owned(), Value::Array(entries));
    }
    Ok(())
}

fn scalar_difference(patch: &mut Fields, name: &str, old: &[Value], new: &[Value], half: Half) {
    let (key, list): (String, Vec<Value>) = match half {
        Half::Changes => (name.to_owned(), new.iter().filter(|item| !old.contains(item)).cloned().collect()),
        Half::Deletions => {
            (format!("{DELETE_FROM}{name}"), old.iter().filter(|item| !new.contains(item)).cloned().collect())
        }
    };
    let place = |item: &Value| old.iter().position(|other| other == item);
    let moved = || half == Half::Changes && !new.iter().filter_map(place).is_sorted();
    if !list.is_empty() || moved() {
        patch.insert(format!("{ORDER}{name}"), new.iter().cloned().collect());
    }
    if !list.is_empty() {
        patch.insert(key, Value::Array(list));
    }
}

/// Adds `changes` to `patch`, which holds deletions; a change wins over a deletion of the same.
fn combine(patch: &mut Fields, changes: Fields, place: Place<'_>) {
    for (name, change) in changes {
        let spot = place.spot(&name);
        match (patch.get_mut(&name), change) {
            (Some(Value::Object(old)), Value::Object(new)) => combine(old, new, spot.inside()),
            (Some(Value::Array(old)), Value::Array(new)) if spot.merge && !spot.key.is_empty() => {
                combine_lists(old, new, spot);
            }
            (_, change) => {
                patch.insert(name, change);
            }
        }
    }
}

/// Changed entries in their order, then what is left to delete.
fn combine_lists(patch: &mut Vec<Value>, changes: Vec<Value>, spot: Spot<'_>) {
    let mut out = Vec::new();
    for change in changes {
        let same = patch.iter().position(|entry| entry.get(spot.key) == change.get(spot.key));
        match (same.map(|at| patch.remove(at)), change) {
            (Some(Value::Object(mut old)), Value::Object(new)) => {
                combine(&mut old, new, spot.entries());
                out.push(Value::Object(old));
            }
            (_, change) => out.push(change),
        }
    }
    out.append(patch);
    *patch = out;
}

pub(super) fn merge(original: &Value, modified: &Value, current: &Value) -> Value {
    let empty = Map::new();
    let map = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (original, modified, current) = (map(original), map(modified), map(current));
    let mut patch = merge_half(&original, &modified, Half::Deletions);
    for (name, change) in merge_half(&current, &modified, Half::Changes) {
        join(patch.entry(name).or_insert(Value::Null), change);
    }
    Value::Object(patch)
}

fn merge_half(from: &Fields, to: &Fields, half: Half) -> Fields {
    let mut patch = Map::new();
    for (name, new) in to {
        match (from.get(name), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let inner = merge_half(old, new, half);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (old, new) if half == Half::Changes && old != Some(new) => {
                patch.insert(name.clone(), new.clone());
            }
            _ => {}
        }
    }
    if half == Half::Deletions {
        for name in from.keys().filter(|name| !to.contains_key(*name)) {
            patch.insert(name.clone(), Value::Null);
        }
    }
    patch
}

fn join(patch: &mut Value, change: Value) {
    match (patch, change) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, inner) in new {
                join(old.entry(name).or_insert(Value::Null), inner);
            }
        }
        (slot, change) => *slot = change,
    }
}
