//! Which nodes a pod may go to. Each row is one reason to refuse; the first row that refuses a node gives its reasons.

use client::placement::{affinity, taints};
use k8s_openapi::api::core::v1::{Pod, Taint};

use crate::cluster::{NodeState, is_ready};
use crate::resources::Requests;

/// Why a node is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// As Kubernetes words them.
    pub reasons: Vec<String>,
    /// Whether the node would do if other pods were not there.
    pub resolvable: bool,
}

/// What is to be placed, with what was read from it once.
pub(crate) struct Wanted<'a> {
    pub pod: &'a Pod,
    pub requests: Requests,
}

type Filter = fn(&Wanted<'_>, &NodeState) -> Option<Refusal>;

/// In the order in which they are asked.
const FILTERS: [Filter; 6] = [unschedulable, not_ready, other_name, tainted, other_labels, too_small];

/// None when the node will do.
pub(crate) fn refusal(wanted: &Wanted<'_>, node: &NodeState) -> Option<Refusal> {
    FILTERS.iter().find_map(|filter| filter(wanted, node))
}

fn never(reason: &str) -> Option<Refusal> {
    Some(Refusal { reasons: vec![reason.to_owned()], resolvable: false })
}

fn unschedulable(wanted: &Wanted<'_>, state: &NodeState) -> Option<Refusal> {
    let cordoned = state.node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let taint = Taint { key: taints::UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    if cordoned && !taints::tolerates(wanted.pod, &taint) { never("node(s) were unschedulable") } else { None }
}

fn not_ready(_: &Wanted<'_>, state: &NodeState) -> Option<Refusal> {
    if is_ready(&state.node) { None } else { never("node(s) were not ready") }
}

fn other_name(wanted: &Wanted<'_>, state: &NodeState) -> Option<Refusal> {
    let name = wanted.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if name.is_empty() || state.node.metadata.name.as_deref() == Some(name) {
        return None;
    }
    never("node(s) didn't match the requested node name")
}

fn tainted(wanted: &Wanted<'_>, state: &NodeState) -> Option<Refusal> {
    let taints = state.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut binding = taints.into_iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    if binding.all(|taint| taints::tolerates(wanted.pod, taint)) {
        return None;
    }
    never("node(s) had untolerated taint(s)")
}

fn other_labels(wanted: &Wanted<'_>, state: &NodeState) -> Option<Refusal> {
    if affinity::allows(wanted.pod, &state.node) {
        return None;
    }
    never("node(s) didn't match Pod's node affinity/selector")
}

fn too_small(wanted: &Wanted<'_>, state: &NodeState) -> Option<Refusal> {
    let (wanted, taken, has) = (&wanted.requests.must, &state.taken, &state.allocatable);
    let mut reasons = Vec::new();
    // Resolvable as long as the empty node would be large enough.
    let mut resolvable = true;
    let mut check = |reason: &dyn Fn() -> String, wanted: i64, taken: i64, has: i64| {
        if wanted > 0 && taken.saturating_add(wanted) > has {
            reasons.push(reason());
            resolvable &= wanted <= has;
        }
    };
    check(&|| "Too many pods".to_owned(), 1, taken.pods, has.pods);
    check(&|| "Insufficient cpu".to_owned(), wanted.cpu_millis, taken.cpu_millis, has.cpu_millis);
    check(&|| "Insufficient memory".to_owned(), wanted.memory_bytes, taken.memory_bytes, has.memory_bytes);
    for (name, amount) in &wanted.others {
        let of = |resources: &crate::resources::Resources| resources.others.get(name).copied().unwrap_or(0);
        check(&|| format!("Insufficient {name}"), *amount, of(taken), of(has));
    }
    (!reasons.is_empty()).then_some(Refusal { reasons, resolvable })
}
