//! NodeAffinity: the labels and names of nodes that a pod allows, and those that it prefers.

use std::collections::BTreeSet;

use client::placement::affinity;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod};

use super::{Refusal, normalized};
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, is_relabelled, state_of};
use crate::node::NodeState;

pub(super) fn filters(case: &Case) -> bool {
    let spec = case.ask.pod.spec.as_ref();
    let selects = spec.and_then(|spec| spec.node_selector.as_ref()).is_some_and(|labels| !labels.is_empty());
    selects || required(&case.ask.pod).is_some() || case.profile.added_affinity.is_some()
}

fn required(pod: &Pod) -> Option<&Vec<NodeSelectorTerm>> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    Some(&required.node_selector_terms)
}

/// The only nodes that the pod can be on, when each of its terms names some: daemon pods name one.
pub(crate) fn named(pod: &Pod) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for term in required(pod)? {
        let fields = term.match_fields.iter().flatten();
        let mut lists = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
        let values = lists.next()?.values.clone()?;
        names.extend(values);
    }
    Some(names)
}

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    if let Some(added) = &case.profile.added_affinity
        && !affinity::meets_required(added, &state.node)
    {
        return Refusal::never("node(s) didn't match scheduler-enforced node affinity");
    }
    if affinity::allows(&case.ask.pod, &state.node) {
        return None;
    }
    Refusal::never("node(s) didn't match Pod's node affinity/selector")
}

pub(super) fn scores(case: &Case) -> bool {
    let affinity = case.ask.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let preferred =
        affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    preferred.is_some_and(|terms| !terms.is_empty()) || case.profile.added_affinity.is_some()
}

pub(super) fn score(case: &Case, _: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let weight = |state: &&NodeState| {
        let added = case.profile.added_affinity.as_ref().map_or(0, |added| affinity::preferred(added, &state.node));
        affinity::preference(&case.ask.pod, &state.node) + added
    };
    normalized(nodes.iter().map(weight).collect(), false)
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    is_relabelled(event) && state_of(event).is_some_and(|state| affinity::allows(&ask.pod, &state.node))
}
