//! TaintToleration: a tainted node takes only pods that tolerate the taint; of the others, those with fewer taints that would
//! rather not have the pod are better.

use client::placement::taints;

use super::{Refusal, normalized};
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, state_of};
use crate::node::NodeState;

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    if state.taints.iter().all(|taint| taints::tolerates(&case.ask.pod, taint)) {
        return None;
    }
    // Which taint it is stays with those who may read nodes.
    Refusal::never("node(s) had untolerated taint(s)")
}

pub(super) fn score(case: &Case, _: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let count = |state: &&NodeState| {
        let reluctant = state.reluctance.iter().filter(|taint| !taints::tolerates(&case.ask.pod, taint));
        i64::try_from(reluctant.count()).unwrap_or(i64::MAX)
    };
    normalized(nodes.iter().map(count).collect(), true)
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    if let Event::NodeChanged(old, new) = event
        && old.spec.as_ref().map(|spec| &spec.taints) == new.spec.as_ref().map(|spec| &spec.taints)
    {
        return false;
    }
    state_of(event).is_some_and(|state| state.taints.iter().all(|taint| taints::tolerates(&ask.pod, taint)))
}
