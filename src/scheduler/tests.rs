//! What the tests of this room have in common: nodes and pods in a line, and a scheduler against a scripted server.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::ask::Ask;
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};
use crate::profile::Profile;

mod brute;
mod configuration;
mod decisions;
mod gives_way;
mod neighbours;
mod placing;
mod running;
mod waiting;

fn amounts(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, amount)| (name.to_owned(), amount.to_owned())).collect()
}

/// `name resource=amount… [cordoned] [taint:key=effect] [label:key=value]`; the hostname label is its name.
fn node(line: &str) -> Arc<Node> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let prefixed = |prefix: &str| -> Vec<(String, String)> {
        let found = words.iter().filter_map(|word| word.strip_prefix(prefix)?.split_once('='));
        found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let resources: Vec<&str> = words[1..].iter().filter(|word| !word.contains(':')).copied().collect();
    let mut labels: BTreeMap<String, String> = prefixed("label:").into_iter().collect();
    labels.insert("kubernetes.io/hostname".into(), words[0].into());
    let taints: Vec<Value> =
        prefixed("taint:").iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
    let node = json!({
        "metadata": {"name": words[0], "labels": labels},
        "spec": {"unschedulable": words.contains(&"cordoned"), "taints": taints},
        "status": {"allocatable": amounts(&resources.join(" "))},
    });
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A pod of one container that asks for `requests`; `more` is merged into it.
fn pod(name: &str, requests: &str, more: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "a", "uid": format!("uid-{name}")},
        "spec": {"containers": [{"name": "c", "resources": {"requests": amounts(requests)}}]},
    });
    merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, more) => *into = more,
    }
}

fn ask(pod: Pod) -> Arc<Ask> {
    Ask::of(&Arc::new(pod))
}

fn profile() -> Arc<Profile> {
    Arc::new(Profile::new("default-scheduler"))
}

fn cluster(nodes: &[&str]) -> Cluster {
    let mut cluster = Cluster::default();
    for line in nodes {
        cluster.put_node(node(line));
    }
    cluster
}

/// Decides, and counts the pod where it goes.
fn put(cluster: &mut Cluster, pod: Pod) -> Result<String, String> {
    let ask = ask(pod);
    match decide(&ask, cluster, &profile(), 1) {
        Decision::Place(node, _) => {
            cluster.place(&ask, &node, true);
            Ok(node)
        }
        Decision::Nowhere(why) => Err(why.to_string()),
    }
}

/// As [`put`], in one word or sentence.
fn told(cluster: &mut Cluster, pod: Pod) -> String {
    match put(cluster, pod) {
        Ok(node) => format!("on {node}"),
        Err(why) => why,
    }
}
