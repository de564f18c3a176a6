//! The place of `metadata.managedFields`: who owns which field.
//!
//! Ownership is not tracked yet. What clients send of it is dropped, so that nobody is told of owners that nothing keeps
//! up to date.

use api::meta;
use serde_json::Value;

/// Takes the ownership that came with an object away.
pub(crate) fn strip(object: &mut Value) {
    meta::unset(object, "managedFields");
}
