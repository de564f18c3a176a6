//! How many pods too few, or which too many.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::owner::ReplicaOwner;
use super::{patience, ranking};
use crate::pods;

/// At most this many creations or deletions a run; the next run sees to the rest.
const BURST: usize = 500;

/// What a run does.
#[derive(Debug)]
pub(super) enum Plan {
    /// The right number is there.
    Nothing,
    /// Pods are missing, but nodes refuse them: they are made after a while.
    Wait(Duration),
    /// So many pods are missing.
    Create(usize),
    /// These pods are too many.
    Delete(Vec<Arc<Pod>>),
}

/// Compares the wanted number with the pods that the ReplicaSet owns. `related` gives the pods of its siblings, which
/// are asked for only when pods have to be chosen.
pub(super) fn plan(
    set: &impl ReplicaOwner,
    owned: &[Arc<Pod>],
    related: impl FnOnce() -> Vec<Arc<Pod>>,
    now: Timestamp,
) -> Plan {
    let active = || owned.iter().filter(|pod| pods::is_active(pod));
    let (seen, wanted) = (active().count(), usize::try_from(set.wanted()).unwrap_or(0));
    if seen < wanted {
        return patience::wait(owned, wanted, now).map_or(Plan::Create((wanted - seen).min(BURST)), Plan::Wait);
    }
    let surplus = (seen - wanted).min(BURST);
    if surplus == 0 {
        return Plan::Nothing;
    }
    let active: Vec<_> = active().cloned().collect();
    if surplus == active.len() {
        return Plan::Delete(active);
    }
    Plan::Delete(ranking::first_to_go(active, &related(), surplus, now))
}
