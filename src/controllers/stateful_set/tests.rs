//! Steps of StatefulSets, as sentences, and that they end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use proptest::prelude::*;
use serde_json::json;

use super::plan::plan;
use super::{identity, status, volumes};
use crate::history::History;
use crate::owners::name;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
}

fn set(spec: serde_json::Value) -> StatefulSet {
    let mut base = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {}, "serviceName": "web"});
    base.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    let spec: StatefulSetSpec = serde_json::from_value(base).expect("a spec");
    let metadata = ObjectMeta { name: Some("web".into()), uid: Some("set".into()), ..ObjectMeta::default() };
    StatefulSet { metadata, spec: Some(spec), status: None }
}

/// `web-0 r1`: well; `?` after the name: not ready; `!`: being deleted; `x`: failed.
fn pod(text: &str) -> Arc<Pod> {
    let (word, revision) = text.split_once(' ').expect("a name and a revision");
    let own = word.trim_end_matches(['?', '!', 'x']);
    let condition = PodCondition {
        type_: "Ready".into(),
        status: if word.ends_with(['?', 'x']) { "False" } else { "True" }.into(),
        last_transition_time: Some(Time(now() - SignedDuration::from_secs(60))),
        ..PodCondition::default()
    };
    Arc::new(Pod {
        metadata: ObjectMeta {
            name: Some(own.into()),
            uid: Some(own.into()),
            labels: Some([("controller-revision-hash".to_owned(), revision.to_owned())].into()),
            deletion_timestamp: word.ends_with('!').then(|| Time(now())),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(PodStatus {
            phase: Some(if word.ends_with('x') { "Failed" } else { "Running" }.into()),
            conditions: Some(vec![condition]),
            ..PodStatus::default()
        }),
    })
}

fn told(set: &StatefulSet, pods: &str) -> String {
    let pods: Vec<_> = pods.split(", ").filter(|text| !text.is_empty()).map(pod).collect();
    let plan = plan(set, &pods, ("r1", "r2"), now());
    let mut words: Vec<String> = plan
        .create
        .iter()
        .map(|(ordinal, current)| format!("create {ordinal} of {}", if *current { "r1" } else { "r2" }))
        .collect();
    words.extend(plan.delete.iter().map(|pod| format!("delete {}", name(&pod.metadata))));
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

#[test]
fn pods_come_in_order_and_each_waits_for_the_one_before() {
    let three = set(json!({"replicas": 3}));
    assert_eq!(told(&three, ""), "create 0 of r2");
    assert_eq!(told(&three, "web-0? r2"), "nothing");
    assert_eq!(told(&three, "web-0 r2"), "create 1 of r2");
    assert_eq!(told(&three, "web-0x r2, web-1 r2"), "delete web-0");
    assert_eq!(told(&three, "web-0 r2, web-1! r2, web-2 r2"), "nothing");
    let parallel = set(json!({"replicas": 3, "podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(told(&parallel, "web-6? r2"), "create 5 of r2, create 7 of r2");
}

#[test]
fn scaling_down_takes_the_highest_first() {
    let one = set(json!({"replicas": 1}));
    assert_eq!(told(&one, "web-0 r2, web-1 r2, web-2 r2"), "delete web-2");
    assert_eq!(told(&one, "web-0 r2, web-1 r2, web-2! r2"), "nothing");
    assert_eq!(told(&one, "web-0? r2, web-1 r2"), "nothing");
    // One that is ill goes when it is the only one; several may be what is left of a quorum.
    assert_eq!(told(&one, "web-0 r2, web-1 r2, web-2? r2"), "delete web-2");
    assert_eq!(told(&one, "web-0 r2, web-1? r2, web-2? r2"), "nothing");
    assert_eq!(told(&one, "web-0 r2, web-1? r2, web-2 r2"), "delete web-2");
    let none = set(json!({"replicas": 0}));
    assert_eq!(told(&none, "web-0? r2, web-1? r2, web-2? r2"), "nothing");
    assert_eq!(told(&none, "web-0? r2"), "delete web-0");
    let parallel = set(json!({"replicas": 1, "podManagementPolicy": "Parallel"}));
    assert_eq!(told(&parallel, "web-0? r2, web-1 r2, web-2 r2"), "delete web-2, delete web-1");
}

#[test]
fn updates_go_down_to_the_partition() {
    let three = set(json!({"replicas": 3}));
    assert_eq!(told(&three, "web-0 r1, web-1 r1, web-2 r1"), "delete web-2");
    assert_eq!(told(&three, "web-0 r1, web-1 r1, web-2? r2"), "nothing");
    assert_eq!(told(&three, "web-0 r1, web-1 r1, web-2 r2"), "delete web-1");
    let held = set(json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}));
    assert_eq!(told(&held, "web-0 r1, web-1 r1, web-2 r2"), "nothing");
    assert_eq!(told(&held, "web-0 r1"), "create 1 of r1");
    let two = set(json!({"replicas": 4, "podManagementPolicy": "Parallel",
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}));
    assert_eq!(told(&two, "web-0 r1, web-1 r1, web-2 r1, web-3 r1"), "delete web-3, delete web-2");
    let by_hand = set(json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}}));
    assert_eq!(told(&by_hand, "web-0 r1, web-1 r1"), "nothing");
    assert_eq!(told(&by_hand, "web-0 r1"), "create 1 of r2");
}

#[test]
fn a_set_is_through_when_all_are_new_and_one_that_is_updated_by_hand_never_is() {
    let revision = |name: &str| ControllerRevision {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        ..ControllerRevision::default()
    };
    let all = vec![Arc::new(revision("r1")), Arc::new(revision("r2"))];
    let history = History { all, update: revision("r2"), collisions: 0 };
    let told = |strategy: &str, pods: &str| {
        let mut set = set(json!({"replicas": 2, "updateStrategy": {"type": strategy}}));
        set.status = Some(StatefulSetStatus { current_revision: Some("r1".into()), ..StatefulSetStatus::default() });
        let pods: Vec<_> = pods.split(", ").map(pod).collect();
        let status = status::status(&set, &pods, &history, &status::current_revision(&set, &history), now());
        let revisions = (status.current_revision.unwrap_or_default(), status.update_revision.unwrap_or_default());
        let counts = [Some(status.replicas), status.current_replicas, status.updated_replicas, status.ready_replicas];
        format!("{} -> {}: {:?}", revisions.0, revisions.1, counts.map(|count| count.unwrap_or(0)))
    };
    for strategy in ["RollingUpdate", "OnDelete"] {
        assert_eq!(told(strategy, "web-0 r1, web-1 r1"), "r1 -> r2: [2, 2, 0, 2]");
        assert_eq!(told(strategy, "web-0 r1, web-1? r2"), "r1 -> r2: [2, 1, 1, 1]");
        assert_eq!(told(strategy, "web-0! r1, web-1x r2"), "r1 -> r2: [2, 0, 1, 1]");
    }
    assert_eq!(told("RollingUpdate", "web-0 r2, web-1 r2"), "r2 -> r2: [2, 2, 2, 2]");
    assert_eq!(told("OnDelete", "web-0 r2, web-1 r2"), "r1 -> r2: [2, 0, 2, 2]");
}

#[test]
fn claims_are_named_after_their_pod_and_go_with_whom_the_policy_says() {
    let mut web = set(json!({"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}}));
    let claim = volumes::of(&web, 3).remove(0);
    assert_eq!(name(&claim.metadata), "data-web-3");
    assert!(volumes::is_of(&web, "data-web-3") && !volumes::is_of(&web, "data-webs-3"));
    let owner = |set: &StatefulSet, condemned| {
        let owners = volumes::owners(set, &claim, Some(&pod("web-3 r1")), condemned);
        let told = |owners: Vec<_>| owners.iter().map(|owner: &OwnerReference| owner.kind.clone()).collect::<Vec<_>>();
        assert!(owners.iter().flatten().all(|owner| owner.controller == Some(true)));
        owners.map(told)
    };
    assert_eq!(owner(&web, false), Some(vec!["StatefulSet".to_owned()]));
    assert_eq!(owner(&web, true), Some(vec!["Pod".to_owned()]));
    // What somebody else controls is theirs.
    let mut theirs = claim.clone();
    theirs.metadata.owner_references =
        Some(vec![OwnerReference { controller: Some(true), ..OwnerReference::default() }]);
    assert_eq!(volumes::owners(&web, &theirs, None, false), None);
    web.spec.as_mut().expect("spec").persistent_volume_claim_retention_policy = None;
    assert_eq!(owner(&web, true), None);
    let kept = PersistentVolumeClaim::default();
    assert_eq!(volumes::owners(&web, &kept, None, false), None);
}

#[test]
fn only_whole_numbers_are_ordinals() {
    let web = set(json!({}));
    for (pod, wanted) in
        [("web-0", Some(0)), ("web-12", Some(12)), ("web-01", None), ("web--1", None), ("webs-1", None)]
    {
        assert_eq!(identity::ordinal(&web, pod), wanted, "{pod}");
    }
}

proptest! {
    #[test]
    fn every_set_comes_to_rest(
        replicas in 0..6i32, start in 0..3i32, parallel: bool, partition in 0..4i32,
        states in proptest::collection::vec((0..10i32, 0..4usize, any::<bool>()), 0..8),
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let web = set(json!({"replicas": replicas, "ordinals": {"start": start}, "podManagementPolicy": policy,
            "updateStrategy": {"rollingUpdate": {"partition": partition}}}));
        let mut pods: std::collections::BTreeMap<i32, String> = states.into_iter().map(|(ordinal, state, old)| {
            let mark = ["", "?", "!", "x"][state];
            (ordinal, format!("web-{ordinal}{mark} {}", if old { "r1" } else { "r2" }))
        }).collect();
        for round in 0.. {
            prop_assert!(round < 100, "{pods:?}");
            let seen: Vec<_> = pods.values().map(|text| pod(text)).collect();
            let next = plan(&web, &seen, ("r1", "r2"), now());
            let mut busy = !(next.create.is_empty() && next.delete.is_empty());
            for (ordinal, current) in &next.create {
                let old = pods.insert(*ordinal, format!("web-{ordinal}? {}", if *current { "r1" } else { "r2" }));
                prop_assert!(old.is_none(), "two pods of ordinal {ordinal}");
            }
            for gone in &next.delete {
                let ordinal = identity::ordinal(&web, name(&gone.metadata)).expect("an ordinal");
                pods.insert(ordinal, format!("web-{ordinal}! r1"));
            }
            // Time passes: what goes is gone, what starts is well.
            let before = pods.clone();
            pods.retain(|_, text| !text.contains('!'));
            for text in pods.values_mut() {
                *text = text.replace('?', "");
            }
            busy |= before != pods;
            if !busy {
                break;
            }
        }
        let wanted: Vec<i32> = (start..start + replicas).collect();
        prop_assert_eq!(pods.keys().copied().collect::<Vec<_>>(), wanted);
        for (ordinal, text) in &pods {
            prop_assert!(*ordinal < start + partition || text.ends_with("r2"), "{pods:?}");
        }
    }
}
