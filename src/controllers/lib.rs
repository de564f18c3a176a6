//! The controllers: each watches what is wanted and what is there, and moves the second towards the first.
//!
//! *Owns*: one folder a controller (wiring, `plan` as a pure function, `act`, tests), which of them run
//! ([`Selection`]), and what they share: who [claims](claims) what, what the state of a pod [means](pods).
//!
//! *Does not know*: any server or store, nodes' insides, wasmtime. Everything goes through a `kube::Client`, each
//! controller under its own user.
//!
//! *Entry point*: [`start`].
//!
//! ```text
//! observe (informers) → plan (pure: wanted × seen × now → Plan) → act (writes, events) → publish (status)
//! ```
//!
//! Level-triggered: a run gets a key and looks for itself. A run that finds nothing to do writes nothing.

#![forbid(unsafe_code)]

use std::sync::Arc;

use base::Tasks;
use base::metrics::Metrics;
use client::Client;
use client::controller::ControllerMetrics;
use client::events::Recorder;
use client::informers::Informers;

mod account_tokens;
mod bootstrap_signer;
mod canary;
mod certificates;
mod changed;
mod claims;
mod cluster_role_aggregation;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod ephemeral_volume;
mod flow_schemas;
mod garbage_collector;
mod history;
mod horizontal_pod_autoscaler;
mod job;
mod keys;
mod kinds;
mod local_path;
mod namespace;
mod node_lifecycle;
mod node_taints;
mod owners;
mod persistent_volume;
mod pod_control;
mod pod_gc;
mod pods;
mod replica_set;
mod resource_quota;
mod root_ca;
mod selection;
mod selector_text;
mod service_account;
mod service_cidrs;
mod slices;
mod stateful_set;
mod storage_protection;
mod suffix;
mod taint_eviction;
mod token_cleaner;
mod ttl;
mod ttl_after_finished;
mod volume_expander;

pub use keys::{CertificateWish, Keys};
pub use node_lifecycle::NodeSettings;
pub use selection::{ALL, Entry, Selection, SelectionError};

/// What the controllers are given besides clients.
#[derive(Clone, Default)]
pub struct Config {
    /// Signs certificates and tokens, where the cluster's keys are here.
    pub keys: Option<Arc<dyn Keys>>,
    /// The CA that signs the API server's certificate, in PEM. Each namespace gets it as the ConfigMap
    /// `kube-root-ca.crt`.
    pub ca_certificate: Option<String>,
    /// How nodes are watched over.
    pub nodes: NodeSettings,
    /// How many pods that have ended are kept, where that is not the usual number.
    pub terminated_pods: Option<usize>,
}

/// What one controller is started with.
pub struct Rig {
    client: Client,
    informers: Informers,
    config: Arc<Config>,
    metrics: ControllerMetrics,
    tasks: Tasks,
}

impl Rig {
    fn recorder(&self, component: &str) -> Recorder {
        Recorder::new(self.client.clone(), &self.tasks, component, None)
    }
}

/// Starts the selected controllers. `client_for` gives each a client under its own identity
/// ([`Entry::identity`]); the informers may be shared with the other rooms of the process.
pub fn start(
    client_for: impl Fn(&str) -> Client,
    informers: &Informers,
    selection: &Selection,
    config: Config,
    tasks: &Tasks,
    metrics: &ControllerMetrics,
) {
    let config = Arc::new(config);
    for entry in selection.entries() {
        tracing::debug!(controller = entry.name, "starting");
        entry.start(Rig {
            client: client_for(entry.identity),
            informers: informers.clone(),
            config: config.clone(),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
        });
    }
}

/// The metrics that [`start`] needs; make them once a process.
pub fn metrics(metrics: &Metrics) -> ControllerMetrics {
    ControllerMetrics::new(metrics)
}
