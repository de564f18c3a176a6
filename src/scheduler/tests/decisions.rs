//! Decisions about one pod and the nodes themselves.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{cluster, node, pod, profile, put, told};
use crate::plugins::ALL;
use crate::profile::{Shape, Strategy, Weighted};
use crate::resources::Requests;

fn check(nodes: &[&str], pod: k8s_openapi::api::core::v1::Pod, expected: Expect) {
    expected.assert_eq(&told(&mut cluster(nodes), pod));
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_as_kubernetes_words_it() {
    check(&[], pod("p", "cpu=1", json!({})), expect!["no nodes available to schedule pods"]);
    check(
        &["one cpu=2 memory=1Gi pods=10"],
        pod("p", "cpu=3", json!({})),
        expect!["0/1 nodes are available: 1 Insufficient cpu."],
    );
    check(
        &[
            "one cpu=1 memory=1Ki pods=10",
            "two cpu=9 memory=1Gi pods=10 cordoned",
            "three cpu=9 memory=1Gi pods=10 taint:gpu=NoSchedule",
            "five cpu=9 memory=1Gi pods=0",
            "six cpu=9 memory=1Gi pods=1",
        ],
        pod("p", "cpu=2 memory=1Mi coracle.dev/fuel=5", json!({})),
        expect![
            "0/5 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 3 Insufficient coracle.dev/fuel."
        ],
    );
}

#[test]
fn a_node_that_lies_about_what_it_has_gets_nothing() {
    for line in [
        "liar cpu=-4 memory=8Gi pods=10",
        "liar cpu=plenty memory=8Gi pods=10",
        "liar cpu=4 memory=8Gi pods=-1",
        "liar memory=8Gi pods=10",
    ] {
        assert!(put(&mut cluster(&[line]), pod("p", "cpu=1", json!({}))).is_err(), "{line}");
    }
    // Sums that reach the largest number come down again.
    let mut huge = cluster(&["big cpu=9000000000000000 memory=9e18 pods=9e18"]);
    for name in ["p", "q"] {
        assert!(put(&mut huge, pod(name, "memory=9e18", json!({}))).is_ok() == (name == "p"));
    }
    huge.remove(&client::informers::Key::new("a", "p"));
    assert!(put(&mut huge, pod("q", "memory=9e18", json!({}))).is_ok());
    let mut node = node("one cpu=4 memory=8Gi pods=1").as_ref().clone();
    node.status = None;
    huge.put_node(node.into());
}

#[test]
fn selectors_affinity_and_tolerations_decide_who_may_go_where() {
    let nodes = [
        "near cpu=4 memory=8Gi pods=10 label:zone=a",
        "far cpu=8 memory=16Gi pods=10 label:zone=b",
        "odd cpu=64 memory=99Gi pods=10 label:zone=c taint:gpu=NoSchedule",
    ];
    let asking = |spec: Value| pod("p", "cpu=1", json!({ "spec": spec }));
    check(&nodes, asking(json!({})), expect!["on far"]);
    check(&nodes, asking(json!({"nodeSelector": {"zone": "a"}})), expect!["on near"]);
    check(
        &nodes,
        asking(json!({"nodeSelector": {"zone": "d"}})),
        expect![
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector."
        ],
    );
    check(&nodes, asking(json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]})), expect!["on odd"]);
    let zone = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]});
    check(
        &nodes,
        asking(json!({"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "preference": zone}],
        }}})),
        expect!["on near"],
    );
    // A daemon's pod: one node is looked at.
    let only = |name: &str| {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        asking(json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
        }}}))
    };
    check(&nodes, only("near"), expect!["on near"]);
    check(
        &nodes,
        only("odd"),
        expect![
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        ],
    );
}

#[test]
fn a_port_of_the_host_is_one_pods() {
    let mut nodes = cluster(&["one cpu=4 memory=8Gi pods=10", "two cpu=4 memory=8Gi pods=10"]);
    let holding = |name: &str, ip: &str| {
        let port = json!({"containerPort": 80, "hostPort": 80, "hostIP": ip});
        pod(name, "", json!({"spec": {"containers": [{"name": "c", "ports": [port]}]}}))
    };
    assert_ne!(put(&mut nodes, holding("p", "")), put(&mut nodes, holding("q", "127.0.0.1")));
    expect!["0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."]
        .assert_eq(&told(&mut nodes, holding("r", "")));
    // Another address of the same host is another port.
    assert!(put(&mut cluster(&["one pods=9"]), holding("p", "10.0.0.1")).is_ok());
}

#[test]
fn scores_follow_the_strategy_and_the_weights() {
    let mut nodes = cluster(&["small cpu=2 memory=4Gi pods=10", "large cpu=8 memory=16Gi pods=10"]);
    let asked = super::ask(pod("p", "cpu=1 memory=2Gi", json!({})));
    let score = |nodes: &mut crate::cluster::Cluster, strategy: Strategy| {
        let mut profile = profile().as_ref().clone();
        profile.strategy = strategy;
        profile.weights = ALL.iter().map(|row| i64::from(row.name == "NodeResourcesFit")).collect();
        let case = crate::case::Case::new(&asked, &profile.into(), nodes).unwrap();
        let all: Vec<&crate::node::NodeState> = nodes.nodes().collect();
        let scores = case.scores(nodes, &all);
        all.iter().zip(scores).map(|(state, score)| format!("{} {score}", state.name)).collect::<Vec<_>>().join(", ")
    };
    let both = || ["cpu", "memory"].map(|name| Weighted { name: name.into(), weight: 1 }).to_vec();
    assert_eq!(score(&mut nodes, Strategy::Least(both())), "large 87, small 50");
    assert_eq!(score(&mut nodes, Strategy::Most(both())), "large 12, small 50");
    let shape = Shape(vec![(0, 100), (50, 20), (100, 0)]);
    assert_eq!(score(&mut nodes, Strategy::Shaped(both(), shape)), "large 81, small 20");
}

#[test]
fn init_containers_sidecars_overhead_and_whole_pods_count_as_kubernetes_counts_them() {
    let container = |name: &str, cpu: &str, memory: &str, more: Value| {
        let mut container = json!({"name": name, "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        super::merge(&mut container, more);
        container
    };
    let sidecar = || json!({"restartPolicy": "Always"});
    let inits = [container("s", "50m", "8Mi", sidecar()), container("i", "500m", "16Mi", json!({}))];
    let spec = json!({"initContainers": inits, "overhead": {"cpu": "10m"}});
    let mut asking = pod("p", "cpu=100m memory=64Mi", json!({ "spec": spec }));
    let requests = Requests::of(&asking).must;
    assert_eq!((requests.cpu_millis, requests.memory_bytes, requests.pods), (560, 72 << 20, 1));

    // Amounts for the whole pod take the place of the sums.
    asking.spec.as_mut().unwrap().resources = serde_json::from_value(json!({"requests": {"cpu": "2"}})).unwrap();
    let requests = Requests::of(&asking).must;
    assert_eq!((requests.cpu_millis, requests.memory_bytes), (2010, 72 << 20));

    // While a container is being resized it holds the larger of both.
    let held = json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "resources": {"requests": {"cpu": "300m"}}}]});
    let resizing = pod("p", "cpu=100m", json!({ "status": held }));
    assert_eq!(Requests::of(&resizing).must.cpu_millis, 300);
}

#[test]
fn an_image_that_is_there_is_worth_something() {
    let mut with = node("with cpu=4 memory=8Gi pods=10").as_ref().clone();
    with.status.as_mut().unwrap().images =
        serde_json::from_value(json!([{"names": ["shop:latest"], "sizeBytes": 900 << 20}])).unwrap();
    let mut nodes = cluster(&["aaa cpu=4 memory=8Gi pods=10", "zzz cpu=4 memory=8Gi pods=10"]);
    nodes.put_node(with.into());
    let asking = pod("p", "", json!({"spec": {"containers": [{"name": "c", "image": "shop"}]}}));
    assert_eq!(put(&mut nodes, asking).unwrap(), "with");
}
