//! One decision: filter, score, pick. A function of the pod, the cluster, the profile and the seed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::node::NodeState;
use crate::plugins::{ALL, Refusal};
use crate::profile::Profile;
use crate::volumes::Step;

/// Fewer nodes than this are all looked at.
const FEW: usize = 100;

/// Where a pod goes.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// To this node, once these steps are done for its volumes.
    Place(String, Vec<Step>),
    /// Nowhere.
    Nowhere(Why),
}

/// Why a pod fits nowhere. Its text is what people read in events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Why {
    pub nodes: usize,
    /// How many nodes each reason refused.
    reasons: BTreeMap<String, usize>,
    /// What refuses every node at once.
    hopeless: Option<String>,
    /// Nodes that would do if other pods were not there.
    pub resolvable: Vec<usize>,
    /// The rows that refused, as bits.
    pub rejected_by: u32,
    /// What came of the attempt to remove other pods.
    pub preemption: Option<String>,
}

/// Finds the best node for a pod. Of equally good ones `seed` picks.
pub(crate) fn decide(ask: &Arc<Ask>, cluster: &mut Cluster, profile: &Arc<Profile>, seed: u64) -> Decision {
    let mut why = Why { nodes: cluster.len(), ..Why::default() };
    if cluster.len() == 0 {
        why.rejected_by = u32::MAX;
        return Decision::Nowhere(why);
    }
    let refused_for_others = with_nominated(ask, cluster, profile);
    let case = match Case::new(ask, profile, cluster) {
        Ok(case) => case,
        Err(hopeless) => {
            why.rejected_by = 1 << hopeless.plugin;
            why.hopeless = Some(hopeless.why);
            return Decision::Nowhere(why);
        }
    };
    let refusal =
        |state: &NodeState| case.refusal(cluster, state).or_else(|| refused_for_others.get(&state.slot).cloned());
    // Where room was made for it it goes first of all.
    let nominated = cluster.nomination(&ask.key).and_then(|name| cluster.node(name));
    let fitting = match nominated.filter(|state| refusal(state).is_none()) {
        Some(state) => vec![state],
        None => look(&case, cluster, seed, &mut why, &refusal),
    };
    match best(&case, cluster, &fitting, seed) {
        Some(state) => {
            let steps = cluster.volumes.plan(&case.volumes, state).unwrap_or_default();
            Decision::Place(state.name.clone(), steps)
        }
        None => Decision::Nowhere(why),
    }
}

/// Nodes that would not do any more once the pods are there for which room is kept on them.
fn with_nominated(ask: &Arc<Ask>, cluster: &mut Cluster, profile: &Arc<Profile>) -> HashMap<usize, (usize, Refusal)> {
    let mut refused = HashMap::new();
    for name in cluster.nodes_with_nominated() {
        let others: Vec<Arc<Ask>> = cluster
            .nominated_on(&name)
            .filter(|other| other.key != ask.key && other.priority >= ask.priority)
            .cloned()
            .collect();
        let Some(slot) = cluster.node(&name).map(|state| state.slot).filter(|_| !others.is_empty()) else { continue };
        others.iter().for_each(|other| cluster.add(slot, other));
        if let Ok(case) = Case::new(ask, profile, cluster)
            && let Some(refusal) = cluster.at(slot).and_then(|state| case.refusal(cluster, state))
        {
            refused.insert(slot, refusal);
        }
        others.iter().for_each(|other| cluster.take(slot, other));
    }
    refused
}

/// Looks at nodes until enough of them will do.
fn look<'a>(
    case: &Case,
    cluster: &'a Cluster,
    seed: u64,
    why: &mut Why,
    refusal: &dyn Fn(&NodeState) -> Option<(usize, Refusal)>,
) -> Vec<&'a NodeState> {
    let count = cluster.len();
    let enough = enough(count, case.profile.percentage);
    // A large cluster is looked at from a place that the seed picks, in strides, so that all parts of it get their pods.
    let (start, stride) = if enough < count { path(count, hash(seed, &case.ask.uid)) } else { (0, 1) };
    let mut fitting = Vec::new();
    let mut position = start;
    for _ in 0..count {
        let Some(state) = cluster.nth(position) else { break };
        position = (position + stride) % count;
        if case.named.as_ref().is_some_and(|names| !names.contains(&state.name)) {
            *why.reasons.entry("node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned()).or_default() += 1;
            why.rejected_by |= crate::plugins::number("NodeAffinity").map_or(0, |index| 1 << index);
            continue;
        }
        match refusal(state) {
            None => fitting.push(state),
            Some((plugin, refusal)) => why.refused(state, plugin, refusal),
        }
        if fitting.len() >= enough {
            break;
        }
    }
    fitting
}

/// Of how many nodes that will do the best is taken.
fn enough(nodes: usize, percentage: Option<i64>) -> usize {
    let percentage = match percentage.and_then(|percent| usize::try_from(percent).ok()) {
        Some(percent @ 1..) => percent,
        _ => 50_usize.saturating_sub(nodes / 125).max(5),
    };
    if nodes < FEW || percentage >= 100 { nodes } else { (nodes * percentage / 100).max(FEW) }
}

/// Where to begin and how far to step, so that each node is met once.
fn path(count: usize, hash: u64) -> (usize, usize) {
    fn divisor(one: usize, other: usize) -> usize {
        if other == 0 { one } else { divisor(other, one % other) }
    }
    let start = usize::try_from(hash % count as u64).unwrap_or(0);
    let mut stride = (count * 5 / 8).max(1);
    while divisor(stride, count) != 1 {
        stride += 1;
    }
    (start, stride)
}

fn hash(seed: u64, uid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, uid).hash(&mut hasher);
    hasher.finish()
}

fn best<'a>(case: &Case, cluster: &Cluster, fitting: &[&'a NodeState], seed: u64) -> Option<&'a NodeState> {
    if let [one] | [one, ..] = fitting
        && fitting.len() == 1
    {
        return Some(one);
    }
    let scores = case.scores(cluster, fitting);
    let most = scores.iter().copied().max()?;
    let equal: Vec<&NodeState> =
        fitting.iter().zip(&scores).filter(|(_, score)| **score == most).map(|(state, _)| *state).collect();
    let pick = usize::try_from(hash(seed, &case.ask.uid) % equal.len().max(1) as u64).unwrap_or(0);
    equal.get(pick).copied()
}

impl Why {
    fn refused(&mut self, state: &NodeState, plugin: usize, refusal: Refusal) {
        self.rejected_by |= 1 << plugin;
        if refusal.resolvable {
            self.resolvable.push(state.slot);
        }
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// The names of the rows that refused.
    pub fn plugins(&self) -> Vec<&'static str> {
        ALL.iter()
            .enumerate()
            .filter(|(index, _)| self.rejected_by & 1 << index != 0)
            .map(|(_, row)| row.name)
            .collect()
    }
}

/// `3 of this, 1 of that`, as Kubernetes sorts it: by the finished phrases, counts and all.
pub(crate) fn phrases(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    let mut phrases: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    phrases.sort();
    format!("0/{nodes} nodes are available: {}.", phrases.join(", "))
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        match &self.hopeless {
            Some(why) => write!(f, "0/{} nodes are available: {why}.", self.nodes)?,
            None => f.write_str(&phrases(self.nodes, &self.reasons))?,
        }
        match &self.preemption {
            Some(preemption) => write!(f, " preemption: {preemption}"),
            None => Ok(()),
        }
    }
}
