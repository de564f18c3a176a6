//! NodeResourcesFit and NodeResourcesBalancedAllocation: what pods ask for against what nodes have.

use super::{BEST, Refusal};
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, state_of};
use crate::node::NodeState;
use crate::profile::{Strategy, Weighted};
use crate::resources::Resources;

pub(super) fn filter(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    refusal(&case.ask.requests.must, &state.taken, &state.allocatable)
}

fn refusal(wanted: &Resources, taken: &Resources, has: &Resources) -> Option<Refusal> {
    let mut reasons = Vec::new();
    // Resolvable as long as the empty node would be large enough.
    let mut resolvable = true;
    let mut check = |reason: &dyn Fn() -> String, wanted: i64, taken: i64, has: i64| {
        if wanted > 0 && taken.saturating_add(wanted) > has {
            reasons.push(reason());
            resolvable &= wanted <= has;
        }
    };
    check(&|| "Too many pods".to_owned(), 1, taken.pods, has.pods);
    check(&|| "Insufficient cpu".to_owned(), wanted.cpu_millis, taken.cpu_millis, has.cpu_millis);
    check(&|| "Insufficient memory".to_owned(), wanted.memory_bytes, taken.memory_bytes, has.memory_bytes);
    for (name, amount) in &wanted.others {
        check(&|| format!("Insufficient {name}"), *amount, taken.amount(name), has.amount(name));
    }
    (!reasons.is_empty()).then_some(Refusal { reasons, resolvable })
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    let fits_alone = || {
        let state = state_of(event);
        state.is_some_and(|state| refusal(&ask.requests.must, &Resources::default(), &state.allocatable).is_none())
    };
    match event {
        Event::PodGone(_) | Event::PodShrunk => true,
        Event::NodeAdded(_) => fits_alone(),
        Event::NodeChanged(old, new) => {
            let allocatable = |node: &k8s_openapi::api::core::v1::Node| {
                node.status.as_ref().and_then(|status| status.allocatable.clone())
            };
            allocatable(old) != allocatable(new) && fits_alone()
        }
        _ => false,
    }
}

/// What would be taken of a resource, and what there is.
fn use_of(case: &Case, state: &NodeState, name: &str) -> (i64, i64) {
    // Pods that name no amounts count with the usual ones where cpu and memory are compared.
    let (wanted, taken) = (&case.ask.requests.usual, &state.taken_usually);
    (taken.amount(name).saturating_add(wanted.amount(name)), state.allocatable.amount(name))
}

pub(super) fn score(case: &Case, _: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let strategy = &case.profile.strategy;
    nodes.iter().map(|state| of_node(case, state, strategy)).collect()
}

fn of_node(case: &Case, state: &NodeState, strategy: &Strategy) -> i64 {
    let (resources, score): (&[Weighted], &dyn Fn(i64, i64) -> i64) = match strategy {
        Strategy::Least(resources) => {
            (resources, &|used, has| if used > has { 0 } else { share(has - used, has, BEST) })
        }
        Strategy::Most(resources) => (resources, &|used, has| share(used.min(has), has, BEST)),
        Strategy::Shaped(resources, shape) => {
            (resources, &|used, has| if used > has { shape.at(100) } else { shape.at(share(used, has, 100)) })
        }
    };
    let (mut sum, mut weights) = (0, 0);
    for Weighted { name, weight } in resources {
        let (used, has) = use_of(case, state, name);
        if has == 0 {
            continue;
        }
        let value = score(used, has);
        if matches!(strategy, Strategy::Shaped(..)) && value == 0 {
            continue;
        }
        sum += value * weight;
        weights += weight;
    }
    if weights == 0 { 0 } else { sum / weights }
}

fn share(part: i64, whole: i64, of: i64) -> i64 {
    i64::try_from(i128::from(part) * i128::from(of) / i128::from(whole.max(1))).unwrap_or(of)
}

pub(super) fn balances(case: &Case) -> bool {
    !case.ask.requests.is_nothing()
}

/// Nodes whose resources are taken to the same share are better.
pub(super) fn balance(case: &Case, _: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let score = |state: &&NodeState| {
        let shares: Vec<f64> = case
            .profile
            .balanced
            .iter()
            .filter_map(|name| {
                let has = state.allocatable.amount(name);
                // Here a pod counts with what it names.
                let used = state.taken.amount(name).saturating_add(case.ask.requests.must.amount(name));
                (has > 0).then(|| (used as f64 / has as f64).min(1.0))
            })
            .collect();
        ((1.0 - deviation(&shares)) * BEST as f64) as i64
    };
    nodes.iter().map(score).collect()
}

fn deviation(shares: &[f64]) -> f64 {
    match shares {
        [] | [_] => 0.0,
        [one, other] => (one - other).abs() / 2.0,
        more => {
            let mean = more.iter().sum::<f64>() / more.len() as f64;
            (more.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / more.len() as f64).sqrt()
        }
    }
}
