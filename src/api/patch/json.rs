//! JSON patch (RFC 6902) within limits.

use json_patch::PatchOperation;
use serde_json::Value;

use crate::status::Status;

const OPERATIONS_MAX: usize = 10_000;
/// What all `copy` operations of a patch together may add: doubling a value a few dozen times would fill any memory.
const COPIED_BYTES_MAX: usize = 3 << 20;

/// `application/json-patch+json`: `patch` is the list of operations. Refused with 400 when malformed, 413 when too long,
/// 422 when it does not fit the object, which is then untouched.
pub fn json(object: &mut Value, patch: &Value) -> Result<(), Status> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > OPERATIONS_MAX {
        return Err(Status::too_large(format!(
            "Request entity is too large: The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}"
        )));
    }
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|why| Status::bad_request(format!("error decoding patch: {why}")))?;
    let mut changed = object.clone();
    let mut copied = 0;
    for operation in operations.0 {
        if let PatchOperation::Copy(copy) = &operation {
            copied += changed.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
            if copied > COPIED_BYTES_MAX {
                return Err(refused());
            }
        }
        json_patch::patch_unsafe(&mut changed, std::slice::from_ref(&operation)).map_err(|_| refused())?;
    }
    *object = changed;
    Ok(())
}

/// Kubernetes does not say why.
fn refused() -> Status {
    Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
}
