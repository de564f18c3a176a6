//! Which requests the server works on first: the mandatory and the suggested FlowSchemas and their priority levels.

use api::kinds::{flow_schema, priority_level};
use api::meta;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Facts;

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
/// Says that the server may bring the object back to what it should be.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
const EVERY: &str = "*";

/// How many queues a level has, of how many of them one flow is dealt, and how long each is.
type Queues = (i64, i64, i64);

/// Name, shares, percent that may be lent, queues.
const LEVELS: [(&str, i64, i64, Queues); 6] = [
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
];

pub(super) fn objects(_facts: &Facts) -> Vec<Value> {
    let mut all: Vec<Value> =
        MANDATORY.iter().filter_map(|name| Some(level(name, priority_level::mandatory(name)?))).collect();
    all.extend(LEVELS.iter().map(|(name, shares, lent, queues)| {
        let (count, hand, length) = queues;
        let queuing = json!({ "queues": count, "handSize": hand, "queueLengthLimit": length });
        let limited = json!({
            "nominalConcurrencyShares": shares, "lendablePercent": lent,
            "limitResponse": { "type": "Queue", "queuing": queuing },
        });
        level(name, json!({ "type": "Limited", "limited": limited }))
    }));
    all.extend(MANDATORY.iter().filter_map(|name| Some(schema(name, flow_schema::mandatory(name)?))));
    all.extend(for_nodes());
    all.extend(for_the_control_plane());
    all.extend(for_everybody());
    all
}

fn level(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "PriorityLevelConfiguration",
        "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } }, "spec": spec,
    })
}

fn schema(name: &str, spec: Value) -> Value {
    let level = spec["priorityLevelConfiguration"]["name"].clone();
    let found = json!({
        "type": "Dangling", "status": "False", "reason": "Found",
        "message": format!("This FlowSchema references the PriorityLevelConfiguration object named {level} and it exists"),
        "lastTransitionTime": meta::time_text(Timestamp::now()),
    });
    json!({
        "apiVersion": API_VERSION, "kind": "FlowSchema",
        "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } }, "spec": spec,
        "status": { "conditions": [found] },
    })
}

/// A schema with one rule.
fn suggested(name: &str, level: &str, precedence: i64, by: &str, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence, "rules": [rule],
    });
    if !by.is_empty() {
        spec["distinguisherMethod"] = json!({ "type": by });
    }
    schema(name, spec)
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], namespaces: &[&str], cluster: bool) -> Value {
    let mut rule = json!({ "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": namespaces });
    if cluster {
        rule["clusterScope"] = json!(true);
    }
    rule
}

fn group(name: &str) -> Value {
    json!({ "kind": "Group", "group": { "name": name } })
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "user": { "name": name } })
}

fn account(name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "serviceAccount": { "namespace": "kube-system", "name": name } })
}

/// Whatever the subjects ask for.
fn anything(subjects: &[Value]) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&[EVERY], EVERY, &[EVERY], &[EVERY], true)],
        "nonResourceRules": [{ "verbs": [EVERY], "nonResourceURLs": [EVERY] }],
    })
}

fn for_nodes() -> Vec<Value> {
    let nodes = group("system:nodes");
    let alive = json!({
        "subjects": [nodes],
        "resourceRules": [
            resources(&[EVERY], "", &["nodes", "nodes/status"], &[EVERY], true),
            resources(&[EVERY], "coordination.k8s.io", &["leases"], &["kube-node-lease"], false),
        ],
    });
    vec![
        suggested("system-nodes", "system", 500, "ByUser", anything(&[nodes])),
        suggested("system-node-high", "node-high", 400, "ByUser", alive),
    ]
}

fn for_the_control_plane() -> Vec<Value> {
    let change = ["get", "create", "update"];
    let leases = resources(&change, "coordination.k8s.io", &["leases"], &[EVERY], false);
    let (manager, scheduler) = (user("system:kube-controller-manager"), user("system:kube-scheduler"));
    let leaders = json!({ "subjects": [manager, scheduler, account(EVERY)], "resourceRules": [leases] });
    let locks = resources(&change, "", &["endpoints", "configmaps"], &[EVERY], false);
    let workloads = json!({ "subjects": [account(EVERY)], "resourceRules": [locks, leases] });
    let endpoints = json!({
        "subjects": [manager, account("endpoint-controller"), account("endpointslicemirroring-controller")],
        "resourceRules": [resources(&change, "", &["endpoints"], &[EVERY], false)],
    });
    vec![
        suggested("system-leader-election", "leader-election", 100, "ByUser", leaders),
        suggested("workload-leader-election", "leader-election", 200, "ByUser", workloads),
        suggested("endpoint-controller", "workload-high", 150, "ByUser", endpoints),
        suggested("kube-controller-manager", "workload-high", 800, "ByNamespace", anything(&[manager])),
        suggested("kube-scheduler", "workload-high", 800, "ByNamespace", anything(&[scheduler])),
        suggested("kube-system-service-accounts", "workload-high", 900, "ByNamespace", anything(&[account(EVERY)])),
    ]
}

fn for_everybody() -> Vec<Value> {
    let everybody = [group("system:unauthenticated"), group("system:authenticated")];
    let paths = json!([{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }]);
    let probes = json!({ "subjects": everybody, "nonResourceRules": paths });
    vec![
        suggested("service-accounts", "workload-low", 9000, "ByUser", anything(&[group("system:serviceaccounts")])),
        suggested("global-default", "global-default", 9900, "ByUser", anything(&everybody)),
        suggested("probes", "exempt", 2, "", probes),
    ]
}
