//! Reading and filling JSON objects field by field. A field that is null counts as not there.

use serde_json::{Map, Value, json};

/// A field, unless it is null or not there.
pub(crate) fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|field| !field.is_null())
}
/// Whether a field is there.
pub(crate) fn is_set(value: &Value, key: &str) -> bool {
    get(value, key).is_some()
}
/// A text, empty when not there.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
/// A text at a JSON pointer, empty when not there.
pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    // By hand: `Value::pointer` makes two strings of each name, and this is asked nine times for each write of a pod.
    let found = pointer.split('/').skip(1).try_fold(value, |value, key| value.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}
/// A number.
pub(crate) fn int(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(Value::as_i64)
}
/// A number at a JSON pointer, 0 when not there.
pub(crate) fn int_at(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}
/// Whether a boolean field is true.
pub(crate) fn flag(value: &Value, key: &str) -> bool {
    value.get(key) == Some(&Value::Bool(true))
}
/// A list, empty when not there.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
/// A list at a JSON pointer, empty when not there.
pub(crate) fn list_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
/// The entries of a map.
pub(crate) fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}
/// The number of entries of a map.
pub(crate) fn count(value: &Value, key: &str) -> usize {
    value.get(key).and_then(Value::as_object).map_or(0, Map::len)
}
/// The items of a list, to be changed.
pub(crate) fn items_mut<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Fills a field in when it is not there.
pub(crate) fn default_to(value: &mut Value, key: &str, default: impl Into<Value>) {
    if let Some(map) = value.as_object_mut()
        && map.get(key).is_none_or(Value::is_null)
    {
        map.insert(key.to_owned(), default.into());
    }
}
/// Fills a text in when it is not there or empty.
pub(crate) fn default_text(value: &mut Value, key: &str, default: &str) {
    if text(value, key).is_empty() && value.get(key).is_none_or(|field| field.is_null() || field.is_string()) {
        set(value, key, default);
    }
}
/// Writes a field.
pub(crate) fn set(value: &mut Value, key: &str, new: impl Into<Value>) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), new.into());
    }
}
/// Makes a field what it is in `old`.
pub(crate) fn keep(value: &mut Value, old: &Value, key: &str) {
    match get(old, key) {
        Some(kept) => set(value, key, kept.clone()),
        None => remove(value, key),
    }
}
/// Takes a field away.
pub(crate) fn remove(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(key);
    }
}
/// The object at a field; it comes into being when nothing is there.
pub(crate) fn object_at<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    default_to(value, key, json!({}));
    value.get_mut(key).filter(|field| field.is_object())
}

/// Whether two values mean the same to Kubernetes, which does not tell null, an empty list, an empty map and nothing
/// apart.
pub(crate) fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left.unwrap_or(&Value::Null), right.unwrap_or(&Value::Null)) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            keys.into_iter().all(|key| same(left.get(key), right.get(key)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(Some(left), Some(right)))
        }
        (left, right) => left == right || (is_empty(left) && is_empty(right)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}
