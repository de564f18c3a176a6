//! Decisions as sentences, the arithmetic of resources, and the loop against a scripted server.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Tasks;
use base::metrics::Metrics;
use client::events::Recorder;
use client::informers::{Informer, Key};
use expect_test::{Expect, expect};
use http::{Request, Response};
use k8s_openapi::api::core::v1::{
    Affinity, Container, Node, NodeAffinity, NodeCondition, NodeSelectorRequirement, NodeSelectorTerm, NodeSpec,
    NodeStatus, Pod, PodSpec, PreferredSchedulingTerm, ResourceRequirements, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::client::Body;
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::Config;
use crate::bind::Binder;
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};
use crate::metrics::SchedulerMetrics;
use crate::resources::Requests;
use crate::run::Scheduler;

fn amounts(text: &str) -> BTreeMap<String, Quantity> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .collect()
}

/// `name resource=amount… [cordoned] [unready] [taint:key=effect] [label:key=value]`
fn node(line: &str) -> Arc<Node> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let has = |word| words.contains(&word);
    let prefixed =
        |prefix: &'static str| words.iter().filter_map(move |word| word.strip_prefix(prefix)?.split_once('='));
    let resources: Vec<&str> = words[1..].iter().filter(|word| !word.contains(':')).copied().collect();
    let ready = if has("unready") { "False" } else { "True" };
    Arc::new(Node {
        metadata: ObjectMeta {
            name: Some(words[0].into()),
            labels: Some(prefixed("label:").map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            unschedulable: has("cordoned").then_some(true),
            taints: Some(
                prefixed("taint:")
                    .map(|(key, effect)| Taint { key: key.into(), effect: effect.into(), ..Taint::default() })
                    .collect(),
            ),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            allocatable: Some(amounts(&resources.join(" "))),
            conditions: Some(vec![NodeCondition {
                type_: "Ready".into(),
                status: ready.into(),
                ..NodeCondition::default()
            }]),
            ..NodeStatus::default()
        }),
    })
}

fn pod(name: &str, requests: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("a".into()),
            uid: Some(format!("uid-{name}")),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                resources: Some(ResourceRequirements {
                    requests: Some(amounts(requests)),
                    ..ResourceRequirements::default()
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn cluster(nodes: &[&str]) -> Cluster {
    let mut cluster = Cluster::default();
    for line in nodes {
        cluster.put_node(node(line));
    }
    cluster
}

fn check(nodes: &[&str], pod: &Pod, expected: Expect) {
    let text = match decide(pod, &cluster(nodes), 1) {
        Decision::Place(node) => format!("on {node}"),
        Decision::Nowhere(why) => why.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_as_kubernetes_words_it() {
    check(&[], &pod("p", "cpu=1"), expect!["no nodes available to schedule pods"]);
    check(
        &["one cpu=2 memory=1Gi pods=10"],
        &pod("p", "cpu=3"),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    check(
        &[
            "one cpu=1 memory=1Ki pods=10",
            "two cpu=9 memory=1Gi pods=10 cordoned",
            "three cpu=9 memory=1Gi pods=10 taint:gpu=NoSchedule",
            "four cpu=9 memory=1Gi pods=10 unready",
            "five cpu=9 memory=1Gi pods=0",
            "six cpu=9 memory=1Gi pods=1",
        ],
        &pod("p", "cpu=2 memory=1Mi coracle.dev/fuel=5"),
        expect![
            "0/6 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were not ready, 1 node(s) were unschedulable, 3 Insufficient coracle.dev/fuel. preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn room_that_others_took_could_be_freed() {
    let mut full = cluster(&["one cpu=2 memory=1Gi pods=10"]);
    full.place(&Key::new("a", "other"), &pod("other", "cpu=1500m"), "one", false);
    let Decision::Nowhere(why) = decide(&pod("p", "cpu=1"), &full, 1) else { panic!("there is no room") };
    expect!["0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]
        .assert_eq(&why.to_string());
    assert!(full.remove(&Key::new("a", "other")));
    assert_eq!(decide(&pod("p", "cpu=1"), &full, 1), Decision::Place("one".into()));
}

#[test]
fn selectors_affinity_and_tolerations_decide_who_may_go_where() {
    let nodes = [
        "near cpu=4 memory=8Gi pods=10 label:zone=a",
        "far cpu=8 memory=16Gi pods=10 label:zone=b",
        "odd cpu=64 memory=99Gi pods=10 label:zone=c taint:gpu=NoSchedule",
    ];
    let requirement = |operator: &str, values: &[&str]| NodeSelectorTerm {
        match_expressions: Some(vec![NodeSelectorRequirement {
            key: "zone".into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        }]),
        ..NodeSelectorTerm::default()
    };
    check(&nodes, &pod("p", "cpu=1"), expect!["on far"]);

    let mut selecting = pod("p", "cpu=1");
    selecting.spec.as_mut().unwrap().node_selector = Some([("zone".into(), "a".into())].into());
    check(&nodes, &selecting, expect!["on near"]);
    selecting.spec.as_mut().unwrap().node_selector = Some([("zone".into(), "d".into())].into());
    check(
        &nodes,
        &selecting,
        expect![
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );

    let mut tolerating = pod("p", "cpu=1");
    tolerating.spec.as_mut().unwrap().tolerations =
        Some(vec![Toleration { key: Some("gpu".into()), operator: Some("Exists".into()), ..Toleration::default() }]);
    check(&nodes, &tolerating, expect!["on odd"]);

    let mut preferring = pod("p", "cpu=1");
    preferring.spec.as_mut().unwrap().affinity = Some(Affinity {
        node_affinity: Some(NodeAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![PreferredSchedulingTerm {
                weight: 10,
                preference: requirement("In", &["a"]),
            }]),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    });
    check(&nodes, &preferring, expect!["on near"]);
}

#[test]
fn pods_of_one_owner_are_spread() {
    let mut cluster =
        cluster(&["one cpu=8 memory=8Gi pods=99", "two cpu=8 memory=8Gi pods=99", "three cpu=8 memory=8Gi pods=99"]);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for index in 0..9 {
        let mut pod = pod(&format!("p{index}"), "cpu=1m memory=1Mi");
        pod.metadata.owner_references =
            Some(vec![OwnerReference { uid: "set".into(), controller: Some(true), ..OwnerReference::default() }]);
        let Decision::Place(node) = decide(&pod, &cluster, 7) else { panic!("there is room") };
        cluster.place(&Key::of(&pod), &pod, &node, true);
        *counts.entry(node).or_default() += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn init_containers_sidecars_and_overhead_count_as_kubernetes_counts_them() {
    let mut pod = pod("p", "cpu=100m memory=64Mi");
    let spec = pod.spec.as_mut().unwrap();
    let container = |requests: &str, sidecar: bool| Container {
        resources: Some(ResourceRequirements { requests: Some(amounts(requests)), ..ResourceRequirements::default() }),
        restart_policy: sidecar.then(|| "Always".to_owned()),
        ..Container::default()
    };
    spec.init_containers = Some(vec![container("cpu=50m memory=8Mi", true), container("cpu=500m memory=16Mi", false)]);
    spec.overhead = Some(amounts("cpu=10m"));
    let requests = Requests::of(&pod).must;
    assert_eq!((requests.cpu_millis, requests.memory_bytes, requests.pods), (560, 72 << 20, 1));
}

proptest! {
    #[test]
    fn no_node_is_given_more_than_it_has_and_the_same_seed_decides_the_same(
        nodes in proptest::collection::vec((1..16i64, 1..16i64, 1..12i64), 1..6),
        pods in proptest::collection::vec((0..4000i64, 0..4i64), 1..80),
        seed in any::<u64>(),
    ) {
        let lines: Vec<String> = nodes.iter().enumerate()
            .map(|(index, (cpu, memory, pods))| format!("n{index} cpu={cpu} memory={memory}Gi pods={pods}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let fill = || {
            let mut cluster = cluster(&lines);
            let mut placed = Vec::new();
            for (index, (cpu, memory)) in pods.iter().enumerate() {
                let pod = pod(&format!("p{index}"), &format!("cpu={cpu}m memory={memory}Gi"));
                if let Decision::Place(node) = decide(&pod, &cluster, seed) {
                    cluster.place(&Key::of(&pod), &pod, &node, true);
                    placed.push((Key::of(&pod), node));
                }
            }
            (cluster, placed)
        };
        let (mut cluster, placed) = fill();
        for state in cluster.nodes() {
            prop_assert!(state.taken.cpu_millis <= state.allocatable.cpu_millis);
            prop_assert!(state.taken.memory_bytes <= state.allocatable.memory_bytes);
            prop_assert!(state.taken.pods <= state.allocatable.pods);
        }
        prop_assert_eq!(&placed, &fill().1);
        for (key, _) in &placed {
            cluster.remove(key);
        }
        prop_assert!(cluster.nodes().all(|state| state.taken.cpu_millis == 0 && state.owners.is_empty()));
    }
}

/// A server that binds: it answers bindings and shows the pod bound.
fn binding_server(pods: &Informer<Pod>, bound: Arc<Mutex<Vec<String>>>) -> client::Client {
    let pods = pods.clone();
    client::in_process(
        tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            if let Some(name) = path.strip_suffix("/binding").and_then(|path| path.rsplit('/').next()) {
                bound.lock().push(name.to_owned());
                if let Some(pod) = pods.get("a", name) {
                    let mut pod = pod.as_ref().clone();
                    pod.spec.as_mut().unwrap().node_name = Some("one".into());
                    pod.metadata.resource_version = Some("2".into());
                    pods.apply(pod);
                }
            }
            let body = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#;
            async move { Ok::<_, std::convert::Infallible>(Response::new(Body::from(body.to_vec()))) }
        }),
        "default",
    )
}

#[tokio::test]
async fn a_thousand_pods_are_bound_and_what_is_not_ours_is_left_alone() {
    let (pods, nodes) = (Informer::<Pod>::empty(), Informer::<Node>::empty());
    let bound = Arc::new(Mutex::new(Vec::new()));
    let tasks = Tasks::new();
    let client = binding_server(&pods, bound.clone());
    let events = Recorder::new(client.clone(), &tasks, "default-scheduler", None);
    let binder = Binder::new(client, events, "default-scheduler".into());
    let metrics = SchedulerMetrics::new(&Metrics::default());
    let scheduler = Scheduler::new(pods.clone(), nodes.clone(), binder, Config::default(), metrics);
    tasks.job("scheduler", scheduler.run());

    let mut all: Vec<Pod> = (0..1000).map(|index| pod(&format!("p{index}"), "cpu=1m")).collect();
    let mut gated = pod("gated", "cpu=1m");
    gated.spec.as_mut().unwrap().scheduling_gates = Some(vec![Default::default()]);
    let mut foreign = pod("foreign", "cpu=1m");
    foreign.spec.as_mut().unwrap().scheduler_name = Some("other".into());
    all.extend([gated, foreign]);
    for pod in &mut all {
        pod.metadata.resource_version = Some("1".into());
    }
    pods.replace(all);
    // The pods come first and fit nowhere: the node wakes them.
    nodes.replace([]);
    let mut changed = pods.changed();
    nodes.apply(node("one cpu=8 memory=64Gi pods=5000").as_ref().clone());
    while bound.lock().len() < 1000 {
        changed.changed().await.unwrap();
    }
    assert!(!bound.lock().iter().any(|name| name == "gated" || name == "foreign"));
}
