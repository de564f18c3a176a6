//! What decides where a pod may go and where it goes best: one table, under the names that Kubernetes gives its plug-ins.
//!
//! A row filters (which nodes will do), scores (which of them are better), or both, and says which events may make a pod fit
//! that it refused.

use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, Wakes};
use crate::node::NodeState;

pub(crate) mod affinity;
pub(crate) mod fit;
mod images;
pub(crate) mod inter_pod;
mod name;
mod ports;
pub(crate) mod spread;
mod taints;
mod unschedulable;
pub(crate) mod volumes;

/// The best score.
pub(crate) const BEST: i64 = 100;

/// Why a node is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// As Kubernetes words them.
    pub reasons: Vec<String>,
    /// Whether the node would do if other pods were not there.
    pub resolvable: bool,
}

impl Refusal {
    /// Whatever pods are removed, the node will not do.
    pub fn never(reason: &str) -> Option<Self> {
        Some(Self { reasons: vec![reason.to_owned()], resolvable: false })
    }

    /// It is because of other pods.
    pub fn crowded(reason: &str) -> Option<Self> {
        Some(Self { reasons: vec![reason.to_owned()], resolvable: true })
    }
}

pub(crate) type Filter = fn(&Case, &Cluster, &NodeState) -> Option<Refusal>;
/// The scores of the nodes, in their order, from 0 to 100.
pub(crate) type Score = fn(&Case, &Cluster, &[&NodeState]) -> Vec<i64>;

/// One plug-in.
pub(crate) struct Plugin {
    pub name: &'static str,
    /// Whether it has anything to say about this pod.
    pub filters: fn(&Case) -> bool,
    pub filter: Option<Filter>,
    pub scores: fn(&Case) -> bool,
    pub score: Option<Score>,
    /// What a score counts, by default.
    pub weight: i64,
    pub wakes: Wakes,
}

fn always(_: &Case) -> bool {
    true
}

fn never(_: &Case) -> bool {
    false
}

/// Every plug-in, in the order in which they are asked. The first that refuses a node gives the reasons.
pub(crate) const ALL: &[Plugin] = &[
    Plugin {
        name: "NodeUnschedulable",
        filters: always,
        filter: Some(unschedulable::filter),
        scores: never,
        score: None,
        weight: 0,
        wakes: unschedulable::wakes,
    },
    Plugin {
        name: "NodeName",
        filters: name::filters,
        filter: Some(name::filter),
        scores: never,
        score: None,
        weight: 0,
        wakes: name::wakes,
    },
    Plugin {
        name: "TaintToleration",
        filters: always,
        filter: Some(taints::filter),
        scores: always,
        score: Some(taints::score),
        weight: 3,
        wakes: taints::wakes,
    },
    Plugin {
        name: "NodeAffinity",
        filters: affinity::filters,
        filter: Some(affinity::filter),
        scores: affinity::scores,
        score: Some(affinity::score),
        weight: 2,
        wakes: affinity::wakes,
    },
    Plugin {
        name: "NodePorts",
        filters: ports::filters,
        filter: Some(ports::filter),
        scores: never,
        score: None,
        weight: 0,
        wakes: ports::wakes,
    },
    Plugin {
        name: "NodeResourcesFit",
        filters: always,
        filter: Some(fit::filter),
        scores: always,
        score: Some(fit::score),
        weight: 1,
        wakes: fit::wakes,
    },
    Plugin {
        name: "VolumeRestrictions",
        filters: volumes::has_claims,
        filter: Some(volumes::exclusive),
        scores: never,
        score: None,
        weight: 0,
        wakes: volumes::exclusive_wakes,
    },
    Plugin {
        name: "VolumeBinding",
        filters: volumes::has_claims,
        filter: Some(volumes::filter),
        scores: never,
        score: None,
        weight: 0,
        wakes: volumes::wakes,
    },
    Plugin {
        name: "VolumeZone",
        filters: volumes::has_claims,
        filter: Some(volumes::zone),
        scores: never,
        score: None,
        weight: 0,
        wakes: volumes::wakes,
    },
    Plugin {
        name: "PodTopologySpread",
        filters: spread::filters,
        filter: Some(spread::filter),
        scores: spread::scores,
        score: Some(spread::score),
        weight: 2,
        wakes: spread::wakes,
    },
    Plugin {
        name: "InterPodAffinity",
        filters: inter_pod::filters,
        filter: Some(inter_pod::filter),
        scores: inter_pod::scores,
        score: Some(inter_pod::score),
        weight: 2,
        wakes: inter_pod::wakes,
    },
    Plugin {
        name: "NodeResourcesBalancedAllocation",
        filters: never,
        filter: None,
        scores: fit::balances,
        score: Some(fit::balance),
        weight: 1,
        wakes: nothing,
    },
    Plugin {
        name: "ImageLocality",
        filters: never,
        filter: None,
        scores: always,
        score: Some(images::score),
        weight: 1,
        wakes: nothing,
    },
];

/// Names that a configuration may mention and that are not rows: they have their place elsewhere in this room, or nothing
/// to decide here.
pub(crate) const ELSEWHERE: [&str; 9] = [
    "SchedulingGates",
    "PrioritySort",
    "DefaultPreemption",
    "DefaultBinder",
    "NodeVolumeLimits",
    "DynamicResources",
    "NodeDeclaredFeatures",
    "GangScheduling",
    "*",
];

/// A row's number: what refused a pod is kept as bits.
pub(crate) fn number(name: &str) -> Option<usize> {
    ALL.iter().position(|plugin| plugin.name == name)
}

fn nothing(_: &crate::ask::Ask, _: &Event) -> bool {
    false
}

/// Brings values to 0..=100: the largest is the best, or the worst.
pub(crate) fn normalized(values: Vec<i64>, largest_is_worst: bool) -> Vec<i64> {
    let most = values.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return vec![if largest_is_worst { BEST } else { 0 }; values.len()];
    }
    let share = |value: i64| value * BEST / most;
    values.into_iter().map(|value| if largest_is_worst { BEST - share(value) } else { share(value) }).collect()
}
