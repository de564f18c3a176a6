//! Puts pods on nodes.
//!
//! *Owns*: the decision which node a pod goes to, the queue of pods that wait for one, who gives way to whom, and what is told
//! about pods that fit nowhere (the condition `PodScheduled`, the event `FailedScheduling`).
//!
//! *Does not know*: any server, what a node does with a pod, wasmtime. It reads pods, nodes and volumes and writes bindings,
//! through a `kube::Client`.
//!
//! *Entry point*: [`start`]; [`plugins`] is the table of what is considered; [`Simulation`] decides without any server.
//!
//! ```text
//! informers ──▶ Cluster (what is where, as sums) ──▶ Case (a pod and what is known for it) ──▶ decide: filters, scores, seed
//!    │             ▲ assumed pods count at once                                                  │
//!    └──▶ events ──┴▶ Queue: active, backoff, unschedulable ◀── fits nowhere: preempt? tell why ─┴▶ bind, after its volumes
//! ```
//!
//! *Guarantees*: a decision is a pure function of the pod, the cluster, the profile and the seed; no node is given more than it
//! has, also while bindings are on their way (a pod counts on its node from the decision on); a pod that fits nowhere is
//! looked at again only for what may have changed that.

#![forbid(unsafe_code)]

use base::Tasks;
use client::Client;
use client::events::Recorder;
use client::informers::Informers;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;

mod ask;
mod bind;
mod case;
mod cluster;
mod config;
mod decide;
mod events;
mod labels;
mod metrics;
mod node;
mod plugins;
mod preemption;
mod profile;
mod queue;
mod resources;
mod run;
mod simulation;
mod tallies;
mod terms;
#[cfg(test)]
mod tests;
mod topology;
mod volumes;

pub use config::{Config, ConfigError};
pub use metrics::SchedulerMetrics;
pub use simulation::Simulation;

/// Schedules until `tasks` are told to stop.
pub fn start(client: Client, informers: &Informers, config: Config, tasks: &Tasks, metrics: SchedulerMetrics) {
    let watched = run::Watched {
        pods: informers.of::<Pod>(),
        nodes: informers.of::<Node>(),
        namespaces: informers.of::<Namespace>(),
        budgets: informers.of::<PodDisruptionBudget>(),
        volumes: volumes::Volumes::new(
            informers.of::<PersistentVolumeClaim>(),
            informers.of::<PersistentVolume>(),
            informers.of::<StorageClass>(),
        ),
    };
    let recorder = |name: &str| (name.to_owned(), Recorder::new(client.clone(), tasks, name, None));
    let events = config.names().map(recorder).collect();
    let scheduler = run::Scheduler::new(watched, bind::Binder::new(client, events), config, metrics);
    let shutdown = tasks.shutdown();
    tasks.service("scheduler", async move {
        tokio::select! {
            () = scheduler.run() => {}
            () = shutdown.cancelled() => {}
        }
    });
}
