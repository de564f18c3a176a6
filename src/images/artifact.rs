//! One component as an OCI artifact: a config, one layer and the manifest that names both.

use bytes::Bytes;
use serde_json::json;

use crate::Digest;
use crate::wasm::{WasmError, to_component};

/// The manifest's media type.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The standard config of a Wasm artifact.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The standard layer of a Wasm artifact.
pub const LAYER: &str = "application/wasm";

/// Bytes with their name.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The SHA-256.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

impl Blob {
    /// Names `bytes`.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), bytes }
    }
}

/// The three blobs of an image. The same file always makes the same image.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The config.
    pub config: Blob,
    /// The component.
    pub layer: Blob,
    /// The manifest: its digest is the image's.
    pub manifest: Blob,
}

impl Artifact {
    /// Packs a component, or a core module, which becomes one. May take seconds for a core module of tens of megabytes.
    ///
    /// # Errors
    /// When the bytes are neither, with what they look like.
    pub fn from_wasm(bytes: impl Into<Bytes>) -> Result<Self, WasmError> {
        let bytes = bytes.into();
        let layer = match to_component(&bytes)? {
            None => Blob::new(bytes),
            Some(component) => Blob::new(component),
        };
        let config = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.digest.as_str()] });
        let config = Blob::new(config.to_string());
        let descriptor = |kind: &str, blob: &Blob| json!({ "mediaType": kind, "digest": blob.digest.as_str(), "size": blob.bytes.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        });
        Ok(Self { config, layer, manifest: Blob::new(manifest.to_string()) })
    }
}
