//! Manifests, tags and the catalog.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::{Answer, DIGEST_HEADER, Query, Refusal, created, header_of};
use crate::manifest::About;
use crate::reference::is_tag;
use crate::store::blocking;
use crate::{Digest, ImageStore, artifact};

/// What OCI asks registries to take at least.
const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// How much of a manifest is read at the most, the part included that nobody wants.
const SWALLOWED_BYTES_MAX: usize = 64 << 20;
const SWALLOWED_WITHIN: Duration = Duration::from_secs(60);
const PAGE_MAX: usize = 1000;

pub(super) async fn answer(store: &ImageStore, parts: &Parts, name: &str, reference: &str, body: Body) -> Answer {
    match parts.method {
        Method::GET | Method::HEAD => read(store, name, reference, parts.method == Method::HEAD).await,
        Method::PUT => write(store, parts, name, reference, body).await,
        Method::DELETE => delete(store, name, reference).await,
        _ => Err(Refusal::unsupported("this method")),
    }
}

fn unknown(name: &str, reference: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("{name} has no manifest {reference:?}"))
}

async fn read(store: &ImageStore, name: &str, reference: &str, head: bool) -> Answer {
    let index = store.index();
    let repository = index.repositories.get(name).ok_or_else(|| unknown(name, reference))?;
    let digest = match reference.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => repository.tags.get(reference).cloned().ok_or_else(|| unknown(name, reference))?,
    };
    let media_type = repository.manifests.get(&digest).ok_or_else(|| unknown(name, reference))?.clone();
    let (store, wanted) = (store.clone(), digest.clone());
    let bytes = blocking(move || store.read(&wanted)).await?;
    let response = Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CONTENT_LENGTH, bytes.len())
        .header(header::ETAG, format!("\"{digest}\""))
        .header(DIGEST_HEADER, digest.as_str())
        .body(if head { Body::empty() } else { Body::from(bytes) });
    response.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string()))
}

async fn write(store: &ImageStore, parts: &Parts, name: &str, reference: &str, body: Body) -> Answer {
    let expected = reference.parse::<Digest>().ok();
    if expected.is_none() && !is_tag(reference) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "TAG_INVALID", format!("{reference:?} cannot be a tag")));
    }
    let bytes = whole(body).await?;
    let found = Digest::of(&bytes);
    if let Some(expected) = expected.as_ref().filter(|expected| **expected != found) {
        let message = format!("the manifest has digest {found} and not {expected}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message));
    }
    let media_type = header_of(&parts.headers, header::CONTENT_TYPE).unwrap_or(artifact::MANIFEST).to_owned();
    let tag = expected.is_none().then(|| reference.to_owned());
    let subject = About::parse(&bytes).ok().and_then(|about| about.subject);
    let (store, repository) = (store.clone(), name.to_owned());
    let digest = blocking(move || store.put_manifest(&repository, tag.as_deref(), &media_type, &bytes)).await?;
    let mut response = created(&format!("/v2/{name}/manifests/{reference}"), &digest);
    // Says that the subject's referrers will list this one, so that the client need not keep a list of its own.
    if let Some(subject) = subject.and_then(|subject| HeaderValue::from_str(subject.as_str()).ok()) {
        response.headers_mut().insert("oci-subject", subject);
    }
    Ok(response)
}

/// All of a manifest. Of one that is too large the rest is read too, and forgotten: who is still writing does not see the
/// answer, and a connection that is closed while bytes come is reset, with the answer on it.
async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let mut chunks = body.into_data_stream();
    let (mut held, mut size) = (BytesMut::new(), 0);
    let reading = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", format!("the manifest broke off: {error}"))
            })?;
            size += chunk.len();
            if size <= MANIFEST_BYTES_MAX {
                held.extend_from_slice(&chunk);
                continue;
            }
            held = BytesMut::new();
            if size > SWALLOWED_BYTES_MAX {
                break;
            }
        }
        Ok::<_, Refusal>(())
    };
    let in_time = tokio::time::timeout(SWALLOWED_WITHIN, reading).await;
    match in_time {
        Ok(read) => read?,
        Err(_) => {
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "UNKNOWN", "the manifest did not come in time"));
        }
    }
    if size > MANIFEST_BYTES_MAX {
        let message = format!("a manifest may have {} MiB", MANIFEST_BYTES_MAX >> 20);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
    }
    Ok(held.freeze())
}

async fn delete(store: &ImageStore, name: &str, reference: &str) -> Answer {
    let (store, owned_name, owned) = (store.clone(), name.to_owned(), reference.to_owned());
    let deleted = blocking(move || {
        store.change(|index| {
            let Some(repository) = index.repositories.get_mut(&owned_name) else { return false };
            let deleted = match owned.parse::<Digest>() {
                Ok(digest) => {
                    repository.tags.retain(|_, tagged| *tagged != digest);
                    repository.manifests.remove(&digest).is_some()
                }
                Err(_) => repository.tags.remove(&owned).is_some(),
            };
            if repository.tags.is_empty() && repository.manifests.is_empty() {
                index.repositories.remove(&owned_name);
            }
            deleted
        })
    });
    if deleted.await? { Ok(StatusCode::ACCEPTED.into_response()) } else { Err(unknown(name, reference)) }
}

pub(super) fn tags(store: &ImageStore, name: &str, query: &Query) -> Answer {
    let index = store.index();
    let repository = index.repositories.get(name).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("there is no repository {name:?}"))
    })?;
    let (page, more) = page(repository.tags.keys(), query);
    Ok(paged(json!({ "name": name, "tags": page }), more.map(|last| format!("/v2/{name}/tags/list?{last}"))))
}

pub(super) fn catalog(store: &ImageStore, query: &Query) -> Answer {
    let index = store.index();
    let (page, more) = page(index.repositories.keys(), query);
    Ok(paged(json!({ "repositories": page }), more.map(|last| format!("/v2/_catalog?{last}"))))
}

/// A page of names in order, and the query of the next one.
fn page<'a>(names: impl Iterator<Item = &'a String>, query: &Query) -> (Vec<&'a String>, Option<String>) {
    let limit = query.n.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let mut rest = names.filter(|name| query.last.as_ref().is_none_or(|last| *name > last));
    let page: Vec<&String> = rest.by_ref().take(limit).collect();
    let more = rest.next().and_then(|_| page.last().map(|last| format!("n={limit}&last={}", escape(last))));
    (page, more)
}

/// A name as a query holds it. Names of repositories and tags hold few letters that need it.
fn escape(name: &str) -> String {
    name.replace('/', "%2F")
}

fn paged(body: serde_json::Value, next: Option<String>) -> Response {
    let mut response = axum::Json(body).into_response();
    if let Some(link) = next.and_then(|next| format!("<{next}>; rel=\"next\"").parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
