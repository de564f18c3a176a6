//! What is to become of one object. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::owners::is_deleting;

/// The object waits until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The object waits until its dependents have forgotten it.
pub(super) const ORPHAN: &str = "orphan";

pub(super) fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|name| name == finalizer)
}

/// How an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// There.
    Solid,
    /// There, being deleted, waiting for its dependents.
    Waiting,
    /// Gone.
    Gone,
}

/// What is known of a dependent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dependent {
    pub uid: String,
    /// Its reference blocks the foreground deletion of its owner.
    pub blocks: bool,
    /// Its own deletion waits for its dependents.
    pub waiting: bool,
    /// Its deletion has begun.
    pub deleting: bool,
}

/// How dependents are treated when an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What a run does with the object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    Nothing,
    /// Take the owner out of its dependents, then the finalizer out of the owner.
    Orphan,
    /// Take the foreground finalizer out: nothing blocks any more.
    Release,
    /// Look at these dependents: they are to go first.
    Await(Vec<String>),
    /// Keep only these owner references.
    Keep(Vec<OwnerReference>),
    /// Delete it; beforehand, its references to these dependents of its own stop blocking.
    Delete {
        propagation: Propagation,
        unblock: Vec<String>,
    },
}

/// Plans for the live object, its owners in the order of its references, and its dependents.
pub(super) fn plan(meta: &ObjectMeta, owners: &[Owner], dependents: &[Dependent]) -> Plan {
    if is_deleting(meta) {
        return plan_deleting(meta, dependents);
    }
    let references = meta.owner_references.as_deref().unwrap_or_default();
    if references.is_empty() || references.len() != owners.len() {
        return Plan::Nothing;
    }
    if owners.contains(&Owner::Solid) {
        let solid: Vec<_> = references
            .iter()
            .zip(owners)
            .filter(|(_, owner)| **owner == Owner::Solid)
            .map(|(reference, _)| reference.clone())
            .collect();
        return if solid.len() == references.len() { Plan::Nothing } else { Plan::Keep(solid) };
    }
    if owners.contains(&Owner::Waiting) && !dependents.is_empty() {
        // A dependent that waits for this one while this one is to wait for it would wait for ever.
        let unblock = dependents.iter().filter(|dependent| dependent.waiting && dependent.blocks);
        let unblock = unblock.map(|dependent| dependent.uid.clone()).collect();
        return Plan::Delete { propagation: Propagation::Foreground, unblock };
    }
    let propagation = if has_finalizer(meta, ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(meta, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Plan::Delete { propagation, unblock: Vec::new() }
}

fn plan_deleting(meta: &ObjectMeta, dependents: &[Dependent]) -> Plan {
    if has_finalizer(meta, ORPHAN) {
        return Plan::Orphan;
    }
    if !has_finalizer(meta, FOREGROUND) {
        return Plan::Nothing;
    }
    let blocking = dependents.iter().any(|dependent| dependent.blocks);
    if !blocking {
        return Plan::Release;
    }
    let waiting = dependents.iter().filter(|dependent| !dependent.deleting);
    Plan::Await(waiting.map(|dependent| dependent.uid.clone()).collect())
}
