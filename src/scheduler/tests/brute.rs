//! Every decision is held against the rules by counting all pods, and nothing is counted wrong when pods come and go.

use std::collections::{BTreeMap, BTreeSet};

use client::informers::Key;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ask, node, profile};
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};

const ZONE: &str = "topology.kubernetes.io/zone";

/// A pod as the test makes them.
#[derive(Clone, Debug)]
struct Wish {
    cpu: i64,
    app: u8,
    port: Option<i32>,
    /// Not with pods of this app in a zone.
    apart: Option<u8>,
    /// With pods of this app in a zone.
    near: Option<u8>,
    skew: Option<i64>,
    priority: i32,
    tolerates: bool,
}

impl Wish {
    fn pod(&self, name: &str) -> Pod {
        let term =
            |app: u8| json!([{"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": format!("app{app}")}}}]);
        let mut spec = json!({"priority": self.priority});
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        if let Some(app) = self.apart {
            super::merge(&mut spec, json!({"affinity": {"podAntiAffinity": {required: term(app)}}}));
        }
        if let Some(app) = self.near {
            super::merge(&mut spec, json!({"affinity": {"podAffinity": {required: term(app)}}}));
        }
        if let Some(skew) = self.skew {
            let own = json!({"matchLabels": {"app": format!("app{}", self.app)}});
            let constraint = json!({"maxSkew": skew, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": own});
            super::merge(&mut spec, json!({"topologySpreadConstraints": [constraint]}));
        }
        if self.tolerates {
            super::merge(&mut spec, json!({"tolerations": [{"operator": "Exists"}]}));
        }
        let ports: Vec<Value> = self.port.iter().map(|port| json!({"containerPort": 1, "hostPort": port})).collect();
        let container =
            json!({"name": "c", "ports": ports, "resources": {"requests": {"cpu": format!("{}m", self.cpu)}}});
        super::merge(&mut spec, json!({"containers": [container]}));
        super::pod(name, "", json!({"metadata": {"labels": {"app": format!("app{}", self.app)}}, "spec": spec}))
    }
}

#[derive(Clone, Debug)]
struct Place {
    cpu: i64,
    zone: u8,
    tainted: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let app = 0..3u8;
    let some = |range: std::ops::Range<u8>| proptest::option::weighted(0.2, range);
    (
        0..900i64,
        app,
        proptest::option::weighted(0.1, 80..82i32),
        some(0..3),
        some(0..3),
        proptest::option::weighted(0.3, 1..3i64),
        0..3i32,
        any::<bool>(),
    )
        .prop_map(|(cpu, app, port, apart, near, skew, priority, tolerates)| Wish {
            cpu,
            app,
            port,
            apart,
            near,
            skew,
            priority,
            tolerates,
        })
}

fn place() -> impl Strategy<Value = Place> {
    (1..4i64, 0..3u8, proptest::bool::weighted(0.2)).prop_map(|(cpu, zone, tainted)| Place { cpu, zone, tainted })
}

fn lines(places: &[Place]) -> Vec<String> {
    let line = |(index, place): (usize, &Place)| {
        let taint = if place.tainted { "taint:x=NoSchedule" } else { "" };
        format!("n{index} cpu={} memory=8Gi pods=9 label:{ZONE}=z{} {taint}", place.cpu, place.zone)
    };
    places.iter().enumerate().map(line).collect()
}

/// Why the pod should not be on that node, counting everything anew.
fn fault(places: &[Place], placed: &BTreeMap<String, (Wish, usize)>, wish: &Wish, at: usize) -> Option<&'static str> {
    let here = || placed.values().filter(|(_, node)| *node == at);
    let in_zone = |zone: u8| placed.values().filter(move |(_, node)| places[*node].zone == zone);
    let place = &places[at];
    if here().map(|(other, _)| other.cpu).sum::<i64>() + wish.cpu > place.cpu * 1000 || here().count() >= 9 {
        return Some("too full");
    }
    if place.tainted && !wish.tolerates {
        return Some("tainted");
    }
    if wish.port.is_some() && here().any(|(other, _)| other.port == wish.port) {
        return Some("port taken");
    }
    if wish.apart.is_some_and(|app| in_zone(place.zone).any(|(other, _)| other.app == app)) {
        return Some("too near");
    }
    if in_zone(place.zone).any(|(other, _)| other.apart == Some(wish.app)) {
        return Some("not wanted");
    }
    let first = wish.near == Some(wish.app) && !placed.values().any(|(other, _)| Some(other.app) == wish.near);
    if wish.near.is_some_and(|app| !first && !in_zone(place.zone).any(|(other, _)| other.app == app)) {
        return Some("too far");
    }
    let zones: BTreeSet<u8> = places.iter().map(|place| place.zone).collect();
    let count = |zone: u8| in_zone(zone).filter(|(other, _)| other.app == wish.app).count() as i64;
    let least = zones.iter().map(|zone| count(*zone)).min().unwrap_or(0);
    wish.skew.is_some_and(|skew| count(place.zone) + 1 - least > skew).then_some("uneven")
}

fn is_empty(cluster: &Cluster) -> bool {
    cluster.nodes().all(|state| {
        state.taken.cpu_millis == 0 && state.taken.pods == 0 && state.ports.is_empty() && state.pods.is_empty()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Pods come and go; each decision is right, a refusal too, and the same seed decides the same.
    #[test]
    fn decisions_hold_against_counting_everything(
        places in proptest::collection::vec(place(), 1..6),
        steps in proptest::collection::vec((wish(), any::<bool>()), 1..50),
        seed in any::<u64>(),
    ) {
        let run = || -> Result<Vec<String>, TestCaseError> {
            let mut cluster = Cluster::default();
            lines(&places).iter().for_each(|line| drop(cluster.put_node(node(line))));
            let mut placed: BTreeMap<String, (Wish, usize)> = BTreeMap::new();
            let mut decided = Vec::new();
            for (index, (wish, goes)) in steps.iter().enumerate() {
                if *goes && let Some((name, _)) = placed.pop_first() {
                    cluster.remove(&Key::new("a", name));
                }
                let name = format!("p{index}");
                let ask = ask(wish.pod(&name));
                match decide(&ask, &mut cluster, &profile(), seed) {
                    Decision::Place(node, _) => {
                        let at: usize = node[1..].parse().unwrap();
                        prop_assert_eq!(fault(&places, &placed, wish, at), None);
                        cluster.place(&ask, &node, true);
                        placed.insert(name, (wish.clone(), at));
                        decided.push(node);
                    }
                    Decision::Nowhere(why) => {
                        for at in 0..places.len() {
                            prop_assert!(fault(&places, &placed, wish, at).is_some(), "n{} would do: {}", at, why);
                        }
                        decided.push(String::new());
                    }
                }
            }
            for name in placed.keys() {
                cluster.remove(&Key::new("a", name.clone()));
            }
            prop_assert!(is_empty(&cluster));
            Ok(decided)
        };
        prop_assert_eq!(run()?, run()?);
    }

    /// Whoever gives way: afterwards the pod fits, and only lesser pods went.
    #[test]
    fn preemption_makes_just_the_room_that_is_needed(
        places in proptest::collection::vec(place(), 1..4),
        wishes in proptest::collection::vec(wish(), 1..20),
        last in wish(),
    ) {
        let mut cluster = Cluster::default();
        lines(&places).iter().for_each(|line| drop(cluster.put_node(node(line))));
        for (index, wish) in wishes.iter().enumerate() {
            let _ = super::put(&mut cluster, wish.pod(&format!("p{index}")));
        }
        let vip = ask(Wish { priority: 2, ..last }.pod("vip"));
        if let Decision::Nowhere(why) = decide(&vip, &mut cluster, &profile(), 1)
            && let Ok(found) = crate::preemption::preempt(&vip, &mut cluster, &profile(), &[], &why)
        {
            prop_assert!(!found.victims.is_empty() && found.victims.iter().all(|victim| victim.priority < 2));
            for victim in &found.victims {
                cluster.remove(&victim.key);
            }
            cluster.nominate(&vip, &found.node);
            let decision = decide(&vip, &mut cluster, &profile(), 1);
            prop_assert!(matches!(decision, Decision::Place(node, _) if node == found.node));
        }
    }
}
