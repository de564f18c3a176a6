//! The registry through its router, and through a client that knows nothing of it.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use tower::ServiceExt;

use crate::artifact::Artifact;
use crate::{Credentials, Digest, ImageStore, PullPolicy};

struct Registry {
    store: ImageStore,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: ImageStore::open(dir.path()).unwrap(), _dir: dir }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = super::router(self.store.clone()).oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, 1 << 24).await.unwrap())
    }

    async fn upload(&self, name: &str, bytes: &Bytes) {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", Digest::of(bytes));
        assert_eq!(self.ask(Method::POST, &path, &[], bytes.clone()).await.0, StatusCode::CREATED);
    }
}

fn artifact() -> Artifact {
    Artifact::from_wasm(wat::parse_str("(component)").unwrap()).unwrap()
}

#[tokio::test]
async fn a_pushed_image_can_be_pulled_listed_and_run() {
    let registry = Registry::new();
    let artifact = artifact();
    registry.upload("team/hello", &artifact.config.bytes).await;
    registry.upload("team/hello", &artifact.layer.bytes).await;
    let manifest = "/v2/team/hello/manifests/v1";
    let (status, headers, _) = registry
        .ask(Method::PUT, manifest, &[("content-type", crate::artifact::MANIFEST)], artifact.manifest.bytes.clone())
        .await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(headers[super::DIGEST_HEADER], artifact.manifest.digest.as_str());

    let (status, headers, body) = registry.ask(Method::GET, manifest, &[], Body::empty()).await;
    assert_eq!((status, &body), (StatusCode::OK, &artifact.manifest.bytes));
    assert_eq!(headers["content-type"], crate::artifact::MANIFEST);
    let blob = format!("/v2/team/hello/blobs/{}", artifact.layer.digest);
    let (status, _, body) = registry.ask(Method::GET, &blob, &[("range", "bytes=0-3")], Body::empty()).await;
    assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &b"\0asm"[..]));
    let (_, headers, body) = registry.ask(Method::HEAD, &blob, &[], Body::empty()).await;
    assert_eq!(
        (headers["content-length"].to_str().unwrap(), body.len()),
        (&*artifact.layer.bytes.len().to_string(), 0)
    );
    let (_, _, tags) = registry.ask(Method::GET, "/v2/team/hello/tags/list", &[], Body::empty()).await;
    assert_eq!(tags, r#"{"name":"team/hello","tags":["v1"]}"#);

    let name = "coracle.local/team/hello:v1";
    let resolved = registry.store.resolve(name, PullPolicy::Always, &Credentials::default()).await.unwrap();
    assert_eq!(resolved.component, artifact.layer.digest);
    assert_eq!(registry.ask(Method::DELETE, manifest, &[], Body::empty()).await.0, StatusCode::ACCEPTED);
    assert!(registry.store.resolve(name, PullPolicy::Always, &Credentials::default()).await.is_err());
}

#[tokio::test]
async fn a_blob_may_come_in_chunks_that_follow_each_other() {
    let registry = Registry::new();
    let (_, headers, _) = registry.ask(Method::POST, "/v2/x/blobs/uploads/", &[], Body::empty()).await;
    let place = headers["location"].to_str().unwrap().to_owned();
    let (status, headers, _) = registry.ask(Method::PATCH, &place, &[("content-range", "0-4")], "hello").await;
    assert_eq!((status, headers["range"].to_str().unwrap()), (StatusCode::ACCEPTED, "0-4"));
    let (status, _, body) = registry.ask(Method::PATCH, &place, &[("content-range", "9-12")], "gap").await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert!(String::from_utf8_lossy(&body).contains("BLOB_UPLOAD_INVALID"));
    let digest = Digest::of(b"hello world");
    let escaped = digest.as_str().replace(':', "%3A");
    let (status, _, _) = registry.ask(Method::PUT, &format!("{place}?digest={escaped}"), &[], " world").await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(registry.store.read(&digest).unwrap(), "hello world");
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_ocis_words() {
    let registry = Registry::new();
    let wrong = Digest::of(b"other");
    let manifest = artifact().manifest.bytes;
    let rows: Vec<(Method, String, Bytes, u16, &str)> = vec![
        (Method::POST, format!("/v2/x/blobs/uploads/?digest={wrong}"), "bytes".into(), 400, "DIGEST_INVALID"),
        (Method::GET, format!("/v2/x/blobs/{wrong}"), Bytes::new(), 404, "BLOB_UNKNOWN"),
        (Method::GET, "/v2/x/manifests/v1".into(), Bytes::new(), 404, "MANIFEST_UNKNOWN"),
        (Method::PUT, "/v2/x/manifests/v1".into(), manifest, 404, "MANIFEST_BLOB_UNKNOWN"),
        (Method::PUT, "/v2/x/manifests/v1".into(), "{}".into(), 400, "MANIFEST_INVALID"),
        (Method::GET, "/v2/UPPER/tags/list".into(), Bytes::new(), 400, "NAME_INVALID"),
        (Method::GET, "/v2/x/tags/list".into(), Bytes::new(), 404, "NAME_UNKNOWN"),
        (Method::PATCH, "/v2/x/blobs/uploads/nothing".into(), Bytes::new(), 404, "BLOB_UPLOAD_UNKNOWN"),
    ];
    for (method, path, body, status, code) in rows {
        let (found, _, answer) = registry.ask(method, &path, &[], body).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(found.as_u16() == status && answer.contains(code), "{path}: {found} {answer}");
    }
    assert_eq!(std::fs::read_dir(registry.store.uploads_dir()).unwrap().count(), 0);
}

#[tokio::test]
async fn another_store_pulls_over_http() {
    let registry = Registry::new();
    let wasm = Bytes::from(wat::parse_str("(component)").unwrap());
    let digest = registry.store.push("hello", "v1", wasm).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = axum::serve(listener, super::router(registry.store.clone())).into_future();
    let node = Registry::new();
    let image = format!("localhost:{port}/hello:v1");
    let pulls = async {
        let never = node.store.resolve(&image, PullPolicy::Never, &Credentials::default()).await.unwrap_err();
        assert_eq!(never.reason(), "ErrImageNeverPull");
        let pulled = node.store.resolve(&image, PullPolicy::IfNotPresent, &Credentials::default()).await.unwrap();
        assert_eq!(pulled.digest, digest);
        assert!(matches!(pulled.pulled, crate::Pulled::Fetched { .. }));
        let again = node.store.resolve(&image, PullPolicy::IfNotPresent, &Credentials::default()).await.unwrap();
        assert_eq!(again.pulled, crate::Pulled::AlreadyPresent);
        let pinned = format!("localhost:{port}/hello@{digest}");
        node.store.resolve(&pinned, PullPolicy::Always, &Credentials::default()).await.unwrap();
        let missing = format!("localhost:{port}/nothing:v1");
        let error = node.store.resolve(&missing, PullPolicy::Always, &Credentials::default()).await.unwrap_err();
        assert!(matches!(error, crate::PullError::NotFound { .. }), "{error}");
    };
    tokio::select! {
        () = pulls => {}
        _ = serving => panic!("the server ended"),
    }
    let error = node.store.resolve("127.0.0.1:1/x:v1", PullPolicy::Always, &Credentials::default()).await.unwrap_err();
    assert_eq!(error.reason(), "RegistryUnavailable");
}
