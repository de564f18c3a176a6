//! The envelope that every object has: reading it, writing it, and checking it.
//!
//! Objects are JSON values. The functions here never fail on an odd shape: what is not there, or is of another type,
//! reads as empty; the schema check has refused it before.

mod parsed;
#[cfg(test)]
mod tests;
mod validation;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use crate::names::dns_subdomain_errors;
pub use parsed::{Labels, Meta};
pub use validation::{validate, validate_annotations, validate_labels};

/// The finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that leaves dependents behind.
pub const ORPHAN: &str = "orphan";

static EMPTY: Value = Value::Null;

/// The `metadata` of an object, or null.
pub fn metadata(object: &Value) -> &Value {
    object.get("metadata").unwrap_or(&EMPTY)
}

/// The `metadata` to write to; it comes into being. An object that is no JSON object is made one.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    entry_map(as_map(object), "metadata")
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

fn entry_map<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_map(map.entry(key.to_owned()).or_insert_with(|| json!({})))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`
pub fn name(object: &Value) -> &str {
    text(object, "name")
}
/// `metadata.generateName`
pub fn generate_name_prefix(object: &Value) -> &str {
    text(object, "generateName")
}
/// `metadata.namespace`
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}
/// `metadata.uid`
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}
/// `metadata.resourceVersion`, empty when none was sent.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}
/// `metadata.generation`
pub fn generation(object: &Value) -> i64 {
    metadata(object).get("generation").and_then(Value::as_i64).unwrap_or_default()
}
/// One label's value.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object).get("labels")?.get(key)?.as_str()
}
/// One annotation's value.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object).get("annotations")?.get(key)?.as_str()
}
/// All labels.
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    texts(metadata(object).get("labels"))
}
/// All annotations.
pub fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    texts(metadata(object).get("annotations"))
}
fn texts(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let map = map.and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}
/// `metadata.ownerReferences`
pub fn owner_references(object: &Value) -> &[Value] {
    metadata(object).get("ownerReferences").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
/// The uids of all owners.
pub fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    owner_references(object).iter().filter_map(|owner| owner.get("uid")?.as_str())
}
/// The one owner with `controller: true`.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}
/// `metadata.finalizers`
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = metadata(object).get("finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}
/// `metadata.deletionTimestamp`
pub fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    time(metadata(object).get("deletionTimestamp"))
}
/// Whether somebody asked for the object's deletion.
pub fn is_being_deleted(object: &Value) -> bool {
    metadata(object).get("deletionTimestamp").is_some_and(|stamp| !stamp.is_null())
}
/// `metadata.deletionGracePeriodSeconds`
pub fn deletion_grace_seconds(object: &Value) -> Option<i64> {
    metadata(object).get("deletionGracePeriodSeconds")?.as_i64()
}
/// `metadata.creationTimestamp`
pub fn creation_timestamp(object: &Value) -> Option<Timestamp> {
    time(metadata(object).get("creationTimestamp"))
}

/// A time as it stands in an object.
pub fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// `2026-01-02T03:04:05Z`: how `metav1.Time` is written, to the second.
pub fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T03:04:05.678901Z`: how `metav1.MicroTime` is written.
pub fn micro_time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Writes one field of the metadata.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

/// Takes one field of the metadata away.
pub fn unset(object: &mut Value, field: &str) {
    if let Some(map) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        map.remove(field);
    }
}

/// Before an update is validated: what a client may leave out, or may not touch, is as it was.
///
/// An empty uid or creationTimestamp means "whatever it is"; a deletion that was asked for can never be taken back;
/// `generation` is the server's.
pub fn carry_over(object: &mut Value, old: &Value) {
    let nothing = Map::new();
    let was = metadata(old).as_object().unwrap_or(&nothing);
    let map = metadata_mut(object);
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let left_out = match map.get(field) {
            None | Some(Value::Null) => true,
            Some(value) => value.as_str() == Some(""),
        };
        if left_out {
            put(map, field, was.get(field));
        }
    }
    // The same moment in other words (`+00:00` for `Z`) is no change.
    if creation_time_of(map) == creation_time_of(was) {
        put(map, "creationTimestamp", was.get("creationTimestamp"));
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        put(map, field, was.get(field));
    }
    map.remove("selfLink");
}

fn creation_time_of(metadata: &Map<String, Value>) -> Option<Timestamp> {
    time(metadata.get("creationTimestamp"))
}

fn put(map: &mut Map<String, Value>, field: &str, value: Option<&Value>) {
    match value {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

const SUFFIX_ALPHABET: &[u8; SUFFIX_LETTERS] = b"bcdfghjklmnpqrstvwxz2456789";
const NAME_LENGTH: usize = 63;

/// The name that `generateName` asks for: the prefix and five letters made of `entropy`, which the caller draws at
/// random. Like Kubernetes it never gets longer than 63.
pub fn generate_name(prefix: &str, entropy: [u8; 5]) -> String {
    let mut end = prefix.len().min(NAME_LENGTH - entropy.len());
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    name.extend(entropy.iter().map(|byte| suffix_letter(usize::from(*byte))));
    name
}

/// How many letters [`suffix_letter`] chooses from.
pub const SUFFIX_LETTERS: usize = 27;

/// One letter of a name's suffix. They make no words and are not taken for one another.
pub fn suffix_letter(number: usize) -> char {
    char::from(SUFFIX_ALPHABET[number % SUFFIX_LETTERS])
}
