//! How long pods stay: a table, and a story.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};

use super::plan::*;
use super::*;

#[test]
fn a_pod_stays_as_long_as_all_that_it_tolerates() {
    let node: Node = serde_json::from_value(json!({"spec": {"taints": [
        {"key": "gone", "effect": "NoExecute"},
        {"key": "slow", "value": "very", "effect": "NoExecute"},
        {"key": "new", "effect": "NoSchedule"},
    ]}}))
    .unwrap();
    let seconds = |seconds: u64| Stay::For(Duration::from_secs(seconds));
    let tolerating = |list: Value| {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "tolerations": list}})).unwrap();
        stay(&pod, &node)
    };
    for (tolerations, expected) in [
        (json!([]), seconds(0)),
        (json!([{"key": "gone", "operator": "Exists"}]), seconds(0)),
        (json!([{"operator": "Exists"}]), Stay::ForEver),
        (json!([{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}]), seconds(30)),
        (
            json!([
                {"key": "gone", "operator": "Exists", "tolerationSeconds": 300},
                {"key": "slow", "value": "very", "tolerationSeconds": 7},
            ]),
            seconds(7),
        ),
        (json!([{"key": "gone", "operator": "Exists"}, {"key": "slow", "value": "a bit"}]), seconds(0)),
        (json!([{"operator": "Exists", "tolerationSeconds": -1}]), seconds(0)),
    ] {
        assert_eq!(tolerating(tolerations.clone()), expected, "{tolerations}");
    }
}

/// One node, its pods, a clock; what is to go goes.
struct Stage {
    book: Book,
    node: Node,
    pods: BTreeMap<String, Pod>,
    begun: Instant,
    second: u64,
    before: BTreeMap<String, Verdict>,
    story: String,
}

impl Stage {
    fn new(pods: &[(&str, Value)]) -> Self {
        let pods = pods.iter().map(|(name, tolerations)| {
            let metadata = json!({ "name": name, "namespace": "a", "uid": name });
            let spec = json!({ "containers": [], "nodeName": "one", "tolerations": tolerations });
            let pod = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
            ((*name).to_owned(), pod)
        });
        let (pods, before) = (pods.collect(), BTreeMap::new());
        let (begun, node) = (Instant::now(), Node::default());
        Self { book: Book::default(), node, pods, begun, second: 0, before, story: String::new() }
    }

    fn taint(&mut self, keys: &[&str]) {
        let taints: Vec<Value> = keys.iter().map(|key| json!({ "key": key, "effect": "NoExecute" })).collect();
        self.node = serde_json::from_value(json!({ "spec": { "taints": taints } })).unwrap();
        writeln!(self.story, "at {} s the node is [{}]", self.second, keys.join(" ")).unwrap();
        self.look();
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            self.look();
        }
    }

    /// Tells what is said of a pod when that is something else than before.
    fn look(&mut self) {
        let now = self.begun + Duration::from_secs(self.second);
        for name in self.pods.keys().cloned().collect::<Vec<_>>() {
            let key = Key::new("a", name.clone());
            let verdict = self.book.look(&key, self.pods.get(&name), Some(&self.node), now);
            let kind = std::mem::discriminant(&verdict);
            let before = self.before.insert(name.clone(), verdict);
            if before.map_or(verdict != Verdict::Stays, |before| std::mem::discriminant(&before) != kind) {
                writeln!(self.story, "at {} s {name}: {verdict:?}", self.second).unwrap();
            }
            if verdict == Verdict::Goes {
                self.book.forget(&key);
                self.pods.remove(&name);
            }
        }
    }
}

#[test]
fn a_node_that_is_lost_and_found_and_lost_loses_its_pods_one_after_the_other() {
    let lost = |seconds: u32| {
        let seconds = json!({ "key": "unreachable", "operator": "Exists", "tolerationSeconds": seconds });
        json!([seconds, { "key": "broken", "operator": "Exists", "tolerationSeconds": 5 }])
    };
    let mut stage = Stage::new(&[
        ("brief", lost(30)),
        ("daemon", json!([{ "operator": "Exists" }])),
        ("fussy", json!([])),
        ("patient", lost(300)),
    ]);
    stage.wait(10);
    stage.taint(&["unreachable"]);
    stage.wait(100);
    stage.taint(&[]);
    stage.wait(10);
    // The time that it had been patient before does not count.
    stage.taint(&["unreachable"]);
    stage.wait(299);
    // The shortest patience counts, from when the pod was first to go.
    stage.taint(&["unreachable", "broken"]);
    stage.wait(60);
    expect![[r#"
        at 10 s the node is [unreachable]
        at 10 s brief: Wait(30s)
        at 10 s fussy: Goes
        at 10 s patient: Wait(300s)
        at 40 s brief: Goes
        at 110 s the node is []
        at 110 s patient: IsLetOff
        at 111 s patient: Stays
        at 120 s the node is [unreachable]
        at 120 s patient: Wait(300s)
        at 419 s the node is [unreachable broken]
        at 419 s patient: Goes
    "#]]
    .assert_eq(&stage.story);
    assert_eq!(stage.pods.keys().collect::<Vec<_>>(), ["daemon"]);
}
