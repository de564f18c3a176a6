//! Decisions about pods and other pods: spreading, affinity, anti-affinity.

use std::collections::BTreeMap;

use expect_test::expect;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{cluster, pod, put, told};

const ZONE: &str = "topology.kubernetes.io/zone";

fn labelled(name: &str, app: &str, spec: Value) -> Pod {
    pod(name, "", json!({"metadata": {"labels": {"app": app}}, "spec": spec}))
}

fn zones() -> crate::cluster::Cluster {
    let lines: Vec<String> = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")]
        .map(|(name, zone)| format!("{name} cpu=8 memory=8Gi pods=99 label:{ZONE}={zone}"))
        .to_vec();
    cluster(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn spread(when: &str, more: Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}});
    super::merge(&mut constraint, more);
    json!({"topologySpreadConstraints": [constraint]})
}

fn zone_counts(cluster: &mut crate::cluster::Cluster, count: usize, spec: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for index in 0..count {
        let node = put(cluster, labelled(&format!("w{index}"), "web", spec.clone())).unwrap();
        *counts.entry(node[..1].to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn pods_are_spread_over_zones_as_far_as_they_must() {
    let spec = spread("DoNotSchedule", json!({}));
    let counts = zone_counts(&mut zones(), 7, &spec);
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(counts.len() == 3 && most - least <= 1, "{counts:?}");

    // Too few domains: as if there were an empty one.
    let mut nodes = zones();
    let spec = spread("DoNotSchedule", json!({"minDomains": 4}));
    assert_eq!(zone_counts(&mut nodes, 3, &spec).len(), 3);
    expect!["0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints."]
        .assert_eq(&told(&mut nodes, labelled("one-more", "web", spec)));

    // A node without the label is no domain.
    let mut nodes = cluster(&["bare cpu=8 memory=8Gi pods=99"]);
    let spec = spread("DoNotSchedule", json!({}));
    expect![
        "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)."
    ]
    .assert_eq(&told(&mut nodes, labelled("p", "web", spec)));
}

#[test]
fn which_nodes_are_domains_is_the_policies_matter() {
    // Zone c is tainted. Counted as a domain, it stays empty and holds the others at one pod each.
    let mut nodes = zones();
    nodes.put_node(super::node(&format!("c1 cpu=8 memory=8Gi pods=99 label:{ZONE}=c taint:x=NoSchedule")));
    let honouring = spread("DoNotSchedule", json!({"nodeTaintsPolicy": "Honor"}));
    assert_eq!(zone_counts(&mut nodes, 4, &honouring), [("a".to_owned(), 2), ("b".to_owned(), 2)].into());
    let mut nodes = zones();
    nodes.put_node(super::node(&format!("c1 cpu=8 memory=8Gi pods=99 label:{ZONE}=c taint:x=NoSchedule")));
    let ignoring = spread("DoNotSchedule", json!({}));
    assert_eq!(zone_counts(&mut nodes, 2, &ignoring).len(), 2);
    expect![
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 3 node(s) didn't match pod topology spread constraints."
    ]
    .assert_eq(&told(&mut nodes, labelled("one-more", "web", ignoring)));
}

#[test]
fn what_is_only_wished_for_spreads_too() {
    let counts = zone_counts(&mut zones(), 9, &spread("ScheduleAnyway", json!({})));
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    // Pods of one owner are spread without a word about it.
    let mut nodes = zones();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for index in 0..8 {
        let owner = json!([{"apiVersion": "v1", "kind": "R", "name": "r", "uid": "set", "controller": true}]);
        let pod = pod(&format!("p{index}"), "", json!({"metadata": {"ownerReferences": owner}}));
        *counts.entry(put(&mut nodes, pod).unwrap()).or_default() += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|count| *count <= 3), "{counts:?}");
}

fn term(app: &str) -> Value {
    json!({"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": app}}})
}

fn affinity(kind: &str, terms: Value) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

#[test]
fn pods_go_where_their_companions_are() {
    let mut nodes = zones();
    let near = |app: &str| affinity("podAffinity", json!([term(app)]));
    expect!["0/4 nodes are available: 4 node(s) didn't match pod affinity rules."]
        .assert_eq(&told(&mut nodes, labelled("lonely", "web", near("db"))));
    // The first of its kind may be anywhere; the others follow.
    let first = put(&mut nodes, labelled("first", "web", near("web"))).unwrap();
    for index in 0..4 {
        let node = put(&mut nodes, labelled(&format!("next{index}"), "web", near("web"))).unwrap();
        assert_eq!(node[..1], first[..1]);
    }
    // In another namespace nobody is meant, until the term names it by its labels.
    let elsewhere = |selector: Value| {
        let mut term = term("web");
        super::merge(&mut term, selector);
        let spec = affinity("podAffinity", json!([term]));
        pod("p", "", json!({"metadata": {"namespace": "b"}, "spec": spec}))
    };
    assert!(put(&mut nodes, elsewhere(json!({}))).is_err());
    let by_label = || json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    assert!(put(&mut nodes, elsewhere(by_label())).is_err());
    assert!(nodes.set_namespace("a", Some([("team".to_owned(), "shop".to_owned())].into())));
    assert_eq!(put(&mut nodes, elsewhere(by_label())).unwrap()[..1], first[..1]);
}

#[test]
fn pods_keep_away_from_each_other_whoever_says_so() {
    let mut nodes = zones();
    let apart = |app: &str| affinity("podAntiAffinity", json!([term(app)]));
    let zones_taken: std::collections::BTreeSet<String> = (0..3)
        .map(|index| put(&mut nodes, labelled(&format!("w{index}"), "web", apart("web"))).unwrap()[..1].to_owned())
        .collect();
    assert_eq!(zones_taken.len(), 3);
    expect!["0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."]
        .assert_eq(&told(&mut nodes, labelled("w3", "web", apart("web"))));
    // A pod that says nothing is kept out by those that do.
    expect!["0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules."]
        .assert_eq(&told(&mut nodes, labelled("meek", "web", json!({}))));
    assert!(put(&mut nodes, labelled("other", "db", json!({}))).is_ok());
    nodes.remove(&client::informers::Key::new("a", "w1"));
    assert!(put(&mut nodes, labelled("meek", "web", json!({}))).is_ok());
}

#[test]
fn wishes_about_others_are_weighed() {
    let mut nodes = zones();
    assert_eq!(put(&mut nodes, labelled("db", "db", json!({"nodeSelector": {ZONE: "b"}}))).unwrap(), "b1");
    let wish = |kind: &str| {
        let terms = json!([{"weight": 100, "podAffinityTerm": term("db")}]);
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": terms}}})
    };
    assert_eq!(put(&mut nodes, labelled("near", "web", wish("podAffinity"))).unwrap(), "b1");
    assert_ne!(put(&mut nodes, labelled("far", "web", wish("podAntiAffinity"))).unwrap(), "b1");
    // What the placed pods wish for counts as well: `near` likes the db.
    assert_eq!(put(&mut nodes, labelled("db2", "db", json!({}))).unwrap(), "b1");
}
