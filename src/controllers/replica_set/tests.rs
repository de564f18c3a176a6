//! Plans as sentences, and that they end.

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::prelude::*;

use super::plan::{Plan, plan};
use super::status::status;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000)
}

fn set(replicas: i32, min_ready_seconds: i32) -> ReplicaSet {
    ReplicaSet {
        metadata: ObjectMeta { name: Some("web".into()), generation: Some(3), ..ObjectMeta::default() },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: Some(min_ready_seconds),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

/// `name node phase ready-for-seconds(or -) [cost]`, `!` after the name: being deleted.
fn pod(line: &str) -> Arc<Pod> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ready = words[3].parse::<i64>().ok();
    let time = |seconds| Some(Time(now() - SignedDuration::from_secs(seconds)));
    let annotations =
        words.get(4).map(|cost| [("controller.kubernetes.io/pod-deletion-cost".to_owned(), (*cost).to_owned())].into());
    Arc::new(Pod {
        metadata: ObjectMeta {
            name: Some(words[0].trim_end_matches('!').into()),
            uid: Some(words[0].into()),
            annotations,
            deletion_timestamp: words[0].ends_with('!').then(|| Time(now())),
            creation_timestamp: time(ready.unwrap_or(0)),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: Some(words[1].trim_matches('-').to_owned()).filter(|node| !node.is_empty()),
            ..PodSpec::default()
        }),
        status: Some(PodStatus {
            phase: Some(words[2].into()),
            conditions: Some(vec![PodCondition {
                type_: "Ready".into(),
                status: if ready.is_some() { "True" } else { "False" }.into(),
                last_transition_time: ready.and_then(time),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        }),
    })
}

fn pods(lines: &str) -> Vec<Arc<Pod>> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(pod).collect()
}

fn check(replicas: i32, lines: &str, expected: Expect) {
    let pods = pods(lines);
    let text = match plan(&set(replicas, 0), &pods, || pods.clone(), now()) {
        Plan::Nothing => "nothing".to_owned(),
        Plan::Wait(rest) => format!("wait {} s", rest.as_secs()),
        Plan::Create(count) => format!("create {count}"),
        Plan::Delete(pods) => {
            let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            format!("delete {}", names.join(" "))
        }
    };
    expected.assert_eq(&text);
}

#[test]
fn missing_pods_are_created_and_finished_or_leaving_ones_do_not_count() {
    check(3, "", expect!["create 3"]);
    check(2, "a n Running 9\n b n Running 9", expect!["nothing"]);
    check(3, "a n Running 9\n b! n Running 9\n c n Failed -\n d n Succeeded -", expect!["create 2"]);
    check(2000, "", expect!["create 500"]);
}

#[test]
fn nodes_that_refuse_pods_get_them_later_and_later() {
    check(2, "a n Failed -", expect!["create 2"]);
    check(2, "a n Failed -\n b n Failed -", expect!["wait 1 s"]);
    check(2, "a n Failed 1\n b n Failed 1", expect!["create 2"]);
    check(1, "a n Failed 9\n b n Failed 5\n c n Failed 1\n d n Failed 0", expect!["wait 8 s"]);
    check(1, &"a n Failed 0\n".repeat(50), expect!["wait 60 s"]);
    check(1, &"a n Failed 700\n".repeat(50), expect!["create 1"]);
}

#[test]
fn the_least_useful_pods_go_first() {
    check(0, "a n Running 9\n b n Running 9", expect!["delete a b"]);
    check(2, "a n Running 90\n b n Running -\n c n Pending -\n d - Pending -", expect!["delete d c"]);
    check(1, "a n Running 90 5\n b n Running 90\n c n Running 90 -5", expect!["delete c b"]);
    // Two on one node: one of them goes, so that what stays is spread.
    check(2, "a m Running 90\n b n Running 90\n c n Running 90", expect!["delete b"]);
    check(1, "old n Running 90000\n new n Running 5", expect!["delete new"]);
}

#[test]
fn the_status_counts_what_is_ready_for_long_enough() {
    let status =
        status(&set(3, 10), &pods("a n Running 20\n b n Running 3\n c n Pending -\n d! n Running 5"), None, now());
    let counts = (
        status.replicas,
        status.ready_replicas,
        status.available_replicas,
        status.terminating_replicas,
        status.observed_generation,
    );
    assert_eq!(counts, (3, Some(2), Some(1), Some(1), Some(3)));
}

proptest! {
    #[test]
    fn plans_that_are_carried_out_come_to_an_end(
        replicas in 0..40i32,
        states in proptest::collection::vec((0..3usize, 0..4usize, proptest::option::of(0..9999u32)), 0..60),
    ) {
        let mut pods: Vec<_> = states.iter().enumerate().map(|(index, (node, phase, ready))| {
            let ready = ready.map_or("-".to_owned(), |ready| ready.to_string());
            let phase = ["Pending", "Running", "Unknown", "Failed"][*phase];
            pod(&format!("p{index} n{node} {phase} {ready}"))
        }).collect();
        let (set, mut time) = (set(replicas, 0), now());
        for round in 0.. {
            prop_assert!(round < 3);
            match plan(&set, &pods, || pods.clone(), time) {
                Plan::Nothing => break,
                Plan::Wait(rest) => time += rest,
                Plan::Create(count) => pods.extend((0..count).map(|index| pod(&format!("new{index} - Pending -")))),
                Plan::Delete(gone) => {
                    let before = pods.len();
                    pods.retain(|pod| !gone.iter().any(|gone| Arc::ptr_eq(gone, pod)));
                    prop_assert_eq!(before - pods.len(), gone.len());
                }
            }
        }
        prop_assert_eq!(pods.iter().filter(|pod| crate::pods::is_active(pod)).count(), replicas as usize);
    }
}
