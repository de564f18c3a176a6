//! Which nodes a DaemonSet wants its pods on, and how a pod is made for one.

use client::placement::{affinity, taints};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration,
};

use crate::history::HASH_LABEL;
use crate::owners::name;
use crate::pod_control;

const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// Kubernetes gives these to every daemon pod: it stays while its node is in trouble. Key, effect, and whether only pods
/// with the host's network get it.
const TOLERATED: [(&str, &str, bool); 7] = [
    ("node.kubernetes.io/not-ready", "NoExecute", false),
    ("node.kubernetes.io/unreachable", "NoExecute", false),
    ("node.kubernetes.io/disk-pressure", "NoSchedule", false),
    ("node.kubernetes.io/memory-pressure", "NoSchedule", false),
    ("node.kubernetes.io/pid-pressure", "NoSchedule", false),
    ("node.kubernetes.io/unschedulable", "NoSchedule", false),
    ("node.kubernetes.io/network-unavailable", "NoSchedule", true),
];

/// What a node is to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// A pod is to be made there.
    pub runs: bool,
    /// A pod that is there stays.
    pub stays: bool,
}

/// A pod as it would be made, without a node.
fn draft(set: &DaemonSet) -> Pod {
    let mut pod = pod_control::of_template(set, set.spec.as_ref().map(|spec| &spec.template));
    if let Some(spec) = &mut pod.spec {
        let host_network = spec.host_network == Some(true);
        let own = spec.tolerations.get_or_insert_default();
        for (key, effect, host_only) in TOLERATED {
            let toleration = Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some(effect.to_owned()),
                ..Toleration::default()
            };
            if (!host_only || host_network) && !own.contains(&toleration) {
                own.push(toleration);
            }
        }
    }
    pod
}

/// Tells for each node of a list, in order.
pub(super) fn fits<'a>(set: &DaemonSet, nodes: impl Iterator<Item = &'a Node>) -> Vec<Fit> {
    let pod = draft(set);
    nodes.map(|node| fit(&pod, node)).collect()
}

fn fit(pod: &Pod, node: &Node) -> Fit {
    let named = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
    if named.is_some_and(|named| named != name(&node.metadata)) || !affinity::allows(pod, node) {
        return Fit { runs: false, stays: false };
    }
    let spec = node.spec.clone().unwrap_or_default();
    let bad = |effects: &[&str]| {
        let all = spec.taints.iter().flatten().filter(|taint| effects.contains(&taint.effect.as_str()));
        all.into_iter().any(|taint| !taints::tolerates(pod, taint))
    };
    let cordon = Taint { key: taints::UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let cordoned = spec.unschedulable == Some(true) && !taints::tolerates(pod, &cordon);
    Fit { runs: !cordoned && !bad(&["NoSchedule", "NoExecute"]), stays: !bad(&["NoExecute"]) }
}

/// Whether two states of a node are the same for what this is about.
pub(super) fn is_same(old: &Node, new: &Node) -> bool {
    old.metadata.labels == new.metadata.labels && old.spec == new.spec
}

/// The node that a pod is on or is meant for.
pub(super) fn of_pod(pod: &Pod) -> &str {
    let Some(spec) = &pod.spec else { return "" };
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return node;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let fields = required.into_iter().flat_map(|required| &required.node_selector_terms);
    let mut fields = fields.flat_map(|term| term.match_fields.iter().flatten());
    let meant = fields.find(|field| field.key == "metadata.name" && field.operator == "In");
    meant.and_then(|field| field.values.as_ref()?.first()).map_or("", String::as_str)
}

/// The pod for a node.
pub(super) fn new_pod(set: &DaemonSet, hash: &str, node: &str) -> Pod {
    let mut pod = draft(set);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let generation = set.metadata.annotations.as_ref().and_then(|annotations| annotations.get(GENERATION));
    let generation = generation.cloned().unwrap_or_else(|| set.metadata.generation.unwrap_or(1).to_string());
    labels.insert(GENERATION_LABEL.to_owned(), generation);
    if let Some(spec) = &mut pod.spec {
        let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
        let affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
        affinity.required_during_scheduling_ignored_during_execution = Some(to_node(affinity, node));
    }
    pod
}

/// What the template requires, and of all nodes just this one.
fn to_node(affinity: &NodeAffinity, node: &str) -> NodeSelector {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let mut terms = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()
        .map(|required| required.node_selector_terms.clone())
        .filter(|terms| !terms.is_empty())
        .unwrap_or_else(|| vec![NodeSelectorTerm::default()]);
    for term in &mut terms {
        term.match_fields = Some(vec![field.clone()]);
    }
    NodeSelector { node_selector_terms: terms }
}
