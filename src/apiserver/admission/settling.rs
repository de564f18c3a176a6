//! What becomes of an object that a webhook or a policy changed, and how a refusal names it.

use api::{Kind, Status, meta, strict};
use objects::Review;
use serde_json::{Value, json};

/// An object of `kind` after a change, as it goes on: without fields that the kind does not have, with defaults, and as it
/// is stored.
///
/// # Errors
/// Why it is no object of the kind any more.
pub(super) async fn settle(review: &Review<'_>, kind: &Kind, object: Value) -> Result<Value, String> {
    let mut object = object;
    if !object.is_object() {
        return Err("the changed object is no object".to_owned());
    }
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    if let Some(definition) = kind.definition() {
        strict::shape(&mut object, definition)?;
    }
    kind.behaviour.default(&mut object);
    review.stored_from(kind, object).await.map_err(|status| status.message)
}

/// How messages name the object of a request.
fn name<'a>(review: &'a Review<'_>) -> &'a str {
    let told = if review.name.is_empty() { meta::name(&review.object) } else { review.name };
    if told.is_empty() { "Unknown" } else { told }
}

/// The 403 for a request: `pods "x" is forbidden: why`.
pub(super) fn forbidden(review: &Review<'_>, why: &str) -> Status {
    let (kind, name) = (review.requested, name(review));
    let resource = api::status::qualified(&kind.group, &kind.plural);
    let mut status = Status::new(403, "Forbidden", format!("{resource} {name:?} is forbidden: {why}"));
    status.group.clone_from(&kind.group);
    status.kind.clone_from(&kind.plural);
    name.clone_into(&mut status.name);
    status
}
