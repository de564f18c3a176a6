//! VolumeBinding, VolumeZone and VolumeRestrictions: where the volumes of a pod can be used, and by whom.

use super::Refusal;
use crate::ask::Ask;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::events::{Event, is_relabelled};
use crate::node::NodeState;
use crate::volumes::reachable;

/// Labels of volumes that name where they are; several values have two underscores between them.
const PLACES: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

pub(super) fn has_claims(case: &Case) -> bool {
    !case.ask.claims.is_empty()
}

pub(super) fn filter(case: &Case, cluster: &Cluster, state: &NodeState) -> Option<Refusal> {
    if case.volumes.is_lost {
        return Refusal::never("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
    }
    if !case.volumes.bound.iter().all(|volume| reachable(volume, state)) {
        return Refusal::never("node(s) didn't match PersistentVolume's node affinity");
    }
    if !case.volumes.open.is_empty() && cluster.volumes.plan(&case.volumes, state).is_none() {
        return Refusal::never("node(s) didn't find available persistent volumes to bind");
    }
    None
}

pub(super) fn zone(case: &Case, _: &Cluster, state: &NodeState) -> Option<Refusal> {
    let labels = case.volumes.bound.iter().flat_map(|volume| volume.metadata.labels.iter().flatten());
    let mut places = labels.filter(|(key, _)| PLACES.contains(&key.as_str()));
    let is_there = |(key, values): (&String, &String)| {
        // A node that does not say where it is is not held against it, as long as it says nothing at all.
        let says_nothing = PLACES.iter().all(|place| state.label(place).is_none());
        says_nothing || state.label(key).is_some_and(|here| values.split("__").any(|value| value == here))
    };
    if places.all(is_there) { None } else { Refusal::never("node(s) had no available volume zone") }
}

pub(super) fn exclusive(case: &Case, cluster: &Cluster, _: &NodeState) -> Option<Refusal> {
    if case.volumes.exclusive.iter().all(|claim| cluster.mounts(claim) == 0) {
        return None;
    }
    Refusal::crowded("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
}

pub(super) fn wakes(ask: &Ask, event: &Event) -> bool {
    match event {
        Event::Claim(claim) => {
            let (namespace, name) = (claim.metadata.namespace.as_ref(), claim.metadata.name.as_ref());
            let is_it = |mounted: &crate::ask::Mounted| {
                Some(&mounted.claim.name) == name && Some(&mounted.claim.namespace) == namespace
            };
            ask.claims.iter().any(is_it)
        }
        Event::Volume | Event::Class => true,
        other => is_relabelled(other),
    }
}

pub(super) fn exclusive_wakes(ask: &Ask, event: &Event) -> bool {
    match event {
        Event::PodGone(gone) => {
            gone.claims.iter().any(|held| ask.claims.iter().any(|mounted| mounted.claim == held.claim))
        }
        other => wakes(ask, other),
    }
}
