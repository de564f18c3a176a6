//! Steps of DaemonSets, as sentences, and that updates end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, NodeSpec, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::prelude::*;
use serde_json::json;

use super::nodes::{new_pod, of_pod};
use super::plan::plan;
use crate::owners::name;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
}

fn set(spec: serde_json::Value) -> DaemonSet {
    let mut base = json!({"selector": {"matchLabels": {"app": "log"}}, "template": {"spec": {"containers": []}}});
    base.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    let spec: DaemonSetSpec = serde_json::from_value(base).expect("a spec");
    DaemonSet {
        metadata: ObjectMeta { name: Some("log".into()), ..ObjectMeta::default() },
        spec: Some(spec),
        status: None,
    }
}

/// `a disk=ssd +key:NoSchedule`
fn node(text: &str) -> Arc<Node> {
    let mut words = text.split(' ');
    let own = words.next().unwrap_or_default().to_owned();
    let (mut labels, mut taints) = (std::collections::BTreeMap::new(), Vec::new());
    for word in words {
        if let Some((key, effect)) = word.strip_prefix('+').and_then(|taint| taint.split_once(':')) {
            taints.push(serde_json::from_value(json!({"key": key, "effect": effect})).expect("a taint"));
        } else if let Some((label, value)) = word.split_once('=') {
            labels.insert(label.to_owned(), value.to_owned());
        }
    }
    let metadata = ObjectMeta { name: Some(own), labels: Some(labels), ..ObjectMeta::default() };
    Arc::new(Node { metadata, spec: Some(NodeSpec { taints: Some(taints), ..NodeSpec::default() }), status: None })
}

/// `a new`: on node a, of the new template, well; `?` after the node: not ready; `!`: being deleted; `x`: failed.
fn pod(set: &DaemonSet, text: &str, age: i64) -> Arc<Pod> {
    let (word, hash) = text.split_once(' ').expect("a node and a hash");
    let node = word.trim_end_matches(['?', '!', 'x']);
    let mut pod = new_pod(set, hash, node);
    pod.metadata.name = Some(format!("log-{node}-{hash}"));
    pod.metadata.creation_timestamp = Some(Time(now() - SignedDuration::from_secs(age)));
    pod.metadata.deletion_timestamp = word.ends_with('!').then(|| Time(now()));
    let condition = PodCondition {
        type_: "Ready".into(),
        status: if word.ends_with(['?', 'x']) { "False" } else { "True" }.into(),
        last_transition_time: Some(Time(now() - SignedDuration::from_secs(60))),
        ..PodCondition::default()
    };
    pod.status = Some(PodStatus {
        phase: Some(if word.ends_with('x') { "Failed" } else { "Running" }.into()),
        conditions: Some(vec![condition]),
        ..PodStatus::default()
    });
    Arc::new(pod)
}

fn told(set: &DaemonSet, nodes: &str, pods: &str) -> String {
    let nodes: Vec<_> = nodes.split(", ").map(node).collect();
    let texts = pods.split(", ").filter(|text| !text.is_empty());
    let pods: Vec<_> = texts.enumerate().map(|(at, text)| pod(set, text, 100 - at as i64)).collect();
    let plan = plan(set, &nodes, &pods, "new", now());
    let mut words: Vec<String> = plan.create.iter().map(|node| format!("create {node}")).collect();
    words.extend(plan.delete.iter().map(|pod| format!("delete {}", name(&pod.metadata))));
    words.extend(plan.failed.iter().map(|pod| format!("failed {}", of_pod(pod))));
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

#[test]
fn every_node_that_fits_has_one_pod() {
    let all = set(json!({}));
    assert_eq!(told(&all, "a, b +x:NoSchedule, c +node.kubernetes.io/not-ready:NoExecute", ""), "create a, create c");
    assert_eq!(told(&all, "a, b", "a new, a new"), "create b, delete log-a-new");
    assert_eq!(told(&all, "a, b", "ax new, b! new"), "failed a");
    assert_eq!(told(&all, "a", "a new, gone new"), "delete log-gone-new");
    // What came later does not drive away who is there, unless it says so.
    assert_eq!(told(&all, "a +x:NoSchedule, b +x:NoExecute", "a new, b new"), "delete log-b-new");
    let some = set(json!({"template": {"spec": {"containers": [], "nodeSelector": {"disk": "ssd"}}}}));
    assert_eq!(told(&some, "a disk=ssd, b", "b new"), "create a, delete log-b-new");
}

#[test]
fn updates_take_away_what_may_be_missed() {
    let one = set(json!({}));
    assert_eq!(told(&one, "a, b, c", "a old, b old, c old"), "delete log-a-old");
    assert_eq!(told(&one, "a, b, c", "a? new, b old, c old"), "nothing");
    assert_eq!(told(&one, "a, b, c", "a old, b? old, c old"), "delete log-b-old");
    let half = set(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}));
    assert_eq!(told(&half, "a, b, c", "a old, b old, c old"), "delete log-a-old, delete log-b-old");
    let by_hand = set(json!({"updateStrategy": {"type": "OnDelete"}}));
    assert_eq!(told(&by_hand, "a", "a old"), "nothing");
}

#[test]
fn a_surge_makes_the_new_pod_first() {
    let surge = set(json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}));
    assert_eq!(told(&surge, "a, b", "a old, b old"), "create a");
    assert_eq!(told(&surge, "a, b", "a old, a? new, b old"), "nothing");
    assert_eq!(told(&surge, "a, b", "a old, a new, b old"), "delete log-a-old");
    assert_eq!(told(&surge, "a, b", "a new, b? old"), "delete log-b-old");
}

proptest! {
    #[test]
    fn every_update_ends_and_keeps_its_word(
        count in 1..7usize, surge in 0..3usize, unavailable in 1..4usize,
        sick in proptest::collection::vec(any::<bool>(), 7),
    ) {
        let rolling = if surge > 0 {
            json!({"maxSurge": surge, "maxUnavailable": 0})
        } else {
            json!({"maxUnavailable": unavailable})
        };
        let set = set(json!({"updateStrategy": {"rollingUpdate": rolling}}));
        let nodes: Vec<_> = (0..count).map(|at| node(&format!("n{at}"))).collect();
        let mut pods: Vec<String> =
            (0..count).map(|at| format!("n{at}{} old", if sick[at] { "?" } else { "" })).collect();
        let healthy = sick.iter().take(count).filter(|sick| !**sick).count();
        for round in 0.. {
            prop_assert!(round < 60, "{pods:?}");
            let seen: Vec<_> = pods.iter().enumerate().map(|(at, text)| pod(&set, text, 100 - at as i64)).collect();
            let next = plan(&set, &nodes, &seen, "new", now());
            if next == super::plan::Plan::default() && pods.iter().all(|text| !text.contains('?')) {
                break;
            }
            let gone: Vec<String> =
                next.delete.iter().map(|pod| format!("{} {}", of_pod(pod), super::plan::hash(pod))).collect();
            pods.retain(|text| !gone.contains(&text.replace('?', "")));
            let well = pods.iter().filter(|text| !text.contains('?')).count();
            let least = if surge > 0 { healthy } else { healthy.saturating_sub(unavailable) };
            prop_assert!(well >= least.min(healthy), "{well} of {healthy} serve: {pods:?}");
            // What was made before is well by now.
            for text in pods.iter_mut().filter(|text| text.ends_with("new")) {
                *text = text.replace('?', "");
            }
            pods.extend(next.create.iter().map(|node| format!("{node}? new")));
        }
        prop_assert_eq!(pods.len(), count);
        prop_assert!(pods.iter().all(|text| text.ends_with("new")), "{pods:?}");
    }
}
