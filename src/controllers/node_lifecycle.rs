//! Watches over nodes: one that is no longer heard of is said to be unknown, its pods are said not to be ready, and it gets the
//! taint for which pods leave it; slowly, and not at all when everything seems to be down at once.
//!
//! *Owns*: the conditions of nodes that stopped to report, the `NoExecute` taints `not-ready` and `unreachable`, `Ready=False` of
//! pods on such nodes. The `NoSchedule` taints are [`node_taints`](crate::node_taints)'; who leaves a tainted node when is
//! [`taint_eviction`](crate::taint_eviction)'s.
//!
//! ```text
//! nodes, leases, now ──▶ Monitor::step (pure) ──▶ what to write ──▶ act
//!                          ├ health by node: when it was heard of last, by our own clock
//!                          └ zones: how many are down → how fast nodes are tainted
//! ```

use std::time::Duration;

use client::informers::{Informer, Selection};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::Rig;

mod act;
mod health;
mod monitor;
#[cfg(test)]
mod tests;
mod zones;

use act::Actor;
use monitor::{Deed, Monitor};

/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";

/// How nodes are watched, as kube-controller-manager's flags have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeSettings {
    /// How often all nodes are looked at.
    pub monitor_period: Duration,
    /// A node that was not heard of for so long is unknown.
    pub monitor_grace: Duration,
    /// The same for a node that has never reported.
    pub startup_grace: Duration,
    /// How many nodes a second are tainted in a zone that is well.
    pub eviction_rate: f64,
    /// The same in a zone of which a large part is down, when the zone is large.
    pub secondary_eviction_rate: f64,
    /// A zone with more nodes than this is large.
    pub large_zone: usize,
    /// The part of a zone's nodes that makes a disruption.
    pub unhealthy_zone: f64,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            monitor_period: Duration::from_secs(5),
            monitor_grace: Duration::from_secs(50),
            startup_grace: Duration::from_secs(60),
            eviction_rate: 0.1,
            secondary_eviction_rate: 0.01,
            large_zone: 50,
            unhealthy_zone: 0.55,
        }
    }
}

pub(crate) fn start(rig: Rig) {
    let nodes = rig.informers.of::<Node>();
    let pods = rig.informers.of::<Pod>();
    let leases = rig.informers.selected::<Lease>(&Selection::fields(format!("metadata.namespace={LEASES}")));
    let settings = rig.config.nodes;
    let actor = Actor::new(rig.client.clone(), pods.clone(), rig.recorder("node-controller"));
    let watch = Watch { nodes, pods, leases, monitor: Monitor::new(settings), actor, period: settings.monitor_period };
    let shutdown = rig.tasks.shutdown();
    rig.tasks.service("node lifecycle", async move {
        tokio::select! {
            () = watch.run() => {}
            () = shutdown.cancelled() => {}
        }
    });
    crate::node_taints::start(rig);
}

struct Watch {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    leases: Informer<Lease>,
    monitor: Monitor,
    actor: Actor,
    period: Duration,
}

impl Watch {
    async fn run(mut self) {
        tokio::join!(self.nodes.synced(), self.pods.synced(), self.leases.synced());
        let mut changes = self.nodes.changes();
        let mut ticks = tokio::time::interval(self.period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let lease_of = |node: &str| self.leases.get(LEASES, node);
            let deeds = self.monitor.step(Timestamp::now(), &self.nodes.list(), &lease_of);
            for deed in deeds {
                self.actor.carry_out(&deed).await;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                _ = changes.next() => {}
            }
        }
    }
}
