//! Decisions without a server: for measuring, and for asking what would be.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::ask::Ask;
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};
use crate::profile::Profile;

/// A cluster that exists in memory only.
pub struct Simulation {
    cluster: Cluster,
    profile: Arc<Profile>,
    seed: u64,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("nodes", &self.cluster.len()).field("seed", &self.seed).finish()
    }
}

impl Simulation {
    /// A cluster without nodes; `seed` decides between nodes that are equally good.
    pub fn new(seed: u64) -> Self {
        Self { cluster: Cluster::default(), profile: Arc::new(Profile::new("default-scheduler")), seed }
    }

    /// Adds a node, or takes in what it says now.
    pub fn put_node(&mut self, node: Node) {
        self.cluster.put_node(Arc::new(node));
    }

    /// Decides where a pod goes and counts it there.
    ///
    /// # Errors
    /// Why it fits nowhere, in Kubernetes' words.
    pub fn schedule(&mut self, pod: Pod) -> Result<String, String> {
        let ask = Ask::of(&Arc::new(pod));
        match decide(&ask, &mut self.cluster, &self.profile, self.seed) {
            Decision::Place(node, _) => {
                self.cluster.place(&ask, &node, false);
                Ok(node)
            }
            Decision::Nowhere(why) => Err(why.to_string()),
        }
    }

    /// Counts a pod no longer.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        self.cluster.remove(&client::informers::Key::new(namespace, name));
    }
}
