//! How one profile of the scheduler decides: which plug-ins, with which weights, and their settings.

use std::sync::Arc;

use k8s_openapi::api::core::v1::NodeAffinity;

use crate::ask::Spread;
use crate::labels::Matcher;
use crate::plugins::{ALL, number};

/// A resource and what it counts in a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weighted {
    pub name: String,
    pub weight: i64,
}

/// A line through points: what a share of use is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape(pub Vec<(i64, i64)>);

impl Shape {
    /// The score at a utilization of 0 to 100.
    pub fn at(&self, utilization: i64) -> i64 {
        let Some(first) = self.0.first() else { return 0 };
        if utilization <= first.0 {
            return first.1;
        }
        for pair in self.0.windows(2) {
            let ((from, low), (to, high)) = (pair[0], pair[1]);
            if utilization <= to {
                return low + (high - low) * (utilization - from) / (to - from).max(1);
            }
        }
        self.0.last().map_or(0, |last| last.1)
    }
}

/// How nodes are compared by what is left of their resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// More left is better.
    Least(Vec<Weighted>),
    /// Less left is better.
    Most(Vec<Weighted>),
    /// As the line says.
    Shaped(Vec<Weighted>, Shape),
}

/// One profile.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Its pods are those with this `spec.schedulerName`.
    pub name: String,
    /// Bits by the rows of the table of plug-ins.
    pub filters: u32,
    /// Weights by the rows; 0 does not score.
    pub weights: Vec<i64>,
    pub preempts: bool,
    pub strategy: Strategy,
    /// The resources that are to be taken evenly.
    pub balanced: Vec<String>,
    /// Constraints for pods that have none of their own.
    pub spread: Vec<Spread>,
    pub added_affinity: Option<NodeAffinity>,
    pub hard_affinity_weight: i64,
    pub ignores_others_preferences: bool,
    /// Of how many nodes that will do the best is taken, in percent; `None` goes by the size of the cluster.
    pub percentage: Option<i64>,
    /// How many nodes are tried in a preemption: in percent, and at least so many.
    pub candidates: (i64, i64),
}

impl Profile {
    /// What Kubernetes does when nobody says otherwise.
    pub fn new(name: &str) -> Self {
        let plain = ["cpu", "memory"].map(|name| Weighted { name: name.to_owned(), weight: 1 });
        let bits = |wanted: fn(&crate::plugins::Plugin) -> bool| {
            ALL.iter().enumerate().filter(|(_, plugin)| wanted(plugin)).fold(0, |bits, (index, _)| bits | 1 << index)
        };
        let spread = |topology: &str, max_skew: i64| Spread {
            topology: topology.to_owned(),
            max_skew,
            min_domains: 1,
            is_hard: false,
            matcher: Matcher::everything(),
            honors_affinity: true,
            honors_taints: false,
        };
        Self {
            name: name.to_owned(),
            filters: bits(|plugin| plugin.filter.is_some()),
            weights: ALL.iter().map(|plugin| plugin.weight).collect(),
            preempts: true,
            strategy: Strategy::Least(plain.to_vec()),
            balanced: vec!["cpu".to_owned(), "memory".to_owned()],
            spread: vec![spread("kubernetes.io/hostname", 3), spread("topology.kubernetes.io/zone", 5)],
            added_affinity: None,
            hard_affinity_weight: 1,
            ignores_others_preferences: false,
            percentage: None,
            candidates: (10, 100),
        }
    }

    /// Whether a plug-in filters or scores here.
    pub fn has(&self, name: &str) -> bool {
        number(name).is_some_and(|index| self.filters & 1 << index != 0 || self.weights[index] != 0)
    }
}

/// The profiles of a scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Profiles(pub Vec<Arc<Profile>>);

impl Profiles {
    /// The profile of the pods that name this scheduler.
    pub fn of(&self, name: &str) -> Option<&Arc<Profile>> {
        self.0.iter().find(|profile| profile.name == name)
    }
}
