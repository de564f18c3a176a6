//! Request bodies in Kubernetes' protobuf, read by the schema asset's field numbers.
//!
//! Go writes every field that is no pointer, zero or not; so zero means unset there, and a value in pointer fields. What
//! comes out is JSON as a client would have written it; [`crate::strict`] then checks it like any other.

mod message;
#[cfg(test)]
mod tests;
mod wire;

use serde_json::{Map, Value};

use crate::schema;
use wire::Wire;

/// `k8s` and a zero byte: what every body begins with.
const PREFIX: &[u8] = b"k8s\0";

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The four bytes `k8s\0` are missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    /// Bytes that are no protobuf.
    #[error("malformed protobuf: {0}")]
    Malformed(&'static str),
    /// No table for the kind.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// As sent.
        api_version: String,
        /// As sent.
        kind: String,
    },
}

/// Reads the `k8s\0` envelope and the object in it, with `apiVersion` and `kind`.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    decode_at(body, 0)
}

fn decode_at(body: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(PREFIX).ok_or(ProtobufError::NoPrefix)?;
    let (mut api_version, mut kind, mut content_type) = (String::new(), String::new(), String::new());
    let mut raw: &[u8] = &[];
    for entry in Wire::new(envelope) {
        let (number, value) = entry?;
        match number {
            1 => {
                for inner in Wire::new(value.bytes()?) {
                    match inner? {
                        (1, text) => api_version = text.text()?,
                        (2, text) => kind = text.text()?,
                        _ => {}
                    }
                }
            }
            2 => raw = value.bytes()?,
            4 => content_type = value.text()?,
            _ => {}
        }
    }
    if content_type.ends_with("json") {
        return serde_json::from_slice(raw).map_err(|_| ProtobufError::Malformed("the envelope holds no JSON"));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let Some(definition) = schema::lookup(group, version, &kind) else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let mut object = Map::new();
    message::read(raw, definition, &mut object, depth)?;
    object.insert("apiVersion".to_owned(), Value::String(api_version));
    object.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(object))
}
