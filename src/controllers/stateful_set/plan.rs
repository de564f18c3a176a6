//! The next step of a StatefulSet. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{identity, status};
use crate::owners::{is_deleting, name};
use crate::pods::{self, Availability};

/// What one run does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Ordinals to make, and whether of the current revision and not of the update.
    pub create: Vec<(i32, bool)>,
    /// Pods to delete.
    pub delete: Vec<Arc<Pod>>,
    /// Ordinals that are no longer wanted.
    pub condemned: Vec<i32>,
    /// Ordinals whose pods have not begun: they may wait for claims that somebody deleted.
    pub pending: Vec<i32>,
}

/// The figures of a spec, with their defaults.
struct Shape {
    first: i32,
    end: i32,
    ordered: bool,
    rolling: bool,
    partition: i32,
    max_unavailable: usize,
}

impl Shape {
    fn of(set: &StatefulSet) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let first = spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0);
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let unavailable = match rolling.max_unavailable {
            Some(IntOrString::Int(number)) => number,
            Some(IntOrString::String(text)) => {
                let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(0);
                replicas.saturating_mul(percent) / 100
            }
            None => 1,
        };
        Self {
            first,
            end: first.saturating_add(replicas),
            ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
            rolling: strategy.type_.as_deref() != Some("OnDelete"),
            partition: first.saturating_add(rolling.partition.unwrap_or(0)),
            max_unavailable: usize::try_from(unavailable).unwrap_or(1).max(1),
        }
    }
}

/// Plans for the pods of a set; `revisions` are the names of the current and of the update revision.
pub(super) fn plan(set: &StatefulSet, owned: &[Arc<Pod>], revisions: (&str, &str), now: Timestamp) -> Plan {
    let shape = Shape::of(set);
    let min_ready = status::min_ready_seconds(set);
    let by_ordinal: BTreeMap<i32, &Arc<Pod>> =
        owned.iter().filter_map(|pod| Some((identity::ordinal(set, name(&pod.metadata))?, pod))).collect();
    let wanted = shape.first..shape.end;
    let condemned: Vec<i32> = by_ordinal.keys().copied().filter(|ordinal| !wanted.contains(ordinal)).collect();
    let mut plan = Plan { condemned: condemned.clone(), ..Plan::default() };
    let is_well =
        |pod: &Pod| !is_deleting(&pod.metadata) && pods::availability(pod, min_ready, now) == Availability::Yes;

    for ordinal in wanted.clone() {
        let found = by_ordinal.get(&ordinal);
        plan.pending.extend(found.filter(|pod| pods::phase(pod) == "Pending").map(|_| ordinal));
        match found {
            None => {
                // Below the partition a pod comes back as it was.
                let current = shape.rolling && ordinal < shape.partition && !revisions.0.is_empty();
                plan.create.push((ordinal, current));
            }
            // It is made anew once it is gone.
            Some(pod) if pods::is_finished(pod) && !is_deleting(&pod.metadata) => plan.delete.push(Arc::clone(pod)),
            Some(pod) if shape.ordered && !is_well(pod) => return plan,
            Some(_) => continue,
        }
        if shape.ordered {
            return plan;
        }
    }
    let is_healthy = |pod: &Pod| !is_deleting(&pod.metadata) && pods::is_ready(pod);
    let first_ill = condemned.iter().find(|ordinal| by_ordinal.get(ordinal).is_some_and(|pod| !is_healthy(pod)));
    for ordinal in condemned.iter().rev() {
        let Some(pod) = by_ordinal.get(ordinal) else { continue };
        if is_deleting(&pod.metadata) {
            if shape.ordered {
                return plan;
            }
            continue;
        }
        // While more than one is ill, whoever keeps the data needs time: nothing more is taken away. Those that have ended
        // will not get well.
        let is_ill = !is_well(pod) && !pods::is_finished(pod);
        if shape.ordered && is_ill && first_ill != Some(ordinal) {
            return plan;
        }
        plan.delete.push(Arc::clone(pod));
        if shape.ordered {
            return plan;
        }
    }
    if shape.rolling && plan.create.is_empty() && plan.delete.is_empty() {
        plan.delete = update(&shape, &by_ordinal, revisions.1, is_well);
    }
    plan
}

/// Old pods to delete, the highest ordinals first, so many that not too many are away.
fn update(
    shape: &Shape,
    by_ordinal: &BTreeMap<i32, &Arc<Pod>>,
    update: &str,
    is_well: impl Fn(&Pod) -> bool,
) -> Vec<Arc<Pod>> {
    let own = by_ordinal.range(shape.first..shape.end);
    let away = own.clone().filter(|(_, pod)| !is_well(pod)).count();
    let mut room = shape.max_unavailable.saturating_sub(away);
    let mut delete = Vec::new();
    for (_, pod) in own.rev().take_while(|(ordinal, _)| **ordinal >= shape.partition) {
        let old = identity::revision(pod) != update;
        if !old || is_deleting(&pod.metadata) {
            if !is_well(pod) && shape.max_unavailable == 1 {
                return delete;
            }
            continue;
        }
        // One that is not well anyway is no further loss.
        if is_well(pod) {
            if room == 0 {
                break;
            }
            room -= 1;
        }
        delete.push(Arc::clone(pod));
        if shape.max_unavailable == 1 {
            break;
        }
    }
    delete
}
