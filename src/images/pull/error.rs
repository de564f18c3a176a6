//! Why an image is not here, in words that end up in a pod's status.

use thiserror::Error;

use crate::manifest::ContentError;
use crate::{Reference, ReferenceError, WasmError};

/// Why an image is not here.
#[derive(Clone, Debug, Error)]
pub enum PullError {
    /// The reference is none.
    #[error("{0}")]
    InvalidName(#[from] ReferenceError),
    /// It is not here, and the spec says not to pull it.
    #[error("container image {0:?} is not present with pull policy of Never")]
    NeverPull(String),
    /// It is here for those who have credentials for it, and the spec says not to ask the registry.
    #[error("container image {0:?} is present, but was pulled with credentials that this pod does not have")]
    NotAllowed(String),
    /// The registry (or the built-in store) does not have it.
    #[error("failed to pull image {image:?}: not found{hint}")]
    NotFound {
        /// The whole reference.
        image: String,
        /// What to do, if we know.
        hint: String,
    },
    /// The registry does not let us.
    #[error(
        "failed to pull image {image:?}: {registry} does not authorize this ({why}); name a Secret with credentials in imagePullSecrets"
    )]
    Unauthorized {
        /// The whole reference.
        image: String,
        /// The registry.
        registry: String,
        /// What it says.
        why: String,
    },
    /// The registry does not answer now.
    #[error("failed to pull image {image:?}: {why}")]
    Unavailable {
        /// The whole reference.
        image: String,
        /// What happened.
        why: String,
    },
    /// The registry does not answer as one should.
    #[error("failed to pull image {image:?}: {why}")]
    Registry {
        /// The whole reference.
        image: String,
        /// What happened.
        why: String,
    },
    /// It is something else than a component.
    #[error("image {image:?} cannot run: {why}")]
    Content {
        /// The whole reference.
        image: String,
        /// What it is.
        why: ContentError,
    },
    /// The Wasm file in it is not one, or not one that can become a component.
    #[error("image {image:?} cannot run: {why}")]
    Wasm {
        /// The whole reference.
        image: String,
        /// What it is.
        why: WasmError,
    },
    /// The disk.
    #[error("failed to pull image {image:?}: {why}")]
    Store {
        /// The whole reference.
        image: String,
        /// Why.
        why: String,
    },
}

impl PullError {
    /// Kubernetes' word for it, as a waiting container's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "InvalidImageName",
            Self::NeverPull(_) | Self::NotAllowed(_) => "ErrImageNeverPull",
            Self::Unavailable { .. } => "RegistryUnavailable",
            _ => "ErrImagePull",
        }
    }

    pub(crate) fn store(image: &Reference, why: impl std::fmt::Display) -> Self {
        Self::Store { image: image.to_string(), why: why.to_string() }
    }

    pub(super) fn content(image: &Reference, why: ContentError) -> Self {
        Self::Content { image: image.to_string(), why }
    }
}
