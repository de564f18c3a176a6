//! What a StatefulSet's status says.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity;
use crate::history::History;
use crate::owners::{is_deleting, name};
use crate::pods::{self, Availability};

pub(super) fn min_ready_seconds(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// The revision that pods have until the update is through.
pub(super) fn current_revision(set: &StatefulSet, history: &History) -> String {
    let said = set.status.as_ref().and_then(|status| status.current_revision.as_deref()).unwrap_or_default();
    let known = history.all.iter().any(|revision| name(&revision.metadata) == said);
    if known { said.to_owned() } else { name(&history.update.metadata).to_owned() }
}

/// Counts the pods.
pub(super) fn status(
    set: &StatefulSet,
    owned: &[Arc<Pod>],
    history: &History,
    current: &str,
    now: Timestamp,
) -> StatefulSetStatus {
    let update = name(&history.update.metadata);
    let min_ready = min_ready_seconds(set);
    let made = || owned.iter().filter(|pod| !pods::phase(pod).is_empty());
    let of = |revision: &str| {
        count(made().filter(|pod| !is_deleting(&pod.metadata) && identity::revision(pod) == revision).count())
    };
    let ready = made().filter(|pod| !pods::is_finished(pod) && pods::is_ready(pod)).count();
    let available = made().filter(|pod| pods::availability(pod, min_ready, now) == Availability::Yes).count();
    let mut status = StatefulSetStatus {
        replicas: count(made().count()),
        ready_replicas: Some(count(ready)).filter(|count| *count > 0),
        available_replicas: Some(count(available)),
        current_replicas: Some(of(current)).filter(|count| *count > 0),
        updated_replicas: Some(of(update)).filter(|count| *count > 0),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: Some(history.collisions),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    let whole = status.updated_replicas.unwrap_or(0) == status.replicas && count(ready) == status.replicas;
    let all = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) == status.replicas;
    // Whoever deletes pods by hand is never told that an update is through: Kubernetes leaves the revision as it is.
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref());
    let rolling = strategy != Some("OnDelete");
    if rolling && current != update && whole && all {
        status.current_revision = status.update_revision.clone();
        status.current_replicas = status.updated_replicas;
    }
    status
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
