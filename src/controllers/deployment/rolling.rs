//! Rolling updates: the new ReplicaSet grows as far as `maxSurge` lets it, the old ones shrink as far as
//! `maxUnavailable` lets them. One run does one of the two.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::model::{self, Model};
use super::revisions;

/// One step of a rolling update.
pub(super) fn roll(model: &mut Model<'_>) {
    if !resize_new(model) {
        shrink_old(model);
    }
}

/// The size that the new ReplicaSet may have now.
pub(super) fn size_of_new(model: &Model<'_>) -> i32 {
    let Some(new) = &model.new else { return 0 };
    let (wanted, size) = (model.wanted(), model::replicas(new));
    if !model.is_rolling() {
        return wanted;
    }
    let room = wanted + model.max_surge() - model.all().map(model::replicas).sum::<i32>();
    if room <= 0 { size } else { size + room.min(wanted - size) }
}

fn resize_new(model: &mut Model<'_>) -> bool {
    let (wanted, max, size) = (model.wanted(), model.wanted() + model.max_surge(), size_of_new(model));
    let Some(new) = &mut model.new else { return false };
    let before = model::replicas(new);
    let after = if before > wanted { wanted } else { size };
    resize(new, after, wanted, max);
    before != after
}

/// Gives a ReplicaSet its size and notes what it was computed for.
pub(super) fn resize(set: &mut ReplicaSet, replicas: i32, desired: i32, max: i32) {
    model::resize(set, replicas);
    revisions::annotate_sizes(set, desired, max);
}

/// Takes pods of old ReplicaSets away: first those that are not available, then as many as can be missed.
fn shrink_old(model: &mut Model<'_>) {
    let Some(new) = &model.new else { return };
    let (wanted, max) = (model.wanted(), model.wanted() + model.max_surge());
    let available_min = wanted - model.max_unavailable();
    let total: i32 = model.all().map(model::replicas).sum();
    let new_unavailable = model::replicas(new) - model::available(new);
    let mut budget = total - available_min - new_unavailable;
    if budget <= 0 {
        return;
    }
    for set in &mut model.old {
        let (replicas, available) = (model::replicas(set), model::available(set));
        let taken = (replicas - available).clamp(0, budget);
        if taken > 0 {
            resize(set, replicas - taken, wanted, max);
            budget -= taken;
        }
    }
    let mut spare = model.all().map(model::available).sum::<i32>() - available_min;
    for set in &mut model.old {
        let replicas = model::replicas(set);
        let taken = replicas.min(spare);
        if taken > 0 {
            resize(set, replicas - taken, wanted, max);
            spare -= taken;
        }
    }
}
