//! The HTTP body that crosses rooms.

mod in_turns;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use thiserror::Error;

pub use in_turns::in_turns;

/// Why a body ended early.
#[derive(Clone, Debug, Error)]
pub enum BodyError {
    /// The other side went away.
    #[error("the connection was closed before the body ended")]
    Closed,
    /// The deadline passed.
    #[error("the deadline passed before the body ended")]
    Deadline,
    /// The guest failed while it wrote the body.
    #[error("the component failed before the body ended: {0}")]
    Guest(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A streaming body. Dropping it cancels whoever writes it.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is all here.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    use http_body_util::BodyExt;
    UnsyncBoxBody::new(http_body_util::Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A body of nothing. It allocates nothing either.
pub fn empty() -> Body {
    use http_body_util::BodyExt;
    UnsyncBoxBody::new(http_body_util::Empty::new().map_err(|never| match never {}))
}
