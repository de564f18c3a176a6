//! Images of other shapes than ours.

use bytes::Bytes;
use serde_json::json;

use crate::{Credentials, Digest, ImageStore, PullPolicy};

pub(super) fn push(store: &ImageStore, config: &str, layers: &[(&str, &[u8])]) {
    let config_digest = store.put(b"{}").unwrap();
    let descriptor = |(media_type, bytes): &(&str, &[u8])| {
        let digest = store.put(bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest.as_str(), "size": bytes.len() })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": config, "digest": config_digest.as_str(), "size": 2 },
        "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
    });
    store
        .put_manifest("x", Some("v1"), "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
        .unwrap();
}

#[tokio::test]
async fn one_wasm_file_is_found_whatever_its_type_and_others_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    let component = Bytes::from(wat::parse_str("(component)").unwrap());
    let resolve =
        || async { store.resolve("coracle.local/x:v1", PullPolicy::IfNotPresent, &Credentials::default()).await };

    push(&store, "application/x", &[("application/octet-stream", &component), ("text/plain", b"read me")]);
    assert_eq!(resolve().await.unwrap().component, Digest::of(&component));

    push(&store, "application/x", &[("application/wasm", &component), ("application/wasm", &component)]);
    assert!(resolve().await.unwrap_err().to_string().contains("2 WebAssembly files"));

    let linux = "application/vnd.oci.image.config.v1+json";
    push(&store, linux, &[("application/vnd.oci.image.layer.v1.tar", b"no wasm in here")]);
    let error = resolve().await.unwrap_err();
    assert_eq!(error.reason(), "ErrImagePull");
    let text = error.to_string();
    assert!(text.contains("container image") && text.contains("application/vnd.oci.image.layer.v1.tar"), "{text}");

    push(&store, "application/x", &[("application/wasm", b"\x7fELF")]);
    assert!(resolve().await.unwrap_err().to_string().contains("ELF"));
}
