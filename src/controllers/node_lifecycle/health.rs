//! When a node was heard of last, by our own clock: clocks of nodes are not trusted, only that something changes.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::NodeSettings;

const NEVER: &str = "Kubelet never posted node status.";
const STOPPED: &str = "Kubelet stopped posting node status.";
/// What nobody knows of a node that is silent. Its network is somebody else's matter.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is remembered of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// When something of it changed last.
    pub heard: Option<Timestamp>,
    ready: Option<NodeCondition>,
    renewed: Option<Timestamp>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// `Ready`, as the node object says: `True`, `False` or `Unknown`.
    pub observed: String,
    /// The same after this look; none of a node that has yet to report, and still may.
    pub present: Option<String>,
    /// The conditions that are to be written.
    pub conditions: Option<Vec<NodeCondition>>,
}

pub(super) fn ready_of(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")
}

impl Health {
    /// Looks at a node.
    pub fn look(&mut self, node: &Node, lease: Option<&Lease>, now: Timestamp, settings: &NodeSettings) -> Finding {
        let ready = ready_of(node);
        let created = node.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let grace = if ready.is_some() { settings.monitor_grace } else { settings.startup_grace };
        let reported = match (&self.ready, ready) {
            (None, None) => self.heard.is_none().then_some(created),
            (Some(before), Some(present)) => (before.last_heartbeat_time != present.last_heartbeat_time).then_some(now),
            // It reports for the first time, or somebody took its report away.
            _ => Some(now),
        };
        self.heard = reported.or(self.heard).or(Some(now));
        self.ready = ready.cloned();
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref()).map(|time| time.0);
        if renewed.is_some() && renewed > self.renewed {
            self.renewed = renewed;
            self.heard = Some(now);
        }
        let observed = ready.map_or("Unknown", |condition| condition.status.as_str()).to_owned();
        let silent = self.heard.is_some_and(|heard| {
            now.duration_since(heard) > jiff::SignedDuration::try_from(grace).unwrap_or(jiff::SignedDuration::MAX)
        });
        if !silent {
            let present = ready.map(|_| observed.clone());
            return Finding { observed, present, conditions: None };
        }
        let conditions = unknown(node, created, now);
        Finding { observed, present: Some("Unknown".to_owned()), conditions }
    }

    /// It counts as heard of now: after a disruption of everything nobody is blamed for the silence.
    pub fn forgive(&mut self, now: Timestamp) {
        self.heard = Some(now);
    }
}

/// The conditions of a node that is silent; none when they are as they should be.
fn unknown(node: &Node, created: Timestamp, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let held = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut conditions = held.clone();
    for kind in CONDITIONS {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some(STOPPED.to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some(NEVER.to_owned()),
                last_heartbeat_time: Some(Time(created)),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    (conditions != held).then_some(conditions)
}
