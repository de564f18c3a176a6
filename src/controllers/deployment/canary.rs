//! While a canary runs: the stable ReplicaSet has its full size, the new one the part of its step, all others nothing.

use super::conditions;
use super::model::{self, Model};
use super::{rolling, template};
use crate::canary::{self, State};

/// The reason of the condition `Progressing` while a canary is held at its step: that it does not progress is no failure.
pub(super) const HELD: &str = "CanaryHeld";

/// How many pods the new ReplicaSet may have for now; nothing when no canary is asked for, or it has come to an end.
/// `model.new` is there.
pub(super) fn size(model: &Model<'_>) -> Option<i32> {
    let annotations = model.deployment.metadata.annotations.as_ref()?;
    if !annotations.contains_key(canary::ANNOTATION) || !model.is_rolling() {
        return None;
    }
    // With nothing to go back to there is nothing to compare.
    if model.old.iter().all(|set| model::replicas(set) == 0) {
        return None;
    }
    let label = |set: &k8s_openapi::api::apps::v1::ReplicaSet| {
        set.metadata.labels.as_ref().and_then(|labels| labels.get(template::HASH_LABEL)).cloned()
    };
    let hash = model.new.as_ref().and_then(label).unwrap_or_default();
    match State::of(model.deployment) {
        Some(state) if state.hash == hash && !state.runs() => None,
        // Nobody is sent to it before its share of the requests is known.
        Some(state) if state.hash == hash => Some(canary::size(state.weight, model.wanted())),
        // The template of before is back: what has its full size already has nothing to prove.
        _ if model.wanted() > 0 && model.new.as_ref().is_some_and(|new| model::replicas(new) >= model.wanted()) => None,
        _ => Some(0),
    }
}

/// Gives each ReplicaSet its size.
pub(super) fn hold(model: &mut Model<'_>, size: i32) {
    let wanted = model.wanted();
    let max = wanted + size;
    let largest = model.old.iter().enumerate().max_by_key(|(at, set)| (model::replicas(set), *at));
    let stable = largest.map(|(at, _)| at);
    for (at, set) in model.old.iter_mut().enumerate() {
        let replicas = if Some(at) == stable { wanted } else { 0 };
        if Some(at) == stable || model::replicas(set) != 0 {
            rolling::resize(set, replicas, wanted, max);
        }
    }
    if let Some(new) = &mut model.new {
        rolling::resize(new, size, wanted, max);
    }
}

/// Whether all pods of the step are there: the rollout waits for time to pass, and for nothing else.
pub(super) fn is_held(model: &Model<'_>, size: i32) -> bool {
    size > 0 && model.new.as_ref().is_some_and(|new| model::available(new) >= size)
}

/// After a canary was held, the clock of the deadline starts anew.
pub(super) fn go_on(model: &mut Model<'_>) {
    if conditions::has_reason(&model.status, conditions::PROGRESSING, HELD) {
        let message = "Deployment is resumed";
        let resumed = conditions::new(conditions::PROGRESSING, "Unknown", conditions::RESUMED, message, model.now);
        conditions::set(&mut model.status, resumed);
    }
}
