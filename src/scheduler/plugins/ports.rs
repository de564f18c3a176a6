//! NodePorts: a port of the host is one pod's.

use super::Refusal;
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::Event;
use crate::node::NodeState;

pub(super) fn filters(case: &Case) -> bool {
    !case.ask.ports.is_empty()
}

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    let is_taken = |port: &crate::ask::HostPort| state.ports.iter().any(|held| held.collides(port));
    if case.ask.ports.iter().any(is_taken) {
        return Refusal::crowded("node(s) didn't have free ports for the requested pod ports");
    }
    None
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    match event {
        Event::NodeAdded(_) => true,
        Event::PodGone(gone) => gone.ports.iter().any(|held| ask.ports.iter().any(|port| port.collides(held))),
        _ => false,
    }
}
