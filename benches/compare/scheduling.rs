//! `scheduling`: decisions for 50,000 pods on 5,000 nodes, without a server: how many a second, by what the pods ask for.
//!
//! Every tenth decision is timed by itself. The sums that a real cluster keeps are kept here too; what is left out is writing.

use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::core::v1::{Node, Pod};
use scheduler::Simulation;
use serde_json::{Value, json};

use crate::samples::{micros, percentile};
use crate::{progress, table};

const NODES: usize = 5_000;
const PODS: usize = 50_000;
const ZONES: usize = 10;
const APPS: usize = 100;
const SEED: u64 = 7;
const ZONE: &str = "topology.kubernetes.io/zone";

/// What the pods of a row ask for, besides cpu and memory; and how many there are.
type Ask = (&'static str, usize, fn(usize) -> Value);

const ASKS: [Ask; 5] = [
    ("requests", PODS, |_| json!({})),
    ("… and a node affinity, a toleration", PODS, |_| {
        let zones = json!({ "key": ZONE, "operator": "In", "values": ["z1", "z2", "z3", "z4", "z5", "z6"] });
        let required = json!({ "nodeSelectorTerms": [{ "matchExpressions": [zones] }] });
        json!({
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } },
            "tolerations": [{ "key": "special", "operator": "Exists" }],
        })
    }),
    ("… spread over zones and nodes", PODS, |app| {
        let rule = |key: &str, when: &str| json!({ "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector(app) });
        json!({ "topologySpreadConstraints": [rule(ZONE, "DoNotSchedule"), rule("kubernetes.io/hostname", "ScheduleAnyway")] })
    }),
    ("… not beside their like", PODS, |app| {
        let term = json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": selector(app) });
        json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } })
    }),
    ("… in the zone of their like, rather", PODS, |app| {
        let term = json!({ "topologyKey": ZONE, "labelSelector": selector(app) });
        let preferred = json!([{ "weight": 10, "podAffinityTerm": term }]);
        json!({ "affinity": { "podAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": preferred } } })
    }),
];

fn selector(app: usize) -> Value {
    json!({ "matchLabels": { "app": format!("app-{app}") } })
}

fn node(index: usize) -> anyhow::Result<Node> {
    let name = format!("node-{index:05}");
    let labels = json!({ ZONE: format!("z{}", index % ZONES), "kubernetes.io/hostname": name });
    let has = json!({ "cpu": "4", "memory": "16Gi", "pods": "110" });
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name, "labels": labels },
        "status": { "capacity": has, "allocatable": has },
    }))?)
}

fn pod(index: usize, more: fn(usize) -> Value) -> anyhow::Result<Pod> {
    let app = index % APPS;
    let mut spec = more(app);
    spec["containers"] =
        json!([{ "name": "main", "image": "app", "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } } }]);
    let metadata = json!({
        "name": format!("pod-{index}"), "namespace": "default", "uid": format!("uid-{index}"),
        "labels": { "app": format!("app-{app}") },
    });
    Ok(serde_json::from_value(json!({ "metadata": metadata, "spec": spec }))?)
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let rows: anyhow::Result<Vec<_>> = ASKS.iter().map(measure).collect();
    let columns = ["pods that ask for", "pods", "nodes", "a second", "a decision, p50", "p99"];
    table::print("scheduling, simulated", &columns, &rows?);
    Ok(())
}

fn measure((what, count, more): &Ask) -> anyhow::Result<Vec<String>> {
    progress(&format!("scheduling: {what}"));
    let mut simulation = Simulation::new(SEED);
    for index in 0..NODES {
        simulation.put_node(node(index)?);
    }
    let (mut total, mut samples) = (Duration::ZERO, Vec::new());
    for index in 0..*count {
        // Reading the object is the informer's work.
        let pod = pod(index, *more)?;
        let began = Instant::now();
        let placed = simulation.schedule(pod);
        let took = began.elapsed();
        total += took;
        if let Err(why) = placed {
            bail!("pod {index}: {why}");
        }
        if index % 10 == 0 {
            samples.push(took);
        }
    }
    let rate = *count as f64 / total.as_secs_f64();
    let (half, most) = (percentile(&mut samples, 0.5), percentile(&mut samples, 0.99));
    let text = |time: Duration| format!("{:.0} µs", micros(time));
    Ok(vec![(*what).to_owned(), count.to_string(), NODES.to_string(), format!("{rate:.0}"), text(half), text(most)])
}
