//! Stories: given these nodes and this clock, these steps.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde_json::json;

use super::NodeSettings;
use super::monitor::{Deed, Monitor};

use proptest::prelude::*;

/// Nodes, a clock, and the monitor, whose deeds come true.
struct Stage {
    monitor: Monitor,
    now: Timestamp,
    nodes: BTreeMap<String, Arc<Node>>,
    leases: BTreeMap<String, Arc<Lease>>,
    story: String,
    begun: Timestamp,
}

impl Stage {
    fn new(nodes: &[(&str, &str)]) -> Self {
        let begun: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut stage = Self {
            monitor: Monitor::new(NodeSettings::default()),
            now: begun,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            story: String::new(),
            begun,
        };
        for (name, zone) in nodes {
            stage.join(name, zone);
        }
        stage
    }

    fn join(&mut self, name: &str, zone: &str) {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        let node = json!({"metadata": {"name": name, "labels": labels, "creationTimestamp": self.now.to_string()}});
        self.nodes.insert(name.into(), Arc::new(serde_json::from_value(node).unwrap()));
    }

    /// The node writes its status.
    fn report(&mut self, name: &str, ready: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        let mut changed: Node = node.as_ref().clone();
        let condition = json!({"type": "Ready", "status": ready, "lastHeartbeatTime": self.now.to_string()});
        changed.status = serde_json::from_value(json!({ "conditions": [condition] })).unwrap();
        *node = Arc::new(changed);
    }

    /// The node renews its lease.
    fn renew(&mut self, name: &str) {
        let spec = json!({"renewTime": self.now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()});
        self.leases.insert(name.into(), Arc::new(serde_json::from_value(json!({ "spec": spec })).unwrap()));
    }

    /// Time goes by in steps of five seconds, while `alive` renew their leases.
    fn wait(&mut self, seconds: i64, alive: &[&str]) {
        for _ in 0..seconds / 5 {
            self.now = self.now.checked_add(SignedDuration::from_secs(5)).unwrap();
            alive.iter().for_each(|name| self.renew(name));
            self.look();
        }
    }

    fn look(&mut self) {
        let nodes: Vec<Arc<Node>> = self.nodes.values().cloned().collect();
        let leases = self.leases.clone();
        let deeds = self.monitor.step(self.now, &nodes, &move |name| leases.get(name).cloned());
        let at = self.now.duration_since(self.begun).as_secs();
        for deed in deeds {
            let line = match &deed {
                Deed::Tell(_, reason, message) => format!("{reason}: {message}"),
                Deed::Report(node, conditions) => {
                    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
                    let (reason, message) = (ready.reason.clone().unwrap(), ready.message.clone().unwrap());
                    let line = format!("{} is {}: {reason}, {message}", node.name_any(), ready.status);
                    self.change(node, |node| node.status.get_or_insert_default().conditions = Some(conditions.clone()));
                    line
                }
                Deed::Taint(node, taints) => {
                    let keys: Vec<&str> = taints.iter().map(|taint| taint.key.rsplit('/').next().unwrap()).collect();
                    let line = format!("{} taints: [{}]", node.name_any(), keys.join(" "));
                    self.change(node, |node| node.spec.get_or_insert_default().taints = Some(taints.clone()));
                    line
                }
                // Said again at each look; only the act counts pods.
                Deed::Unready(_) => continue,
            };
            writeln!(self.story, "at {at} s: {line}").unwrap();
        }
    }

    fn change(&mut self, node: &Arc<Node>, change: impl FnOnce(&mut Node)) {
        let present = self.nodes.get_mut(&node.name_any()).unwrap();
        change(Arc::make_mut(present));
    }

    fn tells(&mut self, expected: Expect) {
        expected.assert_eq(&std::mem::take(&mut self.story));
    }
}

#[test]
fn a_node_that_falls_silent_is_unknown_then_tainted_and_forgiven_when_it_returns() {
    let mut stage = Stage::new(&[("one", "a"), ("two", "a"), ("three", "a")]);
    for name in ["one", "two", "three"] {
        stage.report(name, "True");
    }
    stage.wait(30, &["one", "two", "three"]);
    stage.tells(expect![[r#"
        at 5 s: RegisteredNode: Node one event: Registered Node one in Controller
        at 5 s: RegisteredNode: Node three event: Registered Node three in Controller
        at 5 s: RegisteredNode: Node two event: Registered Node two in Controller
    "#]]);
    // It is heard of last at 30 s.
    stage.wait(120, &["one", "two"]);
    stage.tells(expect![[r#"
        at 85 s: three is Unknown: NodeStatusUnknown, Kubelet stopped posting node status.
        at 85 s: NodeNotReady: Node three status is now: NodeNotReady
        at 85 s: three taints: [unreachable]
    "#]]);
    // It is back, first with trouble.
    stage.report("three", "False");
    stage.wait(5, &["one", "two", "three"]);
    stage.report("three", "True");
    stage.wait(60, &["one", "two", "three"]);
    stage.tells(expect![[r#"
        at 155 s: three taints: [not-ready]
        at 160 s: three taints: []
    "#]]);
    stage.nodes.remove("three");
    stage.wait(5, &["one", "two"]);
    stage.tells(expect![[r#"
        at 220 s: RemovingNode: Node three event: Removing Node three from Controller
    "#]]);
}

#[test]
fn a_node_that_never_reports_is_unknown_after_its_start_and_a_lease_is_enough_to_live() {
    let mut stage = Stage::new(&[("well", "a"), ("mute", "a"), ("leased", "a")]);
    stage.report("well", "True");
    stage.wait(300, &["well", "leased"]);
    stage.tells(expect![[r#"
        at 5 s: RegisteredNode: Node leased event: Registered Node leased in Controller
        at 5 s: RegisteredNode: Node mute event: Registered Node mute in Controller
        at 5 s: RegisteredNode: Node well event: Registered Node well in Controller
        at 65 s: mute is Unknown: NodeStatusNeverUpdated, Kubelet never posted node status.
        at 65 s: mute taints: [unreachable]
    "#]]);
}

#[test]
fn nobody_is_blamed_for_the_time_in_which_nobody_looked() {
    let mut stage = Stage::new(&[("one", "a"), ("two", "a")]);
    ["one", "two"].iter().for_each(|name| stage.report(name, "True"));
    stage.wait(5, &["one", "two"]);
    stage.story.clear();
    // The machine sleeps for an hour; one of the nodes does not wake up with it.
    stage.now = stage.now.checked_add(SignedDuration::from_hours(1)).unwrap();
    stage.wait(60, &["one"]);
    stage.tells(expect![[r#"
        at 3665 s: two is Unknown: NodeStatusUnknown, Kubelet stopped posting node status.
        at 3665 s: NodeNotReady: Node two status is now: NodeNotReady
        at 3665 s: two taints: [unreachable]
    "#]]);
}

#[test]
fn nodes_are_tainted_slowly_and_not_when_a_small_zone_is_mostly_down() {
    let names: Vec<String> = (0..8).map(|index| format!("n{index}")).collect();
    let zones: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a")).collect();
    let mut stage = Stage::new(&zones);
    names.iter().for_each(|name| stage.report(name, "True"));
    stage.look();
    stage.story.clear();
    // Three of eight: one every ten seconds.
    names[..3].iter().for_each(|name| stage.report(name, "False"));
    stage.wait(40, &["n3", "n4", "n5", "n6", "n7"]);
    stage.tells(expect![[r#"
        at 5 s: n0 taints: [not-ready]
        at 15 s: n1 taints: [not-ready]
        at 25 s: n2 taints: [not-ready]
    "#]]);
    // Six of eight, in a small zone: nobody more.
    names[3..6].iter().for_each(|name| stage.report(name, "False"));
    stage.wait(40, &["n6", "n7"]);
    stage.tells(expect![[r#"
        at 55 s: n0 is Unknown: NodeStatusUnknown, Kubelet stopped posting node status.
        at 55 s: n1 is Unknown: NodeStatusUnknown, Kubelet stopped posting node status.
        at 55 s: n2 is Unknown: NodeStatusUnknown, Kubelet stopped posting node status.
        at 55 s: n0 taints: [unreachable]
        at 55 s: n1 taints: [unreachable]
        at 55 s: n2 taints: [unreachable]
    "#]]);
    // All of them: it is us. Taints are taken back, until somebody is well.
    names.iter().for_each(|name| stage.report(name, "False"));
    stage.wait(40, &[]);
    stage.tells(expect![[r#"
        at 85 s: n0 taints: []
        at 85 s: n1 taints: []
        at 85 s: n2 taints: []
    "#]]);
    names[..6].iter().for_each(|name| stage.report(name, "True"));
    stage.wait(15, &["n0", "n1", "n2", "n3", "n4", "n5"]);
    stage.tells(expect![[r#"
        at 125 s: n6 taints: [not-ready]
        at 135 s: n7 taints: [not-ready]
    "#]]);
}

proptest! {
    /// Whatever nodes do: once what is to be written is written, there is nothing more to write at that time.
    #[test]
    fn a_look_that_was_carried_out_leaves_nothing_to_do(
        steps in proptest::collection::vec((0..4usize, 0..4u8, 1..12i64), 1..60),
    ) {
        let names = ["n0", "n1", "n2", "n3"];
        let mut stage = Stage::new(&[("n0", "a"), ("n1", "a"), ("n2", "b"), ("n3", "b")]);
        for (node, what, seconds) in steps {
            match what {
                0 => stage.report(names[node], "True"),
                1 => stage.report(names[node], "False"),
                2 => stage.renew(names[node]),
                _ => {}
            }
            stage.wait(seconds * 5, &names[..node]);
            stage.story.clear();
            stage.look();
            prop_assert_eq!(&stage.story, "");
        }
    }
}
