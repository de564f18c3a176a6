//! An apply configuration of a policy, put into an object: fields are merged as the schema says, nobody owns them.

use serde_json::{Map, Value};

use crate::schema::{Definition, ListKind, Schema};

/// Puts `change` into `object`.
///
/// # Errors
/// What of it cannot be merged: lists, maps and objects that count as one value would lose what it does not name.
pub fn apply_configuration(object: &mut Value, change: &Value, definition: Option<&Definition>) -> Result<(), String> {
    let mut merge = Merge { atomics: Vec::new() };
    merge.object(object, change, definition, "");
    if merge.atomics.is_empty() {
        return Ok(());
    }
    let atomics = merge.atomics.join(", ");
    Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {atomics}"))
}

struct Merge {
    /// The paths at which a whole value would have been replaced.
    atomics: Vec<String>,
}

impl Merge {
    fn object(&mut self, live: &mut Value, change: &Value, definition: Option<&Definition>, path: &str) {
        let Some(fields) = change.as_object() else {
            live.clone_from(change);
            return;
        };
        if !live.is_object() {
            *live = Value::Object(Map::new());
        }
        let Some(live) = live.as_object_mut() else { return };
        for (name, value) in fields {
            let path = format!("{path}.{name}");
            let field = definition.and_then(|definition| definition.field(name));
            let at = live.entry(name.clone()).or_insert(Value::Null);
            match field {
                Some(field) => self.value(at, value, Some(&field.schema), field.atomic, &path),
                None => self.value(at, value, None, false, &path),
            }
        }
    }

    fn value(&mut self, live: &mut Value, change: &Value, schema: Option<&Schema>, atomic: bool, path: &str) {
        let container = change.is_object() || change.is_array();
        if container && (atomic || schema.is_some_and(|schema| is_closed(schema, change))) {
            self.atomics.push(path.to_owned());
            return;
        }
        match (change, schema) {
            (Value::Object(_), Some(schema)) if schema.definition().is_some() => {
                self.object(live, change, schema.definition(), path);
            }
            (Value::Object(fields), schema) => self.map(live, fields, schema.and_then(Schema::values), path),
            (Value::Array(entries), Some(Schema::List(list))) => match &list.kind {
                ListKind::Map(keys) => self.keyed(live, entries, keys, &list.items, path),
                _ => union(live, entries),
            },
            _ => live.clone_from(change),
        }
    }

    fn map(&mut self, live: &mut Value, fields: &Map<String, Value>, values: Option<&Schema>, path: &str) {
        if !live.is_object() {
            *live = Value::Object(Map::new());
        }
        let Some(live) = live.as_object_mut() else { return };
        for (name, value) in fields {
            let at = live.entry(name.clone()).or_insert(Value::Null);
            self.value(at, value, values, false, &format!("{path}.{name}"));
        }
    }

    fn keyed<S: AsRef<str>>(&mut self, live: &mut Value, entries: &[Value], keys: &[S], items: &Schema, path: &str) {
        if !live.is_array() {
            *live = Value::Array(Vec::new());
        }
        let Some(live) = live.as_array_mut() else { return };
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let same = |other: &Value| keys.iter().all(|name| key(other, name.as_ref()) == key(entry, name.as_ref()));
            match live.iter_mut().find(|other| same(other)) {
                Some(found) => self.value(found, entry, Some(items), false, &path),
                None => {
                    let mut made = Value::Null;
                    self.value(&mut made, entry, Some(items), false, &path);
                    live.push(made);
                }
            }
        }
    }
}

/// Whether apply takes the value as one: a list without keys, an atomic map or object. What has no schema is merged.
fn is_closed(schema: &Schema, change: &Value) -> bool {
    match schema {
        Schema::List(_) | Schema::Map(..) | Schema::Ref(_) | Schema::Inline(_) => schema.is_atomic(),
        _ => change.is_array(),
    }
}

/// The value of a key; ports without a protocol are TCP's.
fn key<'v>(entry: &'v Value, name: &str) -> Option<std::borrow::Cow<'v, Value>> {
    match entry.get(name) {
        Some(value) => Some(std::borrow::Cow::Borrowed(value)),
        None if name == "protocol" => Some(std::borrow::Cow::Owned("TCP".into())),
        None => None,
    }
}

fn union(live: &mut Value, entries: &[Value]) {
    if !live.is_array() {
        *live = Value::Array(Vec::new());
    }
    let Some(live) = live.as_array_mut() else { return };
    for entry in entries {
        if !live.contains(entry) {
            live.push(entry.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::lookup;

    #[test]
    fn what_has_keys_is_merged_and_what_has_none_is_refused() {
        let pod = lookup("", "v1", "Pod");
        let mut live = json!({
            "metadata": { "name": "p", "labels": { "a": "1" } },
            "spec": { "containers": [{ "name": "c", "image": "i", "args": ["x"] }] },
        });
        let change = json!({
            "metadata": { "labels": { "b": "2" } },
            "spec": {
                "containers": [{ "name": "c", "env": [{ "name": "E", "value": "v" }] }],
                "initContainers": [{ "name": "mesh", "image": "proxy" }],
            },
        });
        apply_configuration(&mut live, &change, pod).unwrap();
        assert_eq!(live["metadata"]["labels"], json!({ "a": "1", "b": "2" }));
        assert_eq!(live["spec"]["containers"][0]["image"], "i");
        assert_eq!(live["spec"]["containers"][0]["env"][0]["value"], "v");
        assert_eq!(live["spec"]["initContainers"][0]["name"], "mesh");
        let refused =
            apply_configuration(&mut live, &json!({ "spec": { "containers": [{ "name": "c", "args": [] }] } }), pod);
        assert_eq!(
            refused.unwrap_err(),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args"
        );
    }
}
