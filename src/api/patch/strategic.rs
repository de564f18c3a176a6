//! Strategic merge patch: a merge patch that knows lists, with directives for what a merge cannot say.

use serde_json::{Map, Value};

use super::place::{Place, Spot};
use super::{DELETE_FROM, ORDER, PATCH, RETAIN};
use crate::status::Status;

type Fields = Map<String, Value>;

/// Kubernetes answers these without a reason.
fn unhandled(message: String) -> Status {
    Status::new(500, "", message)
}

/// Merges `patch` into the map `object` (which becomes one if it is none).
pub(super) fn merge_map(object: &mut Value, patch: &Fields, place: Place<'_>) -> Result<(), Status> {
    match directive(patch)? {
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove(PATCH);
            *object = clean(Value::Object(whole))?;
            return Ok(());
        }
        Some("delete") => {
            *object = Value::Object(Map::new());
            return Ok(());
        }
        _ => {}
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    retain(fields, patch)?;
    for (name, change) in patch {
        if name == PATCH || name == RETAIN || name.starts_with(ORDER) {
            continue;
        }
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            delete_from(fields, list, change)?;
        } else {
            change_field(fields, name, change, patch, place.spot(name))?;
        }
    }
    reorder_untouched(fields, patch, place)
}

/// `$patch` of a map, checked.
fn directive(patch: &Fields) -> Result<Option<&str>, Status> {
    match patch.get(PATCH) {
        None => Ok(None),
        Some(Value::String(word)) if matches!(word.as_str(), "replace" | "delete" | "merge") => Ok(Some(word)),
        Some(other) => Err(unhandled(format!("unknown patch type: {}", crate::apply::as_go(other)))),
    }
}

/// `$retainKeys`: what it does not name goes.
fn retain(fields: &mut Fields, patch: &Fields) -> Result<(), Status> {
    let Some(kept) = patch.get(RETAIN) else { return Ok(()) };
    let bad = || Status::bad_request("invalid patch format of retainKeys");
    let kept: Vec<&str> =
        kept.as_array().ok_or_else(bad)?.iter().map(|name| name.as_str().ok_or_else(bad)).collect::<Result<_, _>>()?;
    let stray = patch
        .iter()
        .any(|(name, change)| !name.starts_with('$') && !change.is_null() && !kept.contains(&name.as_str()));
    if stray {
        return Err(bad());
    }
    fields.retain(|name, _| kept.contains(&name.as_str()));
    Ok(())
}

fn delete_from(fields: &mut Fields, list: &str, gone: &Value) -> Result<(), Status> {
    let gone = gone.as_array().ok_or_else(|| Status::bad_request("invalid patch format of primitive list"))?;
    if let Some(Value::Array(items)) = fields.get_mut(list) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

fn change_field(fields: &mut Fields, name: &str, change: &Value, patch: &Fields, spot: Spot<'_>) -> Result<(), Status> {
    if change.is_null() {
        fields.remove(name);
        return Ok(());
    }
    match (fields.get_mut(name), change) {
        (Some(old @ Value::Object(_)), Value::Object(inner)) => merge_map(old, inner, spot.inside()),
        (Some(Value::Array(old)), Value::Array(entries)) if spot.merge => {
            let before = old.clone();
            merge_list(old, entries, spot)?;
            if let Some(order) = order_of(patch, name)? {
                *old = reorder(std::mem::take(old), &before, order, spot.key);
            }
            Ok(())
        }
        _ => {
            fields.insert(name.to_owned(), clean(change.clone())?);
            Ok(())
        }
    }
}

/// `$setElementOrder/NAME`.
fn order_of<'a>(patch: &'a Fields, name: &str) -> Result<Option<&'a [Value]>, Status> {
    match patch.get(&format!("{ORDER}{name}")) {
        None => Ok(None),
        Some(Value::Array(order)) => Ok(Some(order)),
        Some(_) => Err(Status::bad_request("invalid patch format of setElementOrder list")),
    }
}

/// Lists for which the patch has an order and nothing else.
fn reorder_untouched(fields: &mut Fields, patch: &Fields, place: Place<'_>) -> Result<(), Status> {
    for name in patch.keys().filter_map(|name| name.strip_prefix(ORDER)) {
        let Some(order) = order_of(patch, name)? else { continue };
        let spot = place.spot(name);
        if patch.contains_key(name) || !spot.merge {
            continue;
        }
        if let Some(Value::Array(list)) = fields.get_mut(name) {
            let before = list.clone();
            *list = reorder(std::mem::take(list), &before, order, spot.key);
        }
    }
    Ok(())
}

fn merge_list(list: &mut Vec<Value>, entries: &[Value], spot: Spot<'_>) -> Result<(), Status> {
    if !entries.iter().chain(list.iter()).any(Value::is_object) {
        for entry in entries {
            if !list.contains(entry) {
                list.push(entry.clone());
            }
        }
        return Ok(());
    }
    let replaced = entries.iter().any(|entry| entry.get(PATCH).and_then(Value::as_str) == Some("replace"));
    if replaced {
        // One such entry makes the others the whole list.
        let kept = entries.iter().filter(|entry| entry.get(PATCH).is_none());
        *list = kept.map(|entry| clean(entry.clone())).collect::<Result<_, _>>()?;
        return Ok(());
    }
    for entry in entries {
        let Value::Object(fields) = entry else {
            return Err(Status::bad_request("strategic merge patch format is not supported"));
        };
        let Some(known) = fields.get(spot.key).filter(|_| !spot.key.is_empty()) else {
            let entry = crate::apply::as_go(entry);
            return Err(unhandled(format!("map: {entry} does not contain declared merge key: {}", spot.key)));
        };
        if directive(fields)? == Some("delete") {
            list.retain(|item| item.get(spot.key) != Some(known));
            continue;
        }
        match list.iter_mut().find(|item| item.get(spot.key) == Some(known)) {
            Some(item) => merge_map(item, fields, spot.entries())?,
            None => list.push(clean(entry.clone())?),
        }
    }
    Ok(())
}

/// A value that nothing is merged with: directives and nulls in it have nothing to act on.
fn clean(value: Value) -> Result<Value, Status> {
    Ok(match value {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, inner) in fields {
                let word = name == PATCH || name == RETAIN || name.starts_with(ORDER) || name.starts_with(DELETE_FROM);
                if !word && !inner.is_null() {
                    kept.insert(name, clean(inner)?);
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let deleted = |item: &Value| item.get(PATCH).and_then(Value::as_str) == Some("delete");
            let kept = items.into_iter().filter(|item| {
                !deleted(item) && item.get(PATCH).is_none_or(|_| item.as_object().is_some_and(|map| map.len() > 1))
            });
            Value::Array(kept.map(clean).collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

/// Puts `merged` in the order that the patch wants for its entries (`order`), and the entries that only the server has
/// where they stood `before` in relation to them.
fn reorder(merged: Vec<Value>, before: &[Value], order: &[Value], key: &str) -> Vec<Value> {
    let same = |a: &Value, b: &Value| {
        if key.is_empty() || !a.is_object() { a == b } else { a.get(key).is_some() && a.get(key) == b.get(key) }
    };
    let place_in = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut wanted, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place_in(order, item).is_some());
    wanted.sort_by_key(|item| place_in(order, item));
    others.sort_by_key(|item| place_in(before, item).unwrap_or(usize::MAX));
    let mut wanted = wanted.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut out = Vec::new();
    loop {
        let other_first = match (others.peek(), wanted.peek()) {
            (None, None) => return out,
            (None, Some(_)) => false,
            (Some(_), None) => true,
            (Some(other), Some(mine)) => match (place_in(before, other), place_in(before, mine)) {
                (Some(left), Some(right)) => left < right,
                _ => false,
            },
        };
        out.extend(if other_first { others.next() } else { wanted.next() });
    }
}
