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

#[tokio::test]
async fn an_upload_goes_on_after_it_broke_off() {
    let registry = Registry::new();
    let (_, headers, _) = registry.ask(Method::POST, "/v2/x/blobs/uploads/", &[], Body::empty()).await;
    let place = headers["location"].to_str().unwrap().to_owned();
    let chunks = [Ok(Bytes::from_static(b"hello")), Err(std::io::Error::other("the line went dead"))];
    let broken = Body::from_stream(futures::stream::iter(chunks));
    let (status, _, _) = registry.ask(Method::PATCH, &place, &[], broken).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, headers, _) = registry.ask(Method::GET, &place, &[], Body::empty()).await;
    assert_eq!((status, headers["range"].to_str().unwrap()), (StatusCode::NO_CONTENT, "0-4"));
    let (status, _, body) = registry.ask(Method::PATCH, &place, &[("content-range", "5-20")], " world").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");
    let whole = Digest::of(b"hello world");
    let (status, _, _) = registry.ask(Method::PUT, &format!("{place}?digest={whole}"), &[], Body::empty()).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, headers, _) =
        registry.ask(Method::POST, &format!("/v2/y/blobs/uploads/?mount={whole}&from=x"), &[], Body::empty()).await;
    assert_eq!(
        (status, headers["location"].to_str().unwrap()),
        (StatusCode::CREATED, &*format!("/v2/y/blobs/{whole}"))
    );
    let blob = format!("/v2/x/blobs/{whole}");
    assert_eq!(registry.ask(Method::DELETE, &blob, &[], Body::empty()).await.0, StatusCode::ACCEPTED);
    assert_eq!(registry.ask(Method::DELETE, &blob, &[], Body::empty()).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn referrers_are_found_by_their_subject() {
    let registry = Registry::new();
    let artifact = artifact();
    registry.upload("x", &artifact.config.bytes).await;
    registry.upload("x", &artifact.layer.bytes).await;
    let config = serde_json::from_slice::<serde_json::Value>(&artifact.manifest.bytes).unwrap()["config"].clone();
    // The subject need not be there yet.
    let subject = &artifact.manifest.digest;
    for (kind, tag) in [("application/x.signature", "sig"), ("application/x.parts", "parts")] {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": crate::artifact::MANIFEST, "artifactType": kind, "config": config, "layers": [],
            "subject": { "mediaType": crate::artifact::MANIFEST, "digest": subject.as_str(), "size": 1 },
            "annotations": { "by": tag },
        });
        let (status, headers, _) =
            registry.ask(Method::PUT, &format!("/v2/x/manifests/{tag}"), &[], manifest.to_string()).await;
        assert_eq!((status, headers["oci-subject"].to_str().unwrap()), (StatusCode::CREATED, subject.as_str()));
    }
    let list = async |query: &str| {
        let path = format!("/v2/x/referrers/{subject}{query}");
        let (status, headers, body) = registry.ask(Method::GET, &path, &[], Body::empty()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "application/vnd.oci.image.index.v1+json");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (body["manifests"].as_array().unwrap().clone(), headers.contains_key("oci-filters-applied"))
    };
    assert_eq!(list("").await.0.len(), 2);
    let (found, filtered) = list("?artifactType=application%2Fx.parts").await;
    assert_eq!((found.len(), &found[0]["annotations"]["by"], filtered), (1, &"parts".into(), true));
    let path = format!("/v2/x/referrers/{}", Digest::of(b"nobody"));
    assert!(registry.ask(Method::GET, &path, &[], Body::empty()).await.0.is_success());
    let (status, _, _) = registry.ask(Method::GET, "/v2/x/referrers/none", &[], Body::empty()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tags_come_in_pages() {
    let registry = Registry::new();
    let wasm = Bytes::from(wat::parse_str("(component)").unwrap());
    for tag in ["a", "b", "c"] {
        registry.store.push("x", tag, wasm.clone()).await.unwrap();
    }
    let (_, headers, body) = registry.ask(Method::GET, "/v2/x/tags/list?n=2", &[], Body::empty()).await;
    assert!(String::from_utf8_lossy(&body).contains(r#"["a","b"]"#));
    assert_eq!(headers["link"], "</v2/x/tags/list?n=2&last=b>; rel=\"next\"");
    let (_, headers, body) = registry.ask(Method::GET, "/v2/x/tags/list?n=2&last=b", &[], Body::empty()).await;
    assert!(String::from_utf8_lossy(&body).contains(r#"["c"]"#) && !headers.contains_key("link"));
    // A tag goes alone, its manifest stays for those who know the digest; with the manifest go its tags.
    assert_eq!(registry.ask(Method::DELETE, "/v2/x/manifests/a", &[], Body::empty()).await.0, StatusCode::ACCEPTED);
    let digest = registry.store.index().repositories["x"].tags["b"].clone();
    let manifest = format!("/v2/x/manifests/{digest}");
    assert_eq!(registry.ask(Method::HEAD, &manifest, &[], Body::empty()).await.0, StatusCode::OK);
    assert_eq!(registry.ask(Method::DELETE, &manifest, &[], Body::empty()).await.0, StatusCode::ACCEPTED);
    assert_eq!(registry.ask(Method::GET, "/v2/x/tags/list", &[], Body::empty()).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_stock_is_told_and_taken_from() {
    let registry = Registry::new();
    let wasm = Bytes::from(wat::parse_str("(component)").unwrap());
    registry.store.push("x", "v1", wasm).await.unwrap();
    let (_, _, body) = registry.ask(Method::GET, "/v2/_coracle/images", &[], Body::empty()).await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["images"][0]["names"], serde_json::json!(["coracle.local/x:v1"]));
    let remove = "/v2/_coracle/images?reference=coracle.local/x:v1";
    assert_eq!(registry.ask(Method::DELETE, remove, &[], Body::empty()).await.0, StatusCode::ACCEPTED);
    assert_eq!(registry.ask(Method::DELETE, remove, &[], Body::empty()).await.0, StatusCode::NOT_FOUND);
    let (status, _, body) = registry.ask(Method::DELETE, "/v2/_coracle/unused", &[], Body::empty()).await;
    assert!(status.is_success() && String::from_utf8_lossy(&body).contains("bytes"));
}

#[tokio::test]
async fn a_manifest_that_is_too_large_is_read_to_its_end_and_refused() {
    let registry = Registry::new();
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(9));
    let counted = std::sync::Arc::clone(&left);
    let chunks = futures::stream::iter((0..9).map(move |_| {
        counted.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20]))
    }));
    let (status, _, body) =
        registry.ask(Method::PUT, "/v2/team/hello/manifests/v1", &[], Body::from_stream(chunks)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(String::from_utf8_lossy(&body).contains("a manifest may have 4 MiB"));
    // A client that is still writing would not see the answer.
    assert_eq!(left.load(std::sync::atomic::Ordering::Relaxed), 0);
}
