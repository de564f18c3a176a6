//! Preemption: who gives way, and the words when nobody does.

use std::sync::Arc;

use expect_test::expect;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::{ask, cluster, pod, profile};
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};
use crate::preemption::preempt;

fn ranked(name: &str, requests: &str, priority: i32, more: Value) -> Pod {
    let mut wanted = json!({"metadata": {"labels": {"app": "low"}}, "spec": {"priority": priority}});
    super::merge(&mut wanted, more);
    pod(name, requests, wanted)
}

fn full(lines: &[(&str, &str, i32, &str)]) -> Cluster {
    let mut cluster = cluster(&["one cpu=4 memory=8Gi pods=10", "two cpu=4 memory=8Gi pods=10"]);
    for (name, cpu, priority, node) in lines {
        let time = json!({"metadata": {"creationTimestamp": format!("2026-01-01T00:00:{:02}Z", cpu.len())}});
        cluster.place(&ask(ranked(name, &format!("cpu={cpu}"), *priority, time)), node, false);
    }
    cluster
}

fn budget(allowed: i32) -> Arc<PodDisruptionBudget> {
    let budget = json!({
        "metadata": {"name": "b", "namespace": "a"},
        "spec": {"selector": {"matchLabels": {"app": "low"}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
    });
    Arc::new(serde_json::from_value(budget).unwrap())
}

fn outcome(cluster: &mut Cluster, wanting: Pod, budgets: &[Arc<PodDisruptionBudget>]) -> String {
    let ask = ask(wanting);
    let Decision::Nowhere(why) = decide(&ask, cluster, &profile(), 1) else { return "fits".to_owned() };
    match preempt(&ask, cluster, &profile(), budgets, &why) {
        Ok(found) => {
            let victims: Vec<&str> = found.victims.iter().map(|victim| victim.key.name.as_str()).collect();
            format!("{} on {}", victims.join(" "), found.node)
        }
        Err(refused) => refused.words,
    }
}

#[test]
fn the_least_important_and_the_fewest_give_way() {
    let mut nodes =
        full(&[("big", "3", 10, "one"), ("s1", "1", 5, "two"), ("s2", "1", 5, "two"), ("s3", "2", 7, "two")]);
    let before: Vec<i64> = nodes.nodes().map(|state| state.taken.cpu_millis).collect();
    let wanting = |cpu: &str| ranked("vip", &format!("cpu={cpu}"), 100, json!({}));
    assert_eq!(outcome(&mut nodes, wanting("1"), &[]), "fits");
    assert_eq!(outcome(&mut nodes, wanting("2"), &[]), "s1 s2 on two");
    assert_eq!(outcome(&mut nodes, wanting("3"), &[]), "s3 s2 on two");
    // Thinking about it has changed nothing.
    assert_eq!(nodes.nodes().map(|state| state.taken.cpu_millis).collect::<Vec<_>>(), before);
}

#[test]
fn protected_pods_give_way_last() {
    let nodes = || {
        let mut nodes = full(&[("guarded", "4", 5, "one")]);
        for name in ["free-a", "free-b"] {
            let free = json!({"metadata": {"labels": {"app": "free"}}});
            nodes.place(&ask(ranked(name, "cpu=2", 5, free)), "two", false);
        }
        nodes
    };
    let wanting = || ranked("vip", "cpu=4", 100, json!({}));
    assert_eq!(outcome(&mut nodes(), wanting(), &[]), "guarded on one");
    assert_eq!(outcome(&mut nodes(), wanting(), &[budget(1)]), "guarded on one");
    assert_eq!(outcome(&mut nodes(), wanting(), &[budget(0)]), "free-a free-b on two");
}

#[test]
fn words_say_why_nobody_gives_way() {
    let mut nodes = full(&[("a", "4", 5, "one"), ("b", "4", 50, "two")]);
    nodes.put_node(super::node("three cpu=64 memory=8Gi pods=10 cordoned"));
    expect![
        "0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
    ]
    .assert_eq(&outcome(&mut nodes, ranked("meek", "cpu=1", 5, json!({})), &[]));
    let never = json!({"spec": {"preemptionPolicy": "Never"}});
    expect!["not eligible due to preemptionPolicy=Never."].assert_eq(&outcome(
        &mut nodes,
        ranked("polite", "cpu=1", 100, never),
        &[],
    ));
    expect!["0/3 nodes are available: 3 Preemption is not helpful for scheduling."].assert_eq(&outcome(
        &mut nodes,
        ranked("giant", "cpu=5", 100, json!({})),
        &[],
    ));
}

#[test]
fn room_that_was_made_is_kept_from_lesser_pods() {
    let mut nodes = cluster(&["one cpu=4 memory=8Gi pods=10"]);
    let vip = ask(ranked("vip", "cpu=3", 100, json!({})));
    nodes.nominate(&vip, "one");
    assert!(super::put(&mut nodes, ranked("thief", "cpu=2", 5, json!({}))).is_err());
    assert!(super::put(&mut nodes, ranked("small", "cpu=1", 5, json!({}))).is_ok());
    assert!(super::put(&mut nodes, ranked("greater", "cpu=2", 1000, json!({}))).is_ok());
    // While a victim is on its way out, no more are asked.
    let mut nodes = full(&[("a", "4", 5, "one"), ("b", "4", 5, "two")]);
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    nodes.place(&ask(ranked("a", "cpu=4", 5, leaving)), "one", false);
    nodes.nominate(&vip, "one");
    let again = ranked("vip", "cpu=3", 100, json!({}));
    expect!["not eligible due to a terminating pod on the nominated node."].assert_eq(&outcome(&mut nodes, again, &[]));
}

#[test]
fn anti_affinity_with_a_lesser_pod_is_resolved_by_its_going() {
    let mut nodes = cluster(&["one cpu=4 memory=8Gi pods=10"]);
    let term = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "low"}}}]);
    nodes.place(&ask(ranked("low", "cpu=1", 1, json!({}))), "one", false);
    let spec = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let vip = ranked("vip", "", 10, json!({"metadata": {"labels": {"app": "vip"}}, "spec": spec}));
    assert_eq!(outcome(&mut nodes, vip, &[]), "low on one");
}
