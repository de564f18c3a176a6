//! Puts pods on nodes.
//!
//! *Owns*: the decision which node a pod goes to ([`decide`]), the queue of pods that wait for one, and what is told
//! about pods that fit nowhere (the condition `PodScheduled`, the event `FailedScheduling`).
//!
//! *Does not know*: any server, what a node does with a pod, wasmtime. It reads pods and nodes and writes bindings,
//! through a `kube::Client`.
//!
//! *Entry point*: [`start`].
//!
//! ```text
//! informers ──▶ Cluster (what is where, with what this scheduler assumes) ──▶ decide(pod, cluster, seed) ──▶ bind
//!                  ▲                                                             └ fits nowhere ──▶ wait, tell why
//!                  └── pods and nodes that change wake the pods that wait
//! ```
//!
//! *Guarantees*: a decision is a pure function of the pod, the cluster and the seed; no node is given more than it has,
//! also while bindings are on their way (a pod counts on its node from the decision on).

#![forbid(unsafe_code)]

use base::Tasks;
use base::metrics::Metrics;
use client::Client;
use client::events::Recorder;
use client::informers::Informers;
use k8s_openapi::api::core::v1::{Node, Pod};

mod bind;
mod cluster;
mod decide;
mod filters;
mod metrics;
mod queue;
mod resources;
mod run;
mod scores;
#[cfg(test)]
mod tests;

/// How the scheduler behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pods that are its own are those with this `spec.schedulerName`.
    pub name: String,
    /// Decides between nodes that are equally good.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "default-scheduler".to_owned(), seed: 0 }
    }
}

/// Schedules until `tasks` are told to stop.
pub fn start(client: Client, informers: &Informers, config: Config, tasks: &Tasks, metrics: &Metrics) {
    let (pods, nodes) = (informers.of::<Pod>(), informers.of::<Node>());
    let events = Recorder::new(client.clone(), tasks, config.name.clone(), None);
    let binder = bind::Binder::new(client, events, config.name.clone());
    let scheduler = run::Scheduler::new(pods, nodes, binder, config, metrics::SchedulerMetrics::new(metrics));
    let shutdown = tasks.shutdown();
    tasks.service("scheduler", async move {
        tokio::select! {
            () = scheduler.run() => {}
            () = shutdown.cancelled() => {}
        }
    });
}
