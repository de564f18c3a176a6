//! The built-in registry: OCI distribution under `/v2/`.
//!
//! Names may hold slashes, so that paths are read from their end: `NAME/blobs/DIGEST`, `NAME/manifests/REFERENCE`,
//! `NAME/blobs/uploads/ID`, `NAME/tags/list`, `NAME/referrers/DIGEST`. Blobs are shared by all repositories of the store. Who may
//! do what is decided before a request comes here.
//!
//! Beside the protocol, `/v2/_coracle/images` tells what the store holds, and takes images out of it. No repository can have
//! such a name.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use serde_json::json;

use crate::store::StoreError;
use crate::{Digest, ImageStore};

mod blobs;
mod manifests;
mod referrers;
mod stock;
#[cfg(test)]
mod tests;
mod uploads;

pub(crate) use uploads::Uploads;

const DIGEST_HEADER: &str = "docker-content-digest";

/// The routes `/v2/…` of a store, for push and pull.
pub fn router(store: ImageStore) -> Router {
    Router::new()
        .route("/v2", axum::routing::any(answer))
        .route("/v2/", axum::routing::any(answer))
        .route("/v2/{*rest}", axum::routing::any(answer))
        .with_state(store)
}

/// What went wrong, in OCI's words.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
    fn unsupported(what: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", format!("{what} is not offered"))
    }
    fn bad_digest(text: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", format!("{text:?} is not a sha256 digest"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "code": self.code, "message": self.message, "detail": null }] });
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body is not read, so that this connection is of no use any more.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::DigestMismatch { .. } => Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message),
            StoreError::BlobUnknown(_) => Self::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", message),
            StoreError::ManifestInvalid(_) => Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message),
            StoreError::Io(error) if base::os::is_disk_full(&error) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "DENIED", message)
            }
            StoreError::InUse(_) => Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message),
            StoreError::Io(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        StoreError::Io(error).into()
    }
}

type Answer = Result<Response, Refusal>;

async fn answer(State(store): State<ImageStore>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = dispatch(&store, &parts, body).await.unwrap_or_else(IntoResponse::into_response);
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    response
}

/// A path below `/v2/`.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Ping,
    Catalog,
    Tags { name: &'a str },
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Begin { name: &'a str },
    Upload { name: &'a str, id: &'a str },
    Referrers { name: &'a str, digest: &'a str },
    Stock { what: &'a str },
}

fn route(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
    if rest.is_empty() {
        return Some(Route::Ping);
    }
    if rest == "_catalog" {
        return Some(Route::Catalog);
    }
    if let Some(what) = rest.strip_prefix("_coracle/") {
        return Some(Route::Stock { what });
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some(Route::Tags { name });
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
        return Some(Route::Begin { name });
    }
    let (head, last) = rest.rsplit_once('/')?;
    if let Some(name) = head.strip_suffix("/blobs/uploads") {
        return Some(Route::Upload { name, id: last });
    }
    if let Some(name) = head.strip_suffix("/manifests") {
        return Some(Route::Manifest { name, reference: last });
    }
    if let Some(name) = head.strip_suffix("/referrers") {
        return Some(Route::Referrers { name, digest: last });
    }
    head.strip_suffix("/blobs").map(|name| Route::Blob { name, digest: last })
}

async fn dispatch(store: &ImageStore, parts: &Parts, body: Body) -> Answer {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path");
    let route = route(parts.uri.path()).ok_or_else(unknown)?;
    let (Route::Tags { name }
    | Route::Manifest { name, .. }
    | Route::Blob { name, .. }
    | Route::Begin { name }
    | Route::Referrers { name, .. }
    | Route::Upload { name, .. }) = &route
    else {
        return match route {
            Route::Catalog => manifests::catalog(store, &Query::of(parts)),
            Route::Stock { what } => stock::answer(store, parts, what).await,
            _ => Ok(axum::Json(json!({})).into_response()),
        };
    };
    if !crate::reference::is_repository(name) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "NAME_INVALID",
            format!("{name:?} cannot name a repository"),
        ));
    }
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    match route {
        Route::Tags { name } if reads => manifests::tags(store, name, &Query::of(parts)),
        Route::Referrers { name, digest } if reads => referrers::answer(store, parts, name, digest).await,
        Route::Manifest { name, reference } => manifests::answer(store, parts, name, reference, body).await,
        Route::Blob { name, digest } => blobs::answer(store, parts, name, digest).await,
        Route::Begin { name } if parts.method == Method::POST => uploads::begin(store, parts, name, body).await,
        Route::Upload { name, id } => uploads::answer(store, parts, name, id, body).await,
        _ => Err(Refusal::unsupported("this method")),
    }
}

/// The parameters of a request that this registry knows.
#[derive(Debug, Default)]
struct Query {
    n: Option<usize>,
    last: Option<String>,
    digest: Option<String>,
    mount: Option<String>,
    artifact_type: Option<String>,
    reference: Option<String>,
}

impl Query {
    fn of(parts: &Parts) -> Self {
        let mut query = Self::default();
        for (name, value) in parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
            let value = unescape(value);
            match name {
                "n" => query.n = value.parse().ok(),
                "last" => query.last = Some(value),
                "digest" => query.digest = Some(value),
                "mount" => query.mount = Some(value),
                "artifactType" => query.artifact_type = Some(value),
                "reference" => query.reference = Some(value),
                _ => {}
            }
        }
        query
    }
}

/// Undoes percent-encoding. What is no escape stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn header_of(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `201 Created` at a place.
fn created(location: &str, digest: &Digest) -> Response {
    let headers = [(header::LOCATION.as_str(), location), (DIGEST_HEADER, digest.as_str())];
    (StatusCode::CREATED, headers, ()).into_response()
}
