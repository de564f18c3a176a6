//! A request as webhooks and expressions are told of it: `admission.k8s.io/v1` AdmissionRequest.

use api::{Kind, Status, UserInfo};
use objects::Review;
use serde_json::{Map, Value, json};

use super::matching::{Asked, Matched};

/// Everything but the objects and the uid.
pub(super) fn of(asked: &Asked<'_>, matched: &Matched) -> Value {
    let review = asked.review;
    let kind = matched.kind(review);
    let sub = review.sub.name();
    let mut request = json!({
        "kind": object_kind(review, kind),
        "resource": resource(kind),
        "requestKind": object_kind(review, review.requested),
        "requestResource": resource(review.requested),
        "operation": review.operation.name(),
        "userInfo": user(review.user),
        "dryRun": review.dry_run,
    });
    if let Some(request) = request.as_object_mut() {
        for (field, text) in
            [("subResource", sub), ("requestSubResource", sub), ("name", review.name), ("namespace", asked.namespace)]
        {
            if !text.is_empty() {
                request.insert(field.to_owned(), json!(text));
            }
        }
        if !review.options.is_null() {
            request.insert("options".to_owned(), review.options.clone());
        }
    }
    request
}

/// What the object in the request is: one of the kind, or a virtual one.
fn object_kind(review: &Review<'_>, kind: &Kind) -> Value {
    if review.is_whole() {
        return json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    }
    let (group, version, name) = review.object_kind();
    json!({ "group": group, "version": version, "kind": name })
}

fn resource(kind: &Kind) -> Value {
    json!({ "group": kind.group, "version": kind.version, "resource": kind.plural })
}

fn user(user: &UserInfo) -> Value {
    let mut told = Map::new();
    if !user.name.is_empty() {
        told.insert("username".to_owned(), json!(user.name));
    }
    if !user.uid.is_empty() {
        told.insert("uid".to_owned(), json!(user.uid));
    }
    if !user.groups.is_empty() {
        told.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        told.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(told)
}

/// The objects of a request in the version that a webhook or policy wants to see: the new one and the old one, null
/// where there is none.
///
/// # Errors
/// They cannot be converted.
pub(super) async fn objects(review: &Review<'_>, matched: &Matched) -> Result<(Value, Value), Status> {
    let old = review.old.cloned().unwrap_or(Value::Null);
    if !review.is_whole() {
        return Ok((review.object.clone(), old));
    }
    let kind = matched.kind(review);
    let shown = async |object: &Value| match object.is_object() {
        true => review.shown_as(kind, object).await,
        false => Ok(Value::Null),
    };
    Ok((shown(&review.object).await?, shown(&old).await?))
}
