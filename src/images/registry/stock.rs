//! What this process has of images and of compiled components, for `coracle images`.

use axum::response::IntoResponse;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::{Answer, Query, Refusal};
use crate::{ImageStore, Reference};

pub(super) async fn answer(store: &ImageStore, parts: &Parts, what: &str) -> Answer {
    match (&parts.method, what) {
        (&Method::GET | &Method::HEAD, "images") => Ok(axum::Json(list(store).await).into_response()),
        (&Method::DELETE, "images") => remove(store, &Query::of(parts)).await,
        // Whoever may push may not delete: this is a method of its own for the sake of rights.
        (&Method::DELETE, "unused") => {
            let collected = store.prune().await?;
            Ok(axum::Json(json!({ "images": collected.images, "bytes": collected.bytes })).into_response())
        }
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path")),
    }
}

async fn list(store: &ImageStore) -> serde_json::Value {
    let compiled = store.compiled().await;
    let images: Vec<_> = store
        .inventory()
        .await
        .into_iter()
        .map(|stored| {
            let component = stored.component.as_ref();
            let forms = component.and_then(|component| compiled.get(component)).cloned().unwrap_or_default();
            json!({
                "names": stored.names,
                "digest": stored.digest.as_str(),
                "size": stored.size,
                "since": stored.since,
                "pods": stored.pods,
                "compiled": forms.iter().map(|form| json!({ "form": form.form, "size": form.size })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "images": images })
}

async fn remove(store: &ImageStore, query: &Query) -> Answer {
    let text = query.reference.as_deref().unwrap_or_default();
    let invalid = |why: String| Refusal::new(StatusCode::BAD_REQUEST, "NAME_INVALID", why);
    let reference: Reference = text.parse().map_err(|error: crate::ReferenceError| invalid(error.to_string()))?;
    let users: Vec<String> = store
        .inventory()
        .await
        .into_iter()
        .filter(|stored| stored.names.iter().any(|name| *name == reference.to_string()) && stored.names.len() == 1)
        .flat_map(|stored| stored.pods)
        .collect();
    if !users.is_empty() {
        let message = format!("{reference} is used by {}; delete the pods first", users.join(", "));
        return Err(Refusal::new(StatusCode::CONFLICT, "DENIED", message));
    }
    if store.remove(&reference).await? {
        Ok(StatusCode::ACCEPTED.into_response())
    } else {
        Err(Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("there is no image {reference}")))
    }
}
