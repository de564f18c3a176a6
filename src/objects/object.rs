//! One object at one revision: its bytes, and what is known of it without decoding them.
//!
//! The bytes always begin `{"apiVersion":…,"kind":…,"metadata":{`, so that the resourceVersion, which the store does not
//! keep, has one place to be put in.

use std::borrow::Cow;
use std::sync::Arc;

use api::Kind;
use api::meta::Meta;
use api::selector::{FieldSelector, LabelSelector};
use bytes::Bytes;
use serde_json::Value;
use store::Revision;

const METADATA: &[u8] = b"\"metadata\":{";
const RESOURCE_VERSION: &[u8] = b"\"resourceVersion\":\"";

/// An object as it was written at `revision`.
#[derive(Clone, Debug)]
pub struct Object {
    /// The whole object as JSON, with apiVersion, kind and resourceVersion.
    pub json: Bytes,
    /// Its envelope.
    pub meta: Meta,
    /// When it was written; a deleted object carries the revision of its deletion.
    pub revision: Revision,
    fields: Box<[(Cow<'static, str>, String)]>,
}

impl Object {
    /// The object as a tree, which costs ten times its bytes: decode late.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// What a field selector sees of `field`, empty when there is nothing.
    pub fn field(&self, field: &str) -> &str {
        match field {
            "metadata.name" => &self.meta.name,
            "metadata.namespace" => &self.meta.namespace,
            _ => self.fields.iter().find(|(name, _)| name == field).map_or("", |(_, value)| value),
        }
    }

    /// Whether both selectors mean this object.
    pub fn is_selected(&self, labels: &LabelSelector, fields: &FieldSelector) -> bool {
        fields.matches_with(|field| self.field(field)) && labels.matches(&self.meta.labels)
    }

    /// Reads what the store holds.
    pub(crate) fn stored(stored: &[u8], revision: Revision, kind: Option<&Kind>) -> Result<Self, serde_json::Error> {
        Self::read(splice(stored, revision), revision, kind)
    }

    /// An object that was not written (a dry run): it has no resourceVersion of its own.
    pub(crate) fn unsaved(json: Vec<u8>, kind: &Kind) -> Result<Self, serde_json::Error> {
        Self::read(json.into(), Revision(0), Some(kind))
    }

    /// Reads what the store holds, of which everything is known.
    pub(crate) fn known(stored: &[u8], revision: Revision, facts: Facts) -> Self {
        let Facts { mut meta, fields } = facts;
        meta.resource_version = revision.0;
        Self { json: splice(stored, revision), meta, revision, fields }
    }

    fn read(json: Bytes, revision: Revision, kind: Option<&Kind>) -> Result<Self, serde_json::Error> {
        let meta = Meta::from_json(&json)?;
        let fields = match kind.filter(|kind| !kind.behaviour.field_labels().is_empty()) {
            Some(kind) => kind.behaviour.selectable_fields(&serde_json::from_slice(&json)?),
            None => Vec::new(),
        };
        Ok(Self { json, meta, revision, fields: fields.into() })
    }

    /// The same bytes, read by the rules of `kind` for field selectors.
    pub(crate) fn reread(&self, kind: &Kind) -> Arc<Self> {
        let labelled = !kind.behaviour.field_labels().is_empty();
        let fields = if labelled { kind.behaviour.selectable_fields(&self.value()) } else { Vec::new() };
        Arc::new(Self { fields: fields.into(), ..self.clone() })
    }

    /// The same content under another resourceVersion: how a watch tells of an object that is gone.
    pub(crate) fn moved_to(&self, revision: Revision) -> Arc<Self> {
        let mut moved = self.clone();
        moved.json = respliced(&self.json, revision);
        moved.revision = revision;
        moved.meta.resource_version = revision.0;
        Arc::new(moved)
    }
}

/// What is known of an object besides its bytes and its revision.
pub(crate) struct Facts {
    meta: Meta,
    fields: Box<[(Cow<'static, str>, String)]>,
}

impl Facts {
    pub fn of(object: &Value, kind: &Kind) -> Self {
        Self { meta: Meta::of(object), fields: kind.behaviour.selectable_fields(object).into() }
    }
}

/// The bytes that are stored of `object`: without resourceVersion, the three fields that every object has first.
pub(crate) fn encode(object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    let Some(fields) = object.as_object() else { return out };
    let write = |out: &mut Vec<u8>, key: &str, value: &Value| {
        // A Vec takes everything, and a Value's keys are strings.
        let _ = serde_json::to_writer(&mut *out, key);
        out.push(b':');
        let _ = serde_json::to_writer(&mut *out, value);
    };
    out.push(b'{');
    for key in ["apiVersion", "kind"] {
        write(&mut out, key, fields.get(key).unwrap_or(&Value::Null));
        out.push(b',');
    }
    out.extend_from_slice(METADATA);
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let mut comma = false;
    for (key, value) in metadata.into_iter().flatten().filter(|(key, _)| *key != "resourceVersion") {
        if std::mem::replace(&mut comma, true) {
            out.push(b',');
        }
        write(&mut out, key, value);
    }
    out.push(b'}');
    for (key, value) in fields {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            out.push(b',');
            write(&mut out, key, value);
        }
    }
    out.push(b'}');
    out
}

/// Where the first field of the metadata stands.
fn metadata_at(json: &[u8]) -> Option<usize> {
    json.windows(METADATA.len()).position(|window| window == METADATA).map(|at| at + METADATA.len())
}

fn splice(stored: &[u8], revision: Revision) -> Bytes {
    let Some(at) = metadata_at(stored) else { return Bytes::copy_from_slice(stored) };
    let (before, after) = stored.split_at(at);
    joined(before, revision, after)
}

fn joined(before: &[u8], revision: Revision, after: &[u8]) -> Bytes {
    let number = revision.to_string();
    let mut out = Vec::with_capacity(before.len() + after.len() + RESOURCE_VERSION.len() + number.len() + 2);
    out.extend_from_slice(before);
    out.extend_from_slice(RESOURCE_VERSION);
    out.extend_from_slice(number.as_bytes());
    out.push(b'"');
    if after.first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(after);
    out.into()
}

fn respliced(json: &[u8], revision: Revision) -> Bytes {
    let Some(at) = metadata_at(json) else { return Bytes::copy_from_slice(json) };
    let (before, rest) = json.split_at(at);
    let Some(number) = rest.strip_prefix(RESOURCE_VERSION) else { return joined(before, revision, rest) };
    let end = number.iter().position(|byte| *byte == b'"').map_or(number.len(), |quote| quote + 1);
    let after = number.get(end..).unwrap_or_default();
    joined(before, revision, after.strip_prefix(b",").unwrap_or(after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_resource_version_goes_in_and_is_replaced() {
        let object = json!({"kind": "K", "apiVersion": "v1", "data": {"metadata": {"a": 1}}, "metadata": {"name": "n", "resourceVersion": "9"}});
        let stored = encode(&object);
        assert!(!String::from_utf8_lossy(&stored).contains("resourceVersion"));
        let read = Object::stored(&stored, Revision(12), None).unwrap();
        assert_eq!(read.meta.resource_version, 12);
        assert_eq!(read.value()["metadata"], json!({"name": "n", "resourceVersion": "12"}));
        assert_eq!(read.value()["data"], object["data"]);
        let moved = read.moved_to(Revision(1300));
        assert_eq!(moved.value()["metadata"], json!({"name": "n", "resourceVersion": "1300"}));
        assert_eq!(moved.value()["data"], object["data"]);
    }

    #[test]
    fn an_object_without_metadata_fields_is_still_json() {
        let read = Object::stored(&encode(&json!({"apiVersion": "v1", "kind": "K"})), Revision(3), None).unwrap();
        assert_eq!(read.value(), json!({"apiVersion": "v1", "kind": "K", "metadata": {"resourceVersion": "3"}}));
        assert_eq!(read.moved_to(Revision(4)).value()["metadata"]["resourceVersion"], "4");
    }
}
