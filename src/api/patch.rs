//! The four ways to change an object by a patch, and the three-way difference of `apply`.
//!
//! Strategic merge and the three-way difference read merge keys and strategies from a [`Definition`]; what it does not
//! know is merged as a map or replaced as a value.

mod json;
mod merge;
mod place;
mod strategic;
#[cfg(test)]
mod tests;
mod three_way;

use serde_json::Value;

use crate::schema::Definition;
use crate::status::Status;

pub use json::json;
pub use merge::merge;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// `application/strategic-merge-patch+json`. The object is untouched when the patch is refused (400).
pub fn strategic(object: &mut Value, patch: &Value, definition: &Definition) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    let mut changed = object.clone();
    strategic::merge_map(&mut changed, patch, place::Place::Fields(definition))?;
    *object = changed;
    Ok(())
}

/// The strategic merge patch that brings `current` to `modified`, deleting what `original` (what was applied last) had
/// and `modified` has not. `{}` when there is nothing to do.
pub fn three_way(
    original: &Value,
    modified: &Value,
    current: &Value,
    definition: &Definition,
) -> Result<Value, Status> {
    three_way::strategic(original, modified, current, place::Place::Fields(definition))
}

/// The same as a JSON merge patch, for kinds without merge keys.
pub fn three_way_merge(original: &Value, modified: &Value, current: &Value) -> Value {
    three_way::merge(original, modified, current)
}
