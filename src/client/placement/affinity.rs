//! Which nodes a pod names by their labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod};

/// Whether the node is one that the pod's `nodeSelector` and required node affinity allow.
pub fn allows(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = node.metadata.labels.as_ref();
    let has = |label: &String, value: &String| labels.and_then(|labels| labels.get(label)) == Some(value);
    if !spec.node_selector.iter().flatten().all(|(label, value)| has(label, value)) {
        return false;
    }
    of(pod).is_none_or(|affinity| meets_required(affinity, node))
}

/// Whether the node is one that an affinity requires.
pub fn meets_required(affinity: &NodeAffinity, node: &Node) -> bool {
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
    required.is_none_or(|required| selects(required, node))
}

/// Whether one of the terms means the node.
pub fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| matches(term, node))
}

/// The weights of the preferences that the node meets.
pub fn preference(pod: &Pod, node: &Node) -> i64 {
    of(pod).map_or(0, |affinity| preferred(affinity, node))
}

/// The weights of the preferences of an affinity that the node meets.
pub fn preferred(affinity: &NodeAffinity, node: &Node) -> i64 {
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter();
    preferred
        .flatten()
        .filter(|preferred| matches(&preferred.preference, node))
        .map(|preferred| i64::from(preferred.weight))
        .sum()
}

fn of(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

/// A term with nothing in it matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let (nothing, empty) = (expressions.is_empty() && fields.is_empty(), BTreeMap::new());
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let name = node.metadata.name.as_deref();
    !nothing
        && expressions.iter().all(|requirement| meets(requirement, labels.get(&requirement.key).map(String::as_str)))
        && fields.iter().all(|requirement| requirement.key == "metadata.name" && meets(requirement, name))
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|listed| listed == value);
    let compare = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare().is_some_and(|(value, bound)| value > bound),
        "Lt" => compare().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}
