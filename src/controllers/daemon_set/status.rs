//! What a DaemonSet's status says.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{nodes, plan};
use crate::history::{self, History};
use crate::owners::{is_deleting, name};
use crate::pods::{self, Availability};

/// Counts nodes.
pub(super) fn status(
    set: &DaemonSet,
    all: &[Arc<Node>],
    owned: &[Arc<Pod>],
    history: &History,
    now: Timestamp,
) -> DaemonSetStatus {
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in owned.iter().filter(|pod| !is_deleting(&pod.metadata)) {
        by_node.entry(nodes::of_pod(pod)).or_default().push(pod);
    }
    let update = history::hash_of(&history.update);
    let min_ready = plan::min_ready_seconds(set);
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: Some(history.collisions).filter(|count| *count > 0),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut available, mut updated) = (0, 0);
    for (node, fit) in all.iter().zip(nodes::fits(set, all.iter().map(Arc::as_ref))) {
        let mut pods = by_node.remove(name(&node.metadata)).unwrap_or_default();
        if !fit.runs {
            status.number_misscheduled += i32::from(!pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        // While there is a surge it is the new pod that counts, once it serves.
        pods.sort_by_key(|pod| (!pods::is_ready(pod), pod.metadata.creation_timestamp.clone()));
        let Some(pod) = pods.first() else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pods::is_ready(pod));
        available += i32::from(pods::availability(pod, min_ready, now) == Availability::Yes);
        updated += i32::from(pods.iter().any(|pod| plan::hash(pod) == update));
    }
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    status.number_available = some(available);
    status.updated_number_scheduled = some(updated);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    status
}
