//! Which daemon pods are missing, which go, and which are replaced. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::nodes::{self, Fit};
use crate::history::HASH_LABEL;
use crate::owners::{is_deleting, name};
use crate::pods::{self, Availability};

/// At most this many pods are made or deleted by one run.
const BURST: usize = 250;

/// What one run does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    /// Pods that are too many, misplaced or old.
    pub delete: Vec<Arc<Pod>>,
    /// Pods that have ended: they go, later and later.
    pub failed: Vec<Arc<Pod>>,
}

pub(super) fn min_ready_seconds(set: &DaemonSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// The revision that a pod was made from.
pub(super) fn hash(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str)
}

/// How an update goes.
struct Strategy {
    rolling: bool,
    surge: usize,
    unavailable: usize,
}

impl Strategy {
    fn of(set: &DaemonSet, desired: usize) -> Self {
        let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.clone()).unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        // Percentages are rounded up.
        let amount = |value: Option<IntOrString>, usual: usize| match value {
            None => usual,
            Some(IntOrString::Int(number)) => usize::try_from(number).unwrap_or(0),
            Some(IntOrString::String(text)) => {
                let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
                (desired * percent).div_ceil(100)
            }
        };
        let surge = amount(rolling.max_surge, 0);
        let unavailable = amount(rolling.max_unavailable, usize::from(surge == 0));
        Self { rolling: strategy.type_.as_deref() != Some("OnDelete"), surge, unavailable }
    }
}

/// The pods of one node.
struct Place<'a> {
    node: &'a str,
    fit: Fit,
    pods: Vec<&'a Arc<Pod>>,
}

/// Plans for the pods of a set; `update` is the hash of its template.
pub(super) fn plan(set: &DaemonSet, all: &[Arc<Node>], owned: &[Arc<Pod>], update: &str, now: Timestamp) -> Plan {
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in owned {
        by_node.entry(nodes::of_pod(pod)).or_default().push(pod);
    }
    let fits = nodes::fits(set, all.iter().map(Arc::as_ref));
    let mut places: Vec<Place<'_>> = Vec::new();
    for (node, fit) in all.iter().zip(fits) {
        let node = name(&node.metadata);
        places.push(Place { node, fit, pods: by_node.remove(node).unwrap_or_default() });
    }
    let desired = places.iter().filter(|place| place.fit.runs).count();
    let strategy = Strategy::of(set, desired);
    let mut plan = Plan::default();
    // Their nodes are gone.
    for pod in by_node.into_values().flatten().filter(|pod| !is_deleting(&pod.metadata)) {
        plan.delete.push(Arc::clone(pod));
    }
    let is_available = |pod: &Pod| pods::availability(pod, min_ready_seconds(set), now) == Availability::Yes;
    for place in &places {
        settle(place, &strategy, update, is_available, &mut plan);
    }
    if strategy.rolling {
        roll(&places, &strategy, update, is_available, &mut plan);
    }
    plan.create.truncate(BURST);
    plan.delete.truncate(BURST);
    plan
}

/// One pod where one is wanted, none where none is.
fn settle(place: &Place<'_>, strategy: &Strategy, update: &str, is_available: impl Fn(&Pod) -> bool, plan: &mut Plan) {
    let live: Vec<&&Arc<Pod>> = place.pods.iter().filter(|pod| !is_deleting(&pod.metadata)).collect();
    if !place.fit.stays {
        return plan.delete.extend(live.into_iter().map(|pod| Arc::clone(pod)));
    }
    if place.pods.is_empty() {
        if place.fit.runs {
            plan.create.push(place.node.to_owned());
        }
        return;
    }
    let (ended, mut running): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
        live.into_iter().copied().partition(|pod| pods::is_finished(pod));
    plan.failed.extend(ended.into_iter().cloned());
    if running.len() <= 1 {
        return;
    }
    // The oldest stays; while there is a surge, the oldest of each revision.
    running.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
    if strategy.surge == 0 || !strategy.rolling {
        plan.delete.extend(running.into_iter().skip(1).cloned());
        return;
    }
    let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = running.into_iter().partition(|pod| hash(pod) == update);
    let new_serves = new.first().is_some_and(|pod| is_available(pod));
    plan.delete.extend(old.into_iter().skip(usize::from(!new_serves)).cloned());
    plan.delete.extend(new.into_iter().skip(1).cloned());
}

/// Replaces old pods, as many at a time as the strategy allows.
fn roll(places: &[Place<'_>], strategy: &Strategy, update: &str, is_available: impl Fn(&Pod) -> bool, plan: &mut Plan) {
    let wanted: Vec<&Place<'_>> = places.iter().filter(|place| place.fit.runs).collect();
    if strategy.surge == 0 {
        let away = wanted
            .iter()
            .filter(|place| !place.pods.iter().any(|pod| !is_deleting(&pod.metadata) && is_available(pod)));
        let mut room = strategy.unavailable.saturating_sub(away.count());
        for place in &wanted {
            let [pod] = &place.pods[..] else { continue };
            if hash(pod) == update || is_deleting(&pod.metadata) || pods::is_finished(pod) {
                continue;
            }
            // One that does not serve anyway is no further loss.
            if is_available(pod) {
                if room == 0 {
                    continue;
                }
                room -= 1;
            }
            plan.delete.push(Arc::clone(pod));
        }
        return;
    }
    let running = |place: &Place<'_>| -> Vec<Arc<Pod>> {
        let running = place.pods.iter().filter(|pod| !is_deleting(&pod.metadata) && !pods::is_finished(pod));
        running.map(|pod| Arc::clone(pod)).collect()
    };
    let is_second = |place: &&&Place<'_>| running(place).len() > 1;
    let mut room = strategy.surge.saturating_sub(wanted.iter().filter(is_second).count());
    for place in &wanted {
        let all = running(place);
        let [old] = &all[..] else { continue };
        if hash(old) == update {
            continue;
        }
        if !is_available(old) {
            plan.delete.push(Arc::clone(old));
        } else if room > 0 {
            room -= 1;
            plan.create.push(place.node.to_owned());
        }
    }
}
