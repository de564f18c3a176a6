//! NodeUnschedulable: a cordoned node takes only pods that tolerate it.

use client::placement::taints;
use k8s_openapi::api::core::v1::{Pod, Taint};

use super::Refusal;
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::Event;
use crate::node::NodeState;

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    if state.is_cordoned && !tolerates(&case.ask.pod) { Refusal::never("node(s) were unschedulable") } else { None }
}

fn tolerates(pod: &Pod) -> bool {
    let taint = Taint { key: taints::UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    taints::tolerates(pod, &taint)
}

pub(super) fn wakes(_: &Ask, event: &Event) -> bool {
    let is_cordoned = |node: &k8s_openapi::api::core::v1::Node| {
        node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
    };
    match event {
        Event::NodeAdded(node) => !is_cordoned(node),
        Event::NodeChanged(old, new) => is_cordoned(old) && !is_cordoned(new),
        _ => false,
    }
}
