//! Server-side apply and who owns which field (`metadata.managedFields`).
//!
//! An object is a tree of fields; a [`FieldSet`] names some of them. Every manager that wrote an object has one entry in its
//! `managedFields`: the fields that it wished for last. What an apply wishes is merged into the object, what its manager
//! wished for the last time and nobody wishes for any more goes, and what another manager owns is a conflict unless both
//! want the same.
//!
//! Everything is driven by [`Definition`]: a list of type `map` is a map by its keys, a `set` is a map of its values to
//! themselves, and what is `atomic` is one field whatever is in it. Fields that no schema knows are taken by their form.
//!
//! | to | call |
//! |---|---|
//! | apply a wish | [`applied`] |
//! | record what any other write changed | [`updated`] |
//! | find out whether a write changed more than times in `managedFields` | [`same_but_times`] |

mod check;
mod compare;
mod extract;
mod fields;
mod last_applied;
mod managers;
mod merge;
mod operation;
#[cfg(test)]
mod tests;
mod types;

use serde_json::Value;

use crate::schema::Definition;

pub(crate) use check::bare as as_go;
pub use fields::FieldSet;
pub use managers::{Entry, Managers};
pub use operation::{Applied, Refused, applied, same_but_times, updated};

/// Who writes, through which version and to which part.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The manager's name; empty is `unknown`.
    pub manager: &'a str,
    /// The version that the request speaks.
    pub api_version: &'a str,
    /// `status`, `scale`, or empty for the object itself.
    pub subresource: &'a str,
    /// When, as it is written into the object.
    pub now: &'a str,
}

/// Which fields a write can change at all; the others are put back afterwards, and so nobody comes to own them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach<'a> {
    /// Only these fields of the object, where given.
    pub only: Option<&'a [&'a str]>,
    /// Not these fields of the object.
    pub without: &'a [&'a str],
    /// Not these fields of its metadata.
    pub metadata_without: &'a [&'a str],
}

impl Reach<'_> {
    fn has(&self, field: &str) -> bool {
        self.only.is_none_or(|only| only.contains(&field)) && !self.without.contains(&field)
    }
}

/// The versions of one kind, for managers that wrote through another one than the request's.
pub trait Versions {
    /// The fields of the kind at a version: `None` when it is not served, an inner `None` when nothing is known of them.
    fn definition(&self, api_version: &str) -> Option<Option<&Definition>>;
    /// An object of the request's version, or of any other that [`Versions::definition`] knows, at `to`. `None` when that
    /// cannot be known here and now; managers of that version are then left as they are.
    fn convert(&self, object: &Value, to: &str) -> Option<Value>;
}
