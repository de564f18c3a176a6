//! Registries that ask who somebody is, mirrors, and what breaks off: our own registry behind a door.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http::{StatusCode, header};

use crate::{Credential, Credentials, ImageStore, PullError, PullPolicy, Pulled, Registries};

/// How the door is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Basic,
    Token,
}

#[derive(Clone)]
struct Guard {
    door: Door,
    port: u16,
    /// Answers for blobs that still break off in the middle.
    broken: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let sent =
        request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let known = sent == basic("user", "secret");
    if request.uri().path() == "/token" {
        let scoped = request.uri().query().is_some_and(|query| query.contains("scope=repository%3Ahello%3Apull"));
        let answer = if known && scoped { r#"{"token":"granted"}"# } else { r#"{"token":"nothing"}"# };
        return answer.into_response();
    }
    let (allowed, challenge) = match guard.door {
        Door::Open => (true, String::new()),
        Door::Basic => (known, "Basic realm=\"r\"".to_owned()),
        Door::Token => (
            sent == "Bearer granted",
            format!(
                "Bearer realm=\"http://127.0.0.1:{}/token\",service=\"s\",scope=\"repository:hello:pull\"",
                guard.port
            ),
        ),
    };
    if !allowed {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    }
    let blob = request.uri().path().contains("/blobs/");
    guard.asked.fetch_add(usize::from(blob), Ordering::SeqCst);
    let response = next.run(request).await;
    let breaks =
        blob && guard.broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    if !breaks {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let half = [Ok(bytes.slice(..bytes.len() / 2)), Err(std::io::Error::other("broken"))];
    Response::from_parts(parts, Body::from_stream(futures::stream::iter(half)))
}

/// A registry that has `hello:v1`, for as long as the test runs.
struct Remote {
    guard: Guard,
    store: ImageStore,
    _dir: tempfile::TempDir,
    _serving: tokio::task::JoinSet<()>,
}

impl Remote {
    async fn start(door: Door) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        store.push("hello", "v1", Bytes::from(wat::parse_str("(component)").unwrap())).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let guard = Guard { door, port, broken: Arc::default(), asked: Arc::default() };
        let router = crate::router(store.clone())
            .route("/token", axum::routing::get(|| async {}))
            .layer(axum::middleware::from_fn_with_state(guard.clone(), super::guarded::guard));
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { guard, store, _dir: dir, _serving: serving }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.guard.port)
    }
}

fn credentials(registry: &str, password: &str) -> Credentials {
    Credentials(vec![Credential {
        registry: registry.to_owned(),
        username: "user".to_owned(),
        password: password.to_owned(),
        identity_token: None,
    }])
}

#[tokio::test]
async fn who_has_credentials_pulls_and_the_others_do_not_get_the_copy() {
    for door in [Door::Basic, Door::Token] {
        let remote = Remote::start(door).await;
        let dir = tempfile::tempdir().unwrap();
        let node = ImageStore::open(dir.path()).unwrap();
        let image = format!("{}/hello:v1", remote.host());
        let (right, wrong) = (credentials(&remote.host(), "secret"), credentials(&remote.host(), "guess"));
        let nobody = Credentials::default();
        for refused in [&nobody, &wrong] {
            let error = node.resolve(&image, PullPolicy::IfNotPresent, refused).await.unwrap_err();
            assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
        }
        // The wrong ones are tried first, being more specific; the right ones follow.
        let mut both = credentials(&format!("{}/hello", remote.host()), "guess");
        both.0.extend(right.0.clone());
        node.resolve(&image, PullPolicy::IfNotPresent, &both).await.unwrap();
        let again = node.resolve(&image, PullPolicy::IfNotPresent, &right).await.unwrap();
        assert_eq!(again.pulled, Pulled::AlreadyPresent);
        for refused in [&nobody, &wrong] {
            let error = node.resolve(&image, PullPolicy::IfNotPresent, refused).await.unwrap_err();
            assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
            let error = node.resolve(&image, PullPolicy::Never, refused).await.unwrap_err();
            assert!(matches!(error, PullError::NotAllowed(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_when_it_has_nothing() {
    let (mirror, registry) = (Remote::start(Door::Open).await, Remote::start(Door::Open).await);
    let mut registries = Registries::default();
    for wanted in [&registry.host(), "far.example"] {
        registries.add_mirror(&format!("{wanted}=http://{}", mirror.host())).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let node = ImageStore::open_with(dir.path(), registries).unwrap();
    let far = node.resolve("far.example/hello:v1", PullPolicy::Always, &Credentials::default()).await.unwrap();
    assert!(far.id.starts_with("far.example/hello@sha256:"), "{}", far.id);
    assert_eq!((mirror.guard.asked.load(Ordering::SeqCst) > 0, registry.guard.asked.load(Ordering::SeqCst)), (true, 0));
    let missing = format!("{}/other:v1", registry.host());
    let error = node.resolve(&missing, PullPolicy::Always, &Credentials::default()).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn what_breaks_off_goes_on_and_many_who_ask_pull_once() {
    let remote = Remote::start(Door::Open).await;
    remote.guard.broken.store(2, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let node = ImageStore::open(dir.path()).unwrap();
    let image = format!("{}/hello:v1", remote.host());
    let nobody = Credentials::default();
    let pulls = (0..8).map(|_| node.resolve(&image, PullPolicy::IfNotPresent, &nobody));
    for pulled in futures::future::join_all(pulls).await {
        pulled.unwrap();
    }
    assert_eq!(remote.guard.asked.load(Ordering::SeqCst), 3, "one blob: two halves that broke off, and the rest");
}

#[tokio::test]
async fn the_files_of_an_image_lie_in_a_folder_to_be_read() {
    let remote = Remote::start(Door::Open).await;
    let dir = tempfile::tempdir().unwrap();
    let node = ImageStore::open(dir.path()).unwrap();
    let image = format!("{}/hello:v1", remote.host());
    let fetched =
        node.fetch(&image, PullPolicy::IfNotPresent, &Credentials::default(), crate::Purpose::Files).await.unwrap();
    let files = node.files(&fetched).await.unwrap();
    let found: Vec<_> = std::fs::read_dir(&files.folder).unwrap().flatten().collect();
    assert_eq!(std::fs::read(found[0].path()).unwrap(), wat::parse_str("(component)").unwrap());
    assert!(found[0].metadata().unwrap().permissions().readonly());
}

#[tokio::test]
async fn the_same_content_from_elsewhere_opens_no_door() {
    let (open, guarded) = (Remote::start(Door::Open).await, Remote::start(Door::Basic).await);
    let dir = tempfile::tempdir().unwrap();
    let node = ImageStore::open(dir.path()).unwrap();
    let nobody = Credentials::default();
    let public = node.resolve(&format!("{}/hello:v1", open.host()), PullPolicy::IfNotPresent, &nobody).await.unwrap();
    let image = format!("{}/hello:v1", guarded.host());
    let own = credentials(&guarded.host(), "secret");
    let private = node.resolve(&image, PullPolicy::IfNotPresent, &own).await.unwrap();
    assert_eq!(private.digest, public.digest);
    let error = node.resolve(&image, PullPolicy::IfNotPresent, &nobody).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
}

#[tokio::test]
async fn a_better_image_under_the_same_name_is_heard_of() {
    let remote = Remote::start(Door::Open).await;
    let dir = tempfile::tempdir().unwrap();
    let node = ImageStore::open(dir.path()).unwrap();
    let image = format!("{}/x:v1", remote.host());
    let resolve = async || node.resolve(&image, PullPolicy::IfNotPresent, &Credentials::default()).await;
    super::tests::push(&remote.store, "application/x", &[("application/wasm", b"\x7fELF")]);
    assert!(resolve().await.unwrap_err().to_string().contains("ELF"));
    super::tests::push(
        &remote.store,
        "application/x",
        &[("application/wasm", &wat::parse_str("(component)").unwrap())],
    );
    assert!(matches!(resolve().await.unwrap().pulled, Pulled::Fetched { .. }));
    assert_eq!(resolve().await.unwrap().pulled, Pulled::AlreadyPresent);
}
