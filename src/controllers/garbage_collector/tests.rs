//! What becomes of objects as their owners come and go, and that a collection ends.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use proptest::prelude::*;

use super::plan::{Dependent, FOREGROUND, ORPHAN, Owner, Plan, Propagation, plan};

fn object(owners: &[(&str, bool)], finalizers: &[&str], deleting: bool) -> ObjectMeta {
    let references = owners.iter().map(|(uid, blocks)| OwnerReference {
        uid: (*uid).into(),
        block_owner_deletion: Some(*blocks),
        ..OwnerReference::default()
    });
    ObjectMeta {
        owner_references: Some(references.collect()),
        finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
        deletion_timestamp: deleting.then_some(Time(Timestamp::UNIX_EPOCH)),
        ..ObjectMeta::default()
    }
}

fn dependent(uid: &str, blocks: bool, waiting: bool) -> Dependent {
    Dependent { uid: uid.into(), blocks, waiting, deleting: waiting }
}

fn background() -> Plan {
    Plan::Delete { propagation: Propagation::Background, unblock: Vec::new() }
}

#[test]
fn an_object_goes_with_the_last_of_its_owners() {
    let pair = object(&[("one", true), ("two", true)], &[], false);
    assert_eq!(plan(&pair, &[Owner::Solid, Owner::Solid], &[]), Plan::Nothing);
    let Plan::Keep(kept) = plan(&pair, &[Owner::Gone, Owner::Solid], &[]) else { panic!("one owner is left") };
    assert_eq!(kept.iter().map(|reference| reference.uid.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(plan(&pair, &[Owner::Gone, Owner::Gone], &[]), background());
    assert_eq!(plan(&pair, &[Owner::Waiting, Owner::Gone], &[]), background());
    assert_eq!(plan(&object(&[], &[], false), &[], &[]), Plan::Nothing);
}

#[test]
fn foreground_deletion_waits_for_what_blocks() {
    let waiting = object(&[], &[FOREGROUND], true);
    assert_eq!(plan(&waiting, &[], &[dependent("a", true, false)]), Plan::Await(vec!["a".into()]));
    assert_eq!(plan(&waiting, &[], &[dependent("a", true, true)]), Plan::Await(vec![]));
    assert_eq!(plan(&waiting, &[], &[dependent("a", false, false)]), Plan::Release);
    assert_eq!(plan(&object(&[], &[ORPHAN], true), &[], &[dependent("a", true, false)]), Plan::Orphan);
    assert_eq!(plan(&object(&[], &["example.com/other"], true), &[], &[]), Plan::Nothing);
}

#[test]
fn a_cycle_of_blocking_references_is_broken() {
    let member = object(&[("other", true)], &[], false);
    assert_eq!(
        plan(&member, &[Owner::Waiting], &[dependent("other", true, true)]),
        Plan::Delete { propagation: Propagation::Foreground, unblock: vec!["other".into()] }
    );
}

/// A little cluster: carries plans out as the server would.
#[derive(Debug)]
struct World {
    objects: BTreeMap<String, ObjectMeta>,
}

impl World {
    fn owners(&self, meta: &ObjectMeta) -> Vec<Owner> {
        let stands = |uid: &String| match self.objects.get(uid) {
            None => Owner::Gone,
            Some(owner) if owner.deletion_timestamp.is_some() && super::plan::has_finalizer(owner, FOREGROUND) => {
                Owner::Waiting
            }
            Some(_) => Owner::Solid,
        };
        meta.owner_references.iter().flatten().map(|reference| stands(&reference.uid)).collect()
    }

    fn dependents(&self, uid: &str) -> Vec<Dependent> {
        let found = self.objects.iter().filter_map(|(name, meta)| {
            let reference = meta.owner_references.iter().flatten().find(|reference| reference.uid == uid)?;
            let deleting = meta.deletion_timestamp.is_some();
            Some(Dependent {
                uid: name.clone(),
                blocks: reference.block_owner_deletion == Some(true),
                waiting: deleting && super::plan::has_finalizer(meta, FOREGROUND),
                deleting,
            })
        });
        found.collect()
    }

    fn delete(&mut self, uid: &str, propagation: Propagation) {
        let Some(meta) = self.objects.get_mut(uid) else { return };
        let finalizer = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Orphan => Some(ORPHAN),
        };
        meta.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        meta.finalizers = Some(finalizer.into_iter().map(str::to_owned).collect());
        self.sweep(uid);
    }

    fn sweep(&mut self, uid: &str) {
        let gone = self
            .objects
            .get(uid)
            .is_some_and(|meta| meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().next().is_none());
        if gone {
            self.objects.remove(uid);
        }
    }

    /// Returns whether anything happened.
    fn step(&mut self, uid: &str) -> bool {
        let Some(meta) = self.objects.get(uid).cloned() else { return false };
        let owners = if meta.deletion_timestamp.is_some() { Vec::new() } else { self.owners(&meta) };
        match plan(&meta, &owners, &self.dependents(uid)) {
            Plan::Nothing | Plan::Await(_) => return false,
            Plan::Orphan => {
                for meta in self.objects.values_mut() {
                    meta.owner_references.iter_mut().for_each(|all| all.retain(|reference| reference.uid != uid));
                }
                self.clear_finalizers(uid);
            }
            Plan::Release => self.clear_finalizers(uid),
            Plan::Keep(references) => self.objects.get_mut(uid).unwrap().owner_references = Some(references),
            Plan::Delete { propagation, unblock } => {
                for dependent in unblock {
                    let references = self.objects.get_mut(&dependent).unwrap().owner_references.iter_mut().flatten();
                    references
                        .filter(|reference| reference.uid == uid)
                        .for_each(|reference| reference.block_owner_deletion = Some(false));
                }
                self.delete(uid, propagation);
            }
        }
        true
    }

    fn clear_finalizers(&mut self, uid: &str) {
        self.objects.get_mut(uid).unwrap().finalizers = None;
        self.sweep(uid);
    }
}

proptest! {
    #[test]
    fn a_collection_ends_and_leaves_no_object_without_its_owners(
        edges in proptest::collection::vec((0..8usize, 0..8usize, any::<bool>()), 0..16),
        deleted in 0..8usize,
        how in 0..3usize,
    ) {
        let mut world = World { objects: (0..8).map(|index| (index.to_string(), object(&[], &[], false))).collect() };
        for (from, to, blocks) in edges {
            let references = world.objects.get_mut(&from.to_string()).unwrap().owner_references.as_mut().unwrap();
            if references.iter().all(|reference| reference.uid != to.to_string()) && from != to {
                references.push(OwnerReference {
                    uid: to.to_string(),
                    block_owner_deletion: Some(blocks),
                    ..OwnerReference::default()
                });
            }
        }
        let propagation = [Propagation::Background, Propagation::Foreground, Propagation::Orphan][how];
        world.delete(&deleted.to_string(), propagation);
        let mut rounds = 0;
        loop {
            let uids: Vec<String> = world.objects.keys().cloned().collect();
            let mut moved = false;
            for uid in uids {
                moved |= world.step(&uid);
            }
            if !moved {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 100);
        }
        for meta in world.objects.values() {
            let owners = world.owners(meta);
            prop_assert!(owners.is_empty() || owners.iter().all(|owner| *owner == Owner::Solid), "{:?}", world);
            prop_assert!(meta.deletion_timestamp.is_none(), "{:?}", world);
        }
    }
}
