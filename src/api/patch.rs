//! The four ways to change an object by a patch, and the three-way difference of `apply`.

use serde_json::Value;

use crate::schema::Definition;
use crate::status::Status;

/// `application/json-patch+json`: `patch` is the list of operations. Errors: 400 malformed, 413 too many, 422 not applicable.
pub fn json(_object: &mut Value, _patch: &Value) -> Result<(), Status> {
    Ok(())
}

/// `application/merge-patch+json` (RFC 7386).
pub fn merge(_object: &mut Value, _patch: &Value) {}

/// `application/strategic-merge-patch+json`.
pub fn strategic(_object: &mut Value, _patch: &Value, _definition: &'static Definition) -> Result<(), Status> {
    Ok(())
}

/// The strategic merge patch that brings `current` to `modified`, deleting what `original` (last applied) had and
/// `modified` has not.
pub fn three_way(
    _original: &Value,
    _modified: &Value,
    _current: &Value,
    _definition: &'static Definition,
) -> Result<Value, Status> {
    Ok(Value::Null)
}

/// The same as a JSON merge patch, for kinds without merge keys.
pub fn three_way_merge(_original: &Value, _modified: &Value, _current: &Value) -> Value {
    Value::Null
}
