//! Usage and scopes, by table.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn pod(containers: Value) -> Value {
    json!({ "metadata": { "name": "p" }, "spec": { "containers": containers } })
}

fn used(group: &str, plural: &str, object: &Value) -> String {
    words(&usage(group, plural, object))
}

#[test]
fn objects_use_what_kubernetes_says_they_use() {
    let plain = pod(json!([{ "name": "a" }]));
    let two = pod(json!([
        { "name": "a", "resources": { "requests": { "cpu": "100m", "memory": "1Gi" }, "limits": { "cpu": "1" } } },
        { "name": "b", "resources": { "requests": { "cpu": "200m", "example.com/gpu": "2" } } },
    ]));
    let mut done = two.clone();
    done["status"]["phase"] = json!("Succeeded");
    let claim = json!({ "spec": { "storageClassName": "gold", "resources": { "requests": { "storage": "5Gi" } } } });
    let ports = json!([{ "port": 1 }, { "port": 2 }]);
    let service = |kind: &str| json!({ "spec": { "type": kind, "ports": ports } });
    for (group, plural, object, wanted) in [
        ("", "pods", &plain, "count/pods=1,pods=1"),
        (
            "",
            "pods",
            &two,
            "count/pods=1,cpu=300m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=300m,requests.example.com/gpu=2,requests.memory=1Gi",
        ),
        ("", "pods", &done, "count/pods=1"),
        ("", "configmaps", &json!({}), "configmaps=1,count/configmaps=1"),
        ("apps", "deployments", &json!({}), "count/deployments.apps=1"),
        ("", "events", &json!({}), ""),
        (
            "",
            "services",
            &service("ClusterIP"),
            "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0",
        ),
        (
            "",
            "services",
            &service("NodePort"),
            "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
        ),
        (
            "",
            "services",
            &service("LoadBalancer"),
            "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
        ),
        (
            "",
            "persistentvolumeclaims",
            &claim,
            "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=5Gi,persistentvolumeclaims=1,requests.storage=5Gi",
        ),
    ] {
        assert_eq!(used(group, plural, object), wanted, "{plural} {object}");
    }
}

#[test]
fn containers_that_start_a_pod_count_as_far_as_they_take_more() {
    let spec = json!({
        "initContainers": [
            { "name": "side", "restartPolicy": "Always", "resources": { "requests": { "cpu": "1" } } },
            { "name": "first", "resources": { "requests": { "cpu": "3", "memory": "1Gi" } } },
        ],
        "containers": [{ "name": "main", "resources": { "requests": { "cpu": "2", "memory": "2Gi" } } }],
        "overhead": { "cpu": "250m" },
    });
    assert_eq!(words(&pod_amounts(&spec, Side::Requests)), "cpu=4250m,memory=2Gi");
    let whole = json!({ "resources": { "limits": { "cpu": "7" } }, "containers": [{ "name": "a" }] });
    assert_eq!(words(&pod_amounts(&whole, Side::Limits)), "cpu=7");
}

#[test]
fn scopes_narrow_a_quota() {
    let plain = pod(json!([{ "name": "a" }]));
    let sized = pod(json!([{ "name": "a", "resources": { "requests": { "cpu": "1" } } }]));
    let mut short = plain.clone();
    short["spec"]["activeDeadlineSeconds"] = json!(5);
    let mut high = plain.clone();
    high["spec"]["priorityClassName"] = json!("high");
    let mut far = plain.clone();
    far["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!([{ "namespaceSelector": {}, "topologyKey": "k" }]);
    let scope = |name: &str| json!({ "scopes": [name] });
    let class = |operator: &str| {
        let term = json!({ "scopeName": "PriorityClass", "operator": operator, "values": ["high"] });
        json!({ "scopeSelector": { "matchExpressions": [term] } })
    };
    for (spec, plural, object, wanted) in [
        (json!({}), "pods", &plain, true),
        (scope("BestEffort"), "pods", &plain, true),
        (scope("BestEffort"), "pods", &sized, false),
        (scope("NotBestEffort"), "pods", &sized, true),
        (scope("Terminating"), "pods", &short, true),
        (scope("Terminating"), "pods", &plain, false),
        (scope("NotTerminating"), "pods", &plain, true),
        (scope("CrossNamespacePodAffinity"), "pods", &far, true),
        (scope("CrossNamespacePodAffinity"), "pods", &plain, false),
        (class("In"), "pods", &high, true),
        (class("In"), "pods", &plain, false),
        (class("NotIn"), "pods", &plain, true),
        (class("NotIn"), "pods", &high, false),
        (scope("BestEffort"), "configmaps", &plain, false),
        (
            scope("VolumeAttributesClass"),
            "persistentvolumeclaims",
            &json!({ "spec": { "volumeAttributesClassName": "v" } }),
            true,
        ),
        (scope("VolumeAttributesClass"), "persistentvolumeclaims", &json!({ "spec": {} }), false),
    ] {
        assert_eq!(applies(&spec, "", plural, object), wanted, "{spec} {object}");
    }
}

#[test]
fn what_is_counted_has_to_be_stated() {
    let spec = json!({ "containers": [
        { "name": "a", "resources": { "limits": { "cpu": "1" } } }, { "name": "b" },
    ] });
    let missing = |names: &[&str]| unstated(&spec, names.iter().copied());
    assert_eq!(missing(&["pods"]), None);
    assert_eq!(missing(&["limits.cpu"]).as_deref(), Some("limits.cpu for: b"));
    assert_eq!(missing(&["limits.cpu", "memory"]).as_deref(), Some("limits.cpu for: b; memory for: a,b"));
}

#[test]
fn names_in_a_quota_belong_to_kinds() {
    for (group, plural, name, wanted) in [
        ("", "pods", "pods", true),
        ("", "pods", "requests.cpu", true),
        ("", "pods", "requests.example.com/gpu", true),
        ("", "pods", "requests.storage", false),
        ("", "pods", "hugepages-2Mi", true),
        ("", "persistentvolumeclaims", "requests.storage", true),
        ("", "persistentvolumeclaims", "gold.storageclass.storage.k8s.io/requests.storage", true),
        ("", "services", "services.nodeports", true),
        ("apps", "deployments", "count/deployments.apps", true),
        ("apps", "deployments", "deployments", false),
        ("", "secrets", "secrets", true),
    ] {
        assert_eq!(concerns(group, plural, name), wanted, "{plural} {name}");
    }
}

#[test]
fn differences_leave_out_what_is_the_same() {
    let map = |value: Value| amounts(Some(&value));
    let left = map(json!({ "a": "2", "b": "1" }));
    let right = map(json!({ "a": "1", "b": "1", "c": "3" }));
    assert_eq!(words(&difference(&left, &right)), "a=1,c=-3");
    assert_eq!(words(&only(&left, &BTreeSet::from(["b".to_owned()]))), "b=1");
}
