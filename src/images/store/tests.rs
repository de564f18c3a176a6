//! The store through its door.

use super::*;
use crate::{Credentials, PullPolicy};

fn component() -> Bytes {
    wat::parse_str("(component)").unwrap().into()
}

#[tokio::test]
async fn what_was_pushed_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    let digest = store.push("hello", "v1", component()).await.unwrap();
    drop(store);
    let store = ImageStore::open(dir.path()).unwrap();
    let listed = store.list();
    assert_eq!((listed[0].reference.as_str(), &listed[0].digest), ("coracle.local/hello:v1", &digest));
    for name in ["coracle.local/hello:v1".to_owned(), format!("coracle.local/hello@{digest}")] {
        let resolved = store.resolve(&name, PullPolicy::Never, &Credentials::default()).await.unwrap();
        assert_eq!(std::fs::read(resolved.path).unwrap(), component());
    }
}

#[tokio::test]
async fn a_damaged_index_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("index.json"), "{").unwrap();
    assert!(matches!(ImageStore::open(dir.path()), Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(dir.path().join("index.json")).unwrap(), b"{");
}

#[tokio::test]
async fn what_is_no_component_is_not_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    let error = store.push("hello", "v1", Bytes::from_static(b"\x7fELF\x02")).await.unwrap_err();
    assert!(error.to_string().contains("ELF"), "{error}");
    assert!(matches!(store.push("Hello", "v1", component()).await, Err(PushError::Name(_))));
    let error = store.resolve("coracle.local/hello", PullPolicy::Always, &Credentials::default()).await.unwrap_err();
    assert!(error.to_string().contains("coracle push FILE.wasm hello:latest"), "{error}");
}
