//! Bringing back a checked copy of the store.

use std::path::{Path, PathBuf};

use base::files::{ClaimError, claim};
use thiserror::Error;

use crate::paths::Paths;

/// Why nothing was brought back.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// A cluster runs on this data.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::RestoreError),
}

/// Puts the newest good copy in the place of the store of a cluster that is stopped, keeps the old file beside it, and
/// answers which copy it was.
///
/// # Errors
/// When the cluster runs, or no copy is good. The store is as it was then.
pub fn restore(data_dir: &Path) -> Result<PathBuf, RestoreError> {
    let _claim = claim(data_dir)?;
    Ok(store::restore(&Paths::new(data_dir).store())?.copy)
}
