//! A Deployment that changes its size in the middle of a rollout, or while it is paused, changes all of its ReplicaSets
//! in proportion, so that the risk of the rollout stays what it was.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::model::{self, Model};
use super::{revisions, rolling};

/// Whether a ReplicaSet was sized for another number of replicas than is wanted now.
pub(super) fn is_needed(model: &Model<'_>) -> bool {
    let wanted = i64::from(model.wanted());
    model
        .all()
        .filter(|set| model::replicas(set) > 0)
        .any(|set| revisions::number(set, revisions::DESIRED).is_some_and(|desired| desired != wanted))
}

/// Gives every ReplicaSet its size for the wanted number of replicas.
pub(super) fn scale(model: &mut Model<'_>) {
    let (wanted, max) = (model.wanted(), model.wanted() + model.max_surge());
    if let Some(only) = active_or_latest(model) {
        if model::replicas(only) != wanted {
            rolling::resize(only, wanted, wanted, max);
        }
        return;
    }
    if is_saturated(model) {
        for set in model.old.iter_mut().filter(|set| model::replicas(set) > 0) {
            rolling::resize(set, 0, wanted, max);
        }
        return;
    }
    if model.is_rolling() {
        scale_in_proportion(model, wanted, max);
    }
}

/// The one ReplicaSet that has pods wanted; the newest when none has. None when several have.
fn active_or_latest<'m>(model: &'m mut Model<'_>) -> Option<&'m mut ReplicaSet> {
    match model.all().filter(|set| model::replicas(set) > 0).count() {
        0 if model.new.is_some() => model.new.as_mut(),
        0 => model.old.last_mut(),
        1 => model.all_mut().find(|set| model::replicas(set) > 0),
        _ => None,
    }
}

/// Whether the new ReplicaSet alone carries the whole Deployment.
fn is_saturated(model: &Model<'_>) -> bool {
    let wanted = model.wanted();
    model.new.as_ref().is_some_and(|new| {
        model::replicas(new) == wanted
            && revisions::number(new, revisions::DESIRED) == Some(wanted.into())
            && model::available(new) == wanted
    })
}

fn scale_in_proportion(model: &mut Model<'_>, wanted: i32, max: i32) {
    let before = model.status.replicas.unwrap_or(0);
    let mut active: Vec<&mut ReplicaSet> = model.all_mut().filter(|set| model::replicas(set) > 0).collect();
    let total: i32 = active.iter().map(|set| model::replicas(set)).sum();
    let allowed = if wanted > 0 { max } else { 0 };
    let to_add = allowed - total;
    // The largest first; of equals the newest when growing and the oldest when shrinking.
    active.sort_by(|one, other| {
        let by_size = model::replicas(other).cmp(&model::replicas(one));
        let by_age = if to_add > 0 {
            model::newest_first(one).cmp(&model::newest_first(other))
        } else {
            model::age(one).cmp(&model::age(other))
        };
        by_size.then(by_age)
    });
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(set, wanted, max, before, to_add, added);
        added += share;
        sizes.push(model::replicas(set) + share);
    }
    // What rounding left over goes to the largest.
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.into_iter().zip(sizes) {
        rolling::resize(set, size, wanted, max);
    }
}

/// What of `to_add` falls to one ReplicaSet.
fn share(set: &ReplicaSet, wanted: i32, max: i32, before: i32, to_add: i32, added: i32) -> i32 {
    let replicas = model::replicas(set);
    if to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = if wanted == 0 {
        -replicas
    } else {
        let base = revisions::number(set, revisions::MAX).unwrap_or_else(|| before.into());
        if base == 0 {
            return 0;
        }
        let grown = f64::from(replicas) * f64::from(max) / base as f64;
        grown.round() as i32 - replicas
    };
    let rest = to_add - added;
    if to_add > 0 { fraction.min(rest) } else { fraction.max(rest) }
}
