//! Who refers to an image: signatures, provenance, lists of parts.
//!
//! A manifest that names a subject is found by that, whichever way it was pushed: clients that keep such lists under a tag
//! (`sha256-…`) push the manifests all the same.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::{Answer, Query, Refusal};
use crate::manifest::About;
use crate::store::blocking;
use crate::{Digest, ImageStore};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(super) async fn answer(store: &ImageStore, parts: &Parts, name: &str, digest: &str) -> Answer {
    let subject: Digest = digest.parse().map_err(|_| Refusal::bad_digest(digest))?;
    let wanted = Query::of(parts).artifact_type.filter(|kind| !kind.is_empty());
    let (own, name, filter) = (store.clone(), name.to_owned(), wanted.clone());
    let manifests = blocking(move || find(&own, &name, &subject, filter.as_deref())).await;
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut response: Response = ([(header::CONTENT_TYPE, INDEX)], body.to_string()).into_response();
    if wanted.is_some() {
        response.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn find(store: &ImageStore, name: &str, subject: &Digest, wanted: Option<&str>) -> Vec<Value> {
    let index = store.index();
    let manifests = index.repositories.get(name).map(|repository| repository.manifests.iter());
    let descriptor = |(digest, media_type): (&Digest, &String)| {
        let bytes = store.read(digest).ok()?;
        let about = About::parse(&bytes).ok()?;
        if about.subject.as_ref() != Some(subject)
            || wanted.is_some_and(|kind| about.artifact_type.as_deref() != Some(kind))
        {
            return None;
        }
        let mut found = json!({
            "mediaType": about.media_type.unwrap_or_else(|| media_type.clone()),
            "digest": digest.as_str(),
            "size": bytes.len(),
        });
        if let Some(kind) = about.artifact_type {
            found["artifactType"] = kind.into();
        }
        if !about.annotations.is_empty() {
            found["annotations"] = json!(about.annotations);
        }
        Some(found)
    };
    manifests.into_iter().flatten().filter_map(descriptor).collect()
}
