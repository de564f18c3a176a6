//! Which pods go first when there are too many: those whose loss costs least.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::owners::name;
use crate::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Picks `count` of `pods`. Among equals those go that share their node with more pods of `related`, so that what stays
/// is spread; ages count by their order of magnitude only, so that not always the newest goes.
pub(super) fn first_to_go(pods: Vec<Arc<Pod>>, related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, u32> = HashMap::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    let mut ranked: Vec<(Rank<'_>, &Arc<Pod>)> =
        pods.iter().map(|pod| (Rank::of(pod, on_node.get(node(pod)).copied().unwrap_or(0), now), pod)).collect();
    ranked.sort_by(|(one, _), (other, _)| one.compare(other));
    ranked.into_iter().take(count).map(|(_, pod)| pod.clone()).collect()
}

/// In the order in which the fields decide; smaller goes first.
struct Rank<'a> {
    assigned: bool,
    phase: u8,
    ready: bool,
    cost: i32,
    neighbours: Reverse<u32>,
    ready_for: Option<i64>,
    restarts: Reverse<i32>,
    age: i64,
    uid: &'a str,
    name: &'a str,
}

impl<'a> Rank<'a> {
    fn of(pod: &'a Pod, neighbours: u32, now: Timestamp) -> Self {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            assigned: !node(pod).is_empty(),
            phase: match pods::phase(pod) {
                "Running" => 2,
                "Unknown" => 1,
                _ => 0,
            },
            ready: pods::is_ready(pod),
            cost: cost(pod),
            neighbours: Reverse(neighbours),
            ready_for: pods::ready_since(pod).map(|since| magnitude(since, now)),
            restarts: Reverse(restarts(pod)),
            age: created.map_or(0, |created| magnitude(created, now)),
            uid: pod.metadata.uid.as_deref().unwrap_or_default(),
            name: name(&pod.metadata),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let early = (self.assigned, self.phase, self.ready, self.cost, self.neighbours).cmp(&(
            other.assigned,
            other.phase,
            other.ready,
            other.cost,
            other.neighbours,
        ));
        early
            .then_with(|| self.ready_for.cmp(&other.ready_for))
            .then_with(|| self.restarts.cmp(&other.restarts))
            .then_with(|| self.age.cmp(&other.age))
            .then_with(|| (self.uid, self.name).cmp(&(other.uid, other.name)))
    }
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn cost(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or(0)
}

/// The order of magnitude, in powers of two, of the seconds since `then`.
fn magnitude(then: Timestamp, now: Timestamp) -> i64 {
    let seconds = now.duration_since(then).as_secs().max(0);
    i64::from(64 - seconds.leading_zeros())
}
