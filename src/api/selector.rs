//! Selecting objects: by label, and by field.

mod field;
mod label;
mod lexer;
#[cfg(test)]
mod tests;

pub use field::{FieldSelector, FieldTerm, fields_of};
pub use label::{LabelSelector, Operator, Requirement, validate_label_selector};

/// Why a text is no selector, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl From<SelectorError> for crate::Status {
    fn from(error: SelectorError) -> Self {
        Self::bad_request(error.0)
    }
}
