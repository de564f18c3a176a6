//! InterPodAffinity: with which pods a pod must, may not, or would like to share a domain, and what pods that are placed say
//! about it.

use std::sync::Arc;

use super::{BEST, Refusal};
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, is_relabelled};
use crate::node::NodeState;
use crate::tallies::{Question, Says, TallyId};
use crate::topology::{Axis, NOWHERE};

/// How many of something each domain of a label has.
#[derive(Clone, Debug)]
struct Counted {
    axis: Arc<Axis>,
    counts: Vec<i64>,
}

impl Counted {
    fn on(&self, slot: usize) -> Option<i64> {
        let domain = self.axis.of(slot);
        (domain != NOWHERE).then(|| self.counts.get(domain as usize).copied().unwrap_or(0))
    }
}

/// What the plug-in knows of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Domains that have pods which the pod must be with, a row a term.
    required: Vec<Counted>,
    /// No such pod is anywhere, but the pod is such a one itself: it may be the first.
    may_be_first: bool,
    /// Domains that have pods which the pod may not be with.
    forbidden: Vec<Counted>,
    /// Domains that have pods which may not be with the pod.
    hostile: Vec<Counted>,
    /// What domains are worth.
    worth: Vec<Counted>,
}

impl State {
    pub fn new(case: &Case, cluster: &mut Cluster) -> Self {
        let mut state = Self::default();
        if !case.profile.has("InterPodAffinity") {
            return state;
        }
        let ask = case.ask.clone();
        let said: Vec<String> = cluster.carried.topologies().map(str::to_owned).collect();
        let own = ask.required.iter().chain(&ask.forbidden).chain(ask.preferred.iter().map(|(_, term)| term));
        let own: Vec<String> = own.map(|anchored| anchored.topology.clone()).collect();
        said.iter().chain(&own).for_each(|key| cluster.learn_topology(key));
        state.read_own(&ask, cluster);
        state.read_said(&ask, case, cluster);
        state
    }

    fn read_own(&mut self, ask: &Ask, cluster: &mut Cluster) {
        if !ask.required.is_empty() {
            // A pod counts only when all terms mean it.
            let terms = ask.required.iter().map(|anchored| anchored.term.clone()).collect();
            let tally = cluster.learn(Question { terms, owner: None, only_staying: false });
            self.required = ask.required.iter().map(|it| count(cluster, tally, &it.topology)).collect();
            let means_itself = ask.required.iter().all(|it| it.term.matches(&ask.pod, &cluster.namespaces));
            let nobody = self.required.iter().all(|counted| counted.counts.iter().all(|count| *count == 0));
            self.may_be_first = nobody && means_itself;
        }
        let one = |cluster: &mut Cluster, anchored: &crate::terms::Anchored| {
            let terms = vec![anchored.term.clone()];
            let tally = cluster.learn(Question { terms, owner: None, only_staying: false });
            count(cluster, tally, &anchored.topology)
        };
        self.forbidden = ask.forbidden.iter().map(|anchored| one(cluster, anchored)).collect();
        for (weight, anchored) in &ask.preferred {
            let mut counted = one(cluster, anchored);
            counted.counts.iter_mut().for_each(|count| *count *= weight);
            self.worth.push(counted);
        }
    }

    fn read_said(&mut self, ask: &Ask, case: &Case, cluster: &Cluster) {
        let has_preferences = !ask.preferred.is_empty();
        for (says, topology, slots) in cluster.carried.about(ask, &cluster.namespaces) {
            let factor = match says {
                Says::Forbids => 1,
                Says::Requires => case.profile.hard_affinity_weight,
                Says::Prefers(_) if case.profile.ignores_others_preferences && !has_preferences => 0,
                Says::Prefers(weight) => weight,
            };
            let axis = cluster.topology.axis(topology);
            let mut counted = Counted { counts: vec![0; axis.len()], axis };
            for (slot, count) in slots {
                let domain = counted.axis.of(*slot);
                if domain != NOWHERE {
                    counted.counts[domain as usize] += i64::from(*count) * factor;
                }
            }
            if says == Says::Forbids {
                self.hostile.push(counted);
            } else if factor != 0 {
                self.worth.push(counted);
            }
        }
    }
}

fn count(cluster: &Cluster, tally: TallyId, topology: &str) -> Counted {
    let axis = cluster.topology.axis(topology);
    let mut counts = vec![0; axis.len()];
    if cluster.tallies.total(tally) > 0 {
        for state in cluster.nodes() {
            let domain = axis.of(state.slot);
            if domain != NOWHERE {
                counts[domain as usize] += cluster.tallies.on(tally, state.slot);
            }
        }
    }
    Counted { axis, counts }
}

pub(super) fn filters(case: &Case) -> bool {
    let State { required, forbidden, hostile, .. } = &case.inter_pod;
    !(required.is_empty() && forbidden.is_empty() && hostile.is_empty())
}

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    let State { required, may_be_first, forbidden, hostile, .. } = &case.inter_pod;
    let on = |counted: &Counted| counted.on(state.slot);
    let has_labels = required.iter().all(|counted| on(counted).is_some());
    if !has_labels || (!may_be_first && !required.iter().all(|counted| on(counted).is_some_and(|count| count > 0))) {
        return Refusal::never("node(s) didn't match pod affinity rules");
    }
    if forbidden.iter().any(|counted| on(counted).is_some_and(|count| count > 0)) {
        return Refusal::crowded("node(s) didn't match pod anti-affinity rules");
    }
    if hostile.iter().any(|counted| on(counted).is_some_and(|count| count > 0)) {
        return Refusal::crowded("node(s) didn't satisfy existing pods anti-affinity rules");
    }
    None
}

pub(super) fn scores(case: &Case) -> bool {
    !case.inter_pod.worth.is_empty()
}

pub(super) fn score(case: &Case, _: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let worth =
        |state: &&NodeState| -> i64 { case.inter_pod.worth.iter().filter_map(|counted| counted.on(state.slot)).sum() };
    let sums: Vec<i64> = nodes.iter().map(worth).collect();
    let (least, most) = (sums.iter().copied().min().unwrap_or(0), sums.iter().copied().max().unwrap_or(0));
    if least == most {
        return vec![0; nodes.len()];
    }
    sums.into_iter().map(|sum| BEST * (sum - least) / (most - least)).collect()
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    match event {
        // Which pods' terms mean which is asked again by the decision: pods that say something, or that something may be
        // said about, are worth a look.
        Event::PodPlaced(_) => !ask.required.is_empty(),
        Event::PodGone(gone) => !ask.forbidden.is_empty() || !gone.forbidden.is_empty(),
        Event::Namespace => true,
        other => is_relabelled(other),
    }
}
