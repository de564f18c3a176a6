//! Refusals that more than one verb gives, in Kubernetes' words.

use api::{Cause, Kind, Status};
use store::{CommitError, ListError, Revision};

/// The largest object that is stored.
pub(crate) const OBJECT_BYTES_MAX: usize = 3 << 19;

pub(crate) fn not_found(kind: &Kind, name: &str) -> Status {
    Status::not_found(&kind.group, &kind.plural, name)
}

pub(crate) fn modified(kind: &Kind, name: &str) -> Status {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Status::conflict(&kind.group, &kind.plural, name, why)
}

pub(crate) fn precondition(kind: &Kind, name: &str, what: &str, wanted: &str, found: &str) -> Status {
    let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
    Status::conflict(&kind.group, &kind.plural, name, &why)
}

/// 403 that no authorizer gave.
pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Status {
    let resource = api::status::qualified(&kind.group, &kind.plural);
    let mut status = Status::new(403, "Forbidden", format!("{resource} {name:?} is forbidden: {why}"));
    status.group.clone_from(&kind.group);
    status.kind.clone_from(&kind.plural);
    name.clone_into(&mut status.name);
    status
}

/// A commit that failed for a reason other than a changed object.
///
/// A full disk is 507 and not 503: clients try a 503 again for minutes without a word, and nobody learns what to free.
pub(crate) fn not_committed(error: &CommitError) -> Status {
    match error {
        CommitError::Full => {
            let message = error.to_string();
            let mut status = Status::new(507, "InsufficientStorage", message.clone());
            status.causes.push(Cause { reason: "StorageFull".into(), message, field: String::new() });
            status
        }
        other => Status::unavailable(other.to_string()),
    }
}

pub(crate) fn not_read(error: &ListError) -> Status {
    Status::unavailable(error.to_string())
}

/// 410: the watch or list is from too long ago.
pub(crate) fn too_old(asked: Revision, oldest: Revision) -> Status {
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// 504: the server is not there yet.
pub(crate) fn too_new(asked: Revision, newest: Revision) -> Status {
    let mut status = Status::timeout(format!("Too large resource version: {asked}, current: {newest}"));
    let message = "Too large resource version".to_owned();
    status.causes.push(Cause { reason: "ResourceVersionTooLarge".into(), message, field: String::new() });
    status
}

/// Reads a resourceVersion that a client sent; `None` when it said nothing.
pub(crate) fn revision(text: Option<&str>) -> Result<Option<Revision>, Status> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = text.parse().map_err(|_| {
        Status::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a whole number or empty"))
    })?;
    Ok(Some(Revision(parsed)))
}
