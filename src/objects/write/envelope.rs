//! What the server itself writes into an object's metadata, and what it refuses there.

use api::{Kind, Status, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Makes an object one of `kind` in `namespace`, or says why it is another one's.
pub(super) fn settle(kind: &Kind, namespace: Option<&str>, object: &mut Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the body must be an object"));
    }
    let version = kind.api_version();
    let said = |object: &Value, field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (said_version, said_kind) = (said(object, "apiVersion"), said(object, "kind"));
    if !said_version.is_empty() && said_version != version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({said_version}) does not match the expected API version ({version})"
        )));
    }
    if !said_kind.is_empty() && said_kind != kind.kind {
        return Err(Status::bad_request(format!(
            "{said_kind} in version {:?} cannot be handled as a {}: expected kind {:?}",
            kind.version, kind.kind, kind.kind
        )));
    }
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind.kind);
    match namespace.filter(|_| kind.namespaced()) {
        Some(namespace) => {
            let sent = meta::namespace(object);
            if !sent.is_empty() && sent != namespace {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            meta::set(object, "namespace", namespace);
        }
        None => meta::unset(object, "namespace"),
    }
    Ok(())
}

/// The identity of a new object.
pub(super) fn stamp(kind: &Kind, object: &mut Value, now: Timestamp) {
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        meta::unset(object, field);
    }
    meta::set(object, "uid", uid(now).to_string());
    meta::set(object, "creationTimestamp", meta::time_text(now));
    if kind.behaviour.has_generation() {
        meta::set(object, "generation", 1);
    }
}

/// A new uid: one of those that begin with their time (version 7), so that who measures knows of more than the whole seconds of
/// the creation's time.
fn uid(now: Timestamp) -> uuid::Uuid {
    let made = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let [a, b, c, d, e, f, _, g, _, h, i, j, ..] = uuid::Uuid::new_v4().into_bytes();
    uuid::Builder::from_unix_timestamp_millis(made, &[a, b, c, d, e, f, g, h, i, j]).into_uuid()
}

/// Counts `metadata.generation` up where something that somebody has to act on changed.
pub(super) fn bump(kind: &Kind, object: &mut Value, old: &Value) {
    let counted = api::kinds::overwriting::counted_metadata(kind);
    let metadata = |object, field: &&str| meta::metadata(object).get(*field);
    let noted = |field: &&str| metadata(object, field) != metadata(old, field);
    if kind.behaviour.has_generation() && (differs(kind, object, old) || counted.iter().any(noted)) {
        meta::set(object, "generation", meta::generation(old) + 1);
    }
}

/// Whether anything but metadata and status differs.
fn differs(kind: &Kind, object: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (object.as_object(), old.as_object()) else { return object != old };
    let status = kind.behaviour.status_counts();
    let counts = |key: &str| !matches!(key, "metadata" | "apiVersion" | "kind") && (status || key != "status");
    new.iter().any(|(key, value)| counts(key) && old.get(key) != Some(value))
        || old.keys().any(|key| counts(key) && !new.contains_key(key))
}
