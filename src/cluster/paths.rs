//! Where a cluster keeps what.

use std::path::{Path, PathBuf};

/// The data folder's rooms. Deleting the folder deletes the cluster; the compile cache lies elsewhere, since it can be
/// made again and is shared by all clusters of a user.
#[derive(Clone, Debug)]
pub struct Paths {
    /// All of it.
    pub data: PathBuf,
}

impl Paths {
    /// The folders in `data`.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }
    /// The object store's files and their copies.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }
    /// The certificate authority.
    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }
    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }
    /// What the node keeps: logs and volumes.
    pub fn node(&self) -> PathBuf {
        self.data.join("node")
    }
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }
    /// Compiled components, in the user's cache folder. A user without one gets a cache of this cluster alone: what is
    /// loaded as native code does not lie where others can put files.
    pub fn artifacts(&self) -> PathBuf {
        directories::ProjectDirs::from("dev", "coracle", "coracle")
            .map_or_else(|| self.data.join("cache"), |folders| folders.cache_dir().to_owned())
            .join("artifacts")
    }
}
