//! NodeName: a pod that names its node.

use super::Refusal;
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::Event;
use crate::node::NodeState;

fn wanted(case: &Case) -> &str {
    case.ask.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

pub(super) fn filters(case: &Case) -> bool {
    !wanted(case).is_empty()
}

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    if wanted(case) == state.name { None } else { Refusal::never("node(s) didn't match the requested node name") }
}

pub(super) fn wakes(_: &Ask, event: &Event) -> bool {
    matches!(event, Event::NodeAdded(_))
}
