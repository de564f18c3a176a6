//! DefaultPreemption: which pods give way to one of a higher priority.
//!
//! ```text
//! nodes that would do without others → on each: without all lower pods, then as many as possible back again → the cheapest
//! ```
//!
//! Trying is done on the cluster itself, and undone: what a pod takes away with it is counted in one place only.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::decide::{Why, phrases};
use crate::labels::Matcher;
use crate::profile::Profile;
use crate::terms::labels_of;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Which pods are to go, and where.
#[derive(Clone, Debug)]
pub(crate) struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<Ask>>,
}

/// Why no pods are to go.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub words: String,
    /// Room that is kept for the pod is of no use to it.
    pub withdraws: bool,
}

struct Candidate {
    node: String,
    victims: Vec<Arc<Ask>>,
    violations: usize,
}

/// Finds the pods that are to go for `ask`, or the words for why none do.
pub(crate) fn preempt(
    ask: &Arc<Ask>,
    cluster: &mut Cluster,
    profile: &Arc<Profile>,
    budgets: &[Arc<PodDisruptionBudget>],
    why: &Why,
) -> Result<Preemption, Refused> {
    let not_eligible = |words: &str| Err(Refused { words: words.to_owned(), withdraws: false });
    if ask.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return not_eligible("not eligible due to preemptionPolicy=Never.");
    }
    if waits_for_victims(ask, cluster) {
        return not_eligible("not eligible due to a terminating pod on the nominated node.");
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let hopeless = why.nodes - why.resolvable.len();
    if hopeless > 0 {
        reasons.insert(NOT_HELPFUL.to_owned(), hopeless);
    }
    let (percent, least) = profile.candidates;
    let share = i64::try_from(why.resolvable.len()).unwrap_or(i64::MAX).saturating_mul(percent) / 100;
    let enough = usize::try_from(share.max(least)).unwrap_or(usize::MAX).max(1);
    let mut candidates = Vec::new();
    for slot in &why.resolvable {
        match candidate(ask, cluster, profile, budgets, *slot) {
            Ok(found) => candidates.push(found),
            Err(failures) => failures.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
        }
        if candidates.len() >= enough {
            break;
        }
    }
    let best = candidates.into_iter().min_by_key(cost);
    best.map(|best| Preemption { node: best.node, victims: best.victims })
        .ok_or_else(|| Refused { words: phrases(why.nodes, &reasons), withdraws: true })
}

/// Whether pods that were told to go for it are still on their way out.
fn waits_for_victims(ask: &Ask, cluster: &Cluster) -> bool {
    let Some(state) = cluster.nomination(&ask.key).and_then(|name| cluster.node(name)) else { return false };
    state.pods.values().any(|pod| pod.leaving && pod.priority < ask.priority)
}

fn candidate(
    ask: &Arc<Ask>,
    cluster: &mut Cluster,
    profile: &Arc<Profile>,
    budgets: &[Arc<PodDisruptionBudget>],
    slot: usize,
) -> Result<Candidate, Vec<String>> {
    let Some(state) = cluster.at(slot) else { return Err(Vec::new()) };
    let node = state.name.clone();
    let mut lower: Vec<Arc<Ask>> = state.pods.values().filter(|pod| pod.priority < ask.priority).cloned().collect();
    if lower.is_empty() {
        return Err(vec![NO_VICTIMS.to_owned()]);
    }
    // The more important ones first: those come back first.
    lower.sort_by_key(|pod| (Reverse(pod.priority), started(pod)));
    lower.iter().for_each(|pod| cluster.take(slot, pod));
    let outcome = match refused(ask, cluster, profile, slot) {
        Some(reasons) => Err(reasons),
        None => Ok(bring_back(ask, cluster, profile, budgets, slot, &lower)),
    };
    // As it was.
    let gone: Vec<Arc<Ask>> = match &outcome {
        Ok((victims, _)) => victims.clone(),
        Err(_) => lower,
    };
    gone.iter().for_each(|pod| cluster.add(slot, pod));
    outcome.map(|(victims, violations)| Candidate { node, victims, violations })
}

/// Puts back whoever can stay. Returns who cannot, and how many of those a budget protects.
fn bring_back(
    ask: &Arc<Ask>,
    cluster: &mut Cluster,
    profile: &Arc<Profile>,
    budgets: &[Arc<PodDisruptionBudget>],
    slot: usize,
    lower: &[Arc<Ask>],
) -> (Vec<Arc<Ask>>, usize) {
    let (protected, others) = by_budgets(lower, budgets);
    let count = protected.len();
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (index, pod) in protected.into_iter().chain(others).enumerate() {
        cluster.add(slot, &pod);
        if refused(ask, cluster, profile, slot).is_some() {
            cluster.take(slot, &pod);
            violations += usize::from(index < count);
            victims.push(pod);
        }
    }
    victims.sort_by_key(|pod| (Reverse(pod.priority), started(pod)));
    (victims, violations)
}

fn refused(ask: &Arc<Ask>, cluster: &mut Cluster, profile: &Arc<Profile>, slot: usize) -> Option<Vec<String>> {
    let case = match Case::new(ask, profile, cluster) {
        Ok(case) => case,
        Err(hopeless) => return Some(vec![hopeless.why]),
    };
    let state = cluster.at(slot)?;
    case.refusal(cluster, state).map(|(_, refusal)| refusal.reasons)
}

/// Those whose going a budget does not allow, and the others.
fn by_budgets(pods: &[Arc<Ask>], budgets: &[Arc<PodDisruptionBudget>]) -> (Vec<Arc<Ask>>, Vec<Arc<Ask>>) {
    let mut left: Vec<(&PodDisruptionBudget, Matcher, i64)> = budgets
        .iter()
        .filter_map(|budget| {
            let selector = budget.spec.as_ref()?.selector.as_ref();
            let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed).map_or(0, i64::from);
            Some((budget.as_ref(), Matcher::of(selector), allowed))
        })
        .collect();
    pods.iter().cloned().partition(|pod| {
        let labels = labels_of(&pod.pod);
        let mut violates = false;
        for (budget, matcher, allowed) in &mut left {
            let here = budget.metadata.namespace.as_deref() == Some(pod.key.namespace.as_str());
            // Pods without labels belong to no budget.
            if !here || labels.is_empty() || !matcher.matches(labels) {
                continue;
            }
            let disrupted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
            if disrupted.is_some_and(|disrupted| disrupted.contains_key(&pod.key.name)) {
                continue;
            }
            *allowed -= 1;
            violates |= *allowed < 0;
        }
        violates
    })
}

fn started(pod: &Ask) -> Timestamp {
    let status = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    status.or(pod.pod.metadata.creation_timestamp.as_ref()).map_or(Timestamp::MAX, |time| time.0)
}

/// What it costs to make room, the least first: protected pods, the highest priority, the sum of priorities, the number of
/// pods, and the youngest of the most important ones.
fn cost(candidate: &Candidate) -> (usize, i32, i64, usize, Reverse<Timestamp>, String) {
    let highest = candidate.victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    // Priorities may be below zero: each pod counts for something.
    let sum = candidate.victims.iter().map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1).sum();
    let earliest = candidate.victims.iter().filter(|pod| pod.priority == highest).map(|pod| started(pod)).min();
    let earliest = Reverse(earliest.unwrap_or(Timestamp::MAX));
    (candidate.violations, highest, sum, candidate.victims.len(), earliest, candidate.node.clone())
}
