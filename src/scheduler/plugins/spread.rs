//! PodTopologySpread: pods evenly over the domains of a label.

use std::sync::Arc;

use client::placement::{affinity, taints};

use super::{BEST, Refusal};
use crate::ask::{Ask, Spread};
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, is_relabelled};
use crate::labels::Matcher;
use crate::node::NodeState;
use crate::tallies::{Question, TallyId};
use crate::terms::{PodTerm, labels_of};
use crate::topology::{Axis, NOWHERE};

/// Each node is a domain of its own: pods are counted on the node itself.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// One constraint with what is to be known for it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    spread: Spread,
    tally: TallyId,
    axis: Arc<Axis>,
    /// What the pod itself adds.
    own: i64,
    /// How many pods are in each domain; `None` where no node counts.
    counts: Vec<Option<i64>>,
    least: i64,
}

/// What the plug-in knows of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    hard: Vec<Rule>,
    soft: Vec<Rule>,
    /// The soft rules are the cluster's: a node without a label is not out of it.
    by_default: bool,
}

impl State {
    pub fn new(case: &Case, cluster: &mut Cluster) -> Self {
        let ask = case.ask.clone();
        let by_default = ask.spread.is_empty();
        let mut state = Self { by_default, ..Self::default() };
        if !case.profile.has("PodTopologySpread") {
            return state;
        }
        let constraints: &[Spread] = if by_default { &case.profile.spread } else { &ask.spread };
        if constraints.is_empty() || (by_default && ask.owner.is_none()) {
            return state;
        }
        for spread in constraints {
            // The cluster's own constraints are about pods of the same owner.
            let (matcher, owner) =
                if by_default { (Matcher::everything(), ask.owner.clone()) } else { (spread.matcher.clone(), None) };
            let own = i64::from(by_default || spread.matcher.matches(labels_of(&ask.pod)));
            let term = PodTerm::in_namespace(&ask.key.namespace, matcher);
            let tally = cluster.learn(Question { terms: vec![term], owner, only_staying: true });
            cluster.learn_topology(&spread.topology);
            let axis = cluster.topology.axis(&spread.topology);
            let rule = Rule { spread: spread.clone(), tally, axis, own, counts: Vec::new(), least: 0 };
            if spread.is_hard { state.hard.push(rule) } else { state.soft.push(rule) }
        }
        state.count_hard(&ask, cluster);
        state
    }

    fn count_hard(&mut self, ask: &Ask, cluster: &Cluster) {
        let axes: Vec<Arc<Axis>> = self.hard.iter().map(|rule| rule.axis.clone()).collect();
        for rule in &mut self.hard {
            rule.counts = vec![None; rule.axis.len()];
            for state in cluster.nodes() {
                let has_all = axes.iter().all(|axis| axis.of(state.slot) != NOWHERE);
                if has_all && counts(&rule.spread, ask, state) {
                    let domain = rule.axis.of(state.slot) as usize;
                    *rule.counts[domain].get_or_insert(0) += cluster.tallies.on(rule.tally, state.slot);
                }
            }
            let domains = rule.counts.iter().flatten().count();
            let few = i64::try_from(domains).unwrap_or(i64::MAX) < rule.spread.min_domains;
            rule.least = if few { 0 } else { rule.counts.iter().flatten().copied().min().unwrap_or(0) };
        }
    }
}

/// Whether the pods of a node count for a constraint.
fn counts(spread: &Spread, ask: &Ask, state: &NodeState) -> bool {
    (!spread.honors_affinity || affinity::allows(&ask.pod, &state.node))
        && (!spread.honors_taints || state.taints.iter().all(|taint| taints::tolerates(&ask.pod, taint)))
}

pub(super) fn filters(case: &Case) -> bool {
    !case.spread.hard.is_empty()
}

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    for rule in &case.spread.hard {
        let domain = rule.axis.of(state.slot);
        if domain == NOWHERE {
            return Refusal::never("node(s) didn't match pod topology spread constraints (missing required label)");
        }
        let count = rule.counts.get(domain as usize).copied().flatten().unwrap_or(0);
        if count + rule.own - rule.least > rule.spread.max_skew {
            return Refusal::crowded("node(s) didn't match pod topology spread constraints");
        }
    }
    None
}

pub(super) fn scores(case: &Case) -> bool {
    !case.spread.soft.is_empty()
}

pub(super) fn score(case: &Case, cluster: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let State { soft, by_default, .. } = &case.spread;
    let is_out = |state: &NodeState| !by_default && soft.iter().any(|rule| rule.axis.of(state.slot) == NOWHERE);
    let out: Vec<bool> = nodes.iter().map(|state| is_out(state)).collect();
    let mut sums = vec![0.0; nodes.len()];
    for rule in soft {
        let by_domain = domain_counts(rule, case, cluster, nodes, &out, &is_out);
        let size = match &by_domain {
            Some(domains) => domains.iter().flatten().count(),
            None => out.iter().filter(|out| !**out).count(),
        };
        let weight = ((size + 2) as f64).ln();
        for ((state, out), sum) in nodes.iter().zip(&out).zip(&mut sums) {
            let domain = rule.axis.of(state.slot);
            if *out || domain == NOWHERE {
                continue;
            }
            let count = match &by_domain {
                Some(domains) => domains[domain as usize].unwrap_or(0),
                None => cluster.tallies.on(rule.tally, state.slot),
            };
            *sum += count as f64 * weight + (rule.spread.max_skew - 1) as f64;
        }
    }
    let rounded: Vec<i64> = sums.into_iter().map(|sum: f64| sum.round() as i64).collect();
    let inside = || rounded.iter().zip(&out).filter(|(_, out)| !**out).map(|(sum, _)| *sum);
    let (least, most) = (inside().min().unwrap_or(0), inside().max().unwrap_or(0));
    let score = |(sum, out): (&i64, &bool)| match (out, most) {
        (true, _) => 0,
        (false, 0) => BEST,
        (false, most) => BEST * (most + least - sum) / most,
    };
    rounded.iter().zip(&out).map(score).collect()
}

/// How many pods each domain of `nodes` has; none when every node is its own domain.
fn domain_counts(
    rule: &Rule,
    case: &Case,
    cluster: &Cluster,
    nodes: &[&NodeState],
    out: &[bool],
    is_out: &dyn Fn(&NodeState) -> bool,
) -> Option<Vec<Option<i64>>> {
    if rule.spread.topology == HOSTNAME {
        return None;
    }
    let mut domains = vec![None; rule.axis.len()];
    for (state, out) in nodes.iter().zip(out) {
        let domain = rule.axis.of(state.slot);
        if !out && domain != NOWHERE {
            domains[domain as usize] = Some(0);
        }
    }
    if cluster.tallies.total(rule.tally) == 0 || domains.iter().all(Option::is_none) {
        return Some(domains);
    }
    for state in cluster.nodes() {
        let domain = rule.axis.of(state.slot);
        let count = cluster.tallies.on(rule.tally, state.slot);
        if count == 0 || domain == NOWHERE || is_out(state) || !counts(&rule.spread, &case.ask, state) {
            continue;
        }
        if let Some(sum) = &mut domains[domain as usize] {
            *sum += count;
        }
    }
    Some(domains)
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    let concerns = |other: &Ask| {
        other.key.namespace == ask.key.namespace
            && ask.spread.iter().any(|spread| spread.matcher.matches(labels_of(&other.pod)))
    };
    match event {
        Event::PodPlaced(other) | Event::PodGone(other) => concerns(other),
        Event::NodeRemoved => true,
        Event::NodeChanged(old, new) => is_relabelled(event) || old.spec != new.spec,
        other => is_relabelled(other),
    }
}
