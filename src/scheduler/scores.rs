//! How good the nodes that a pod may go to are, compared with each other. Each row gives 0 to 100, times its weight.

use client::placement::{affinity, taints};
use k8s_openapi::api::core::v1::Pod;

use crate::cluster::{NodeState, owner};
use crate::filters::Wanted;

/// What a row thinks of each node, before it is brought to 0..=100.
type Score = fn(&Wanted<'_>, &[&NodeState]) -> Vec<i64>;

const SCORES: [(Score, i64); 5] =
    [(least_allocated, 1), (balanced, 1), (preferred_affinity, 2), (tolerable_taints, 3), (spread, 2)];

const BEST: i64 = 100;

/// The sums, in the order of `nodes`.
pub(crate) fn scores(wanted: &Wanted<'_>, nodes: &[&NodeState]) -> Vec<i64> {
    let mut sums = vec![0; nodes.len()];
    for (score, weight) in SCORES {
        for (sum, value) in sums.iter_mut().zip(score(wanted, nodes)) {
            *sum += value * weight;
        }
    }
    sums
}

/// What would be taken of cpu and memory, as shares of what the node has.
fn shares(wanted: &Wanted<'_>, state: &NodeState) -> [f64; 2] {
    let share = |wanted: i64, taken: i64, has: i64| {
        if has <= 0 { 1.0 } else { (taken.saturating_add(wanted) as f64 / has as f64).min(1.0) }
    };
    let (wanted, taken, has) = (&wanted.requests.usual, &state.taken_usually, &state.allocatable);
    [
        share(wanted.cpu_millis, taken.cpu_millis, has.cpu_millis),
        share(wanted.memory_bytes, taken.memory_bytes, has.memory_bytes),
    ]
}

/// Nodes with more left are better.
fn least_allocated(wanted: &Wanted<'_>, nodes: &[&NodeState]) -> Vec<i64> {
    let score = |state: &&NodeState| {
        let [cpu, memory] = shares(wanted, state);
        ((1.0 - f64::midpoint(cpu, memory)) * BEST as f64) as i64
    };
    nodes.iter().map(score).collect()
}

/// Nodes whose cpu and memory are taken to the same share are better.
fn balanced(wanted: &Wanted<'_>, nodes: &[&NodeState]) -> Vec<i64> {
    let score = |state: &&NodeState| {
        let [cpu, memory] = shares(wanted, state);
        ((1.0 - (cpu - memory).abs() / 2.0) * BEST as f64) as i64
    };
    nodes.iter().map(score).collect()
}

/// Nodes that meet weightier preferences are better.
fn preferred_affinity(wanted: &Wanted<'_>, nodes: &[&NodeState]) -> Vec<i64> {
    let weights: Vec<i64> = nodes.iter().map(|state| affinity::preference(wanted.pod, &state.node)).collect();
    let most = weights.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return vec![0; nodes.len()];
    }
    weights.into_iter().map(|weight| weight * BEST / most).collect()
}

/// Nodes with fewer taints that would rather not have the pod are better.
fn tolerable_taints(wanted: &Wanted<'_>, nodes: &[&NodeState]) -> Vec<i64> {
    fewest_is_best(nodes.iter().map(|state| reluctance(wanted.pod, state)).collect())
}

fn reluctance(pod: &Pod, state: &NodeState) -> i64 {
    let taints = state.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let reluctant = taints.filter(|taint| taint.effect == "PreferNoSchedule" && !taints::tolerates(pod, taint));
    i64::try_from(reluctant.count()).unwrap_or(i64::MAX)
}

/// Nodes with fewer pods of the same owner are better.
fn spread(wanted: &Wanted<'_>, nodes: &[&NodeState]) -> Vec<i64> {
    let Some(owner) = owner(wanted.pod) else { return vec![0; nodes.len()] };
    fewest_is_best(nodes.iter().map(|state| state.owners.get(&owner).copied().unwrap_or(0).into()).collect())
}

fn fewest_is_best(counts: Vec<i64>) -> Vec<i64> {
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| if most == 0 { BEST } else { (most - count) * BEST / most }).collect()
}
