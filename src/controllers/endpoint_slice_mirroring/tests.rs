//! Mirrors, by example.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::plan::*;
use super::*;

fn endpoints(subsets: Value) -> Endpoints {
    serde_json::from_value(json!({
        "metadata": { "name": "e", "namespace": "n", "uid": "u", "labels": { "app": "x" } }, "subsets": subsets,
    }))
    .unwrap()
}

#[test]
fn a_subset_becomes_a_slice_for_each_family() {
    let both = json!([{
        "addresses": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
        "notReadyAddresses": [{ "ip": "10.0.0.2" }],
        "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
    }]);
    let plan = plan(Some(&endpoints(both)), &[]);
    let told: Vec<String> = plan
        .create
        .iter()
        .map(|slice| {
            let each = slice.endpoints.iter().flatten().map(|endpoint| {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
                format!("{}{}", endpoint.addresses[0], if ready { "" } else { "!" })
            });
            format!("{}: {}", slice.address_type, each.collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert_eq!(told, ["IPv4: 10.0.0.1 10.0.0.2!", "IPv6: fd00::1"]);
    let slice = &plan.create[0];
    assert_eq!(service_of(slice).unwrap().to_string(), "n/e");
    assert_eq!(slice.labels()["app"], "x");
}

#[test]
fn a_mirror_that_is_as_it_should_be_is_left_alone_and_follows_changes() {
    let one = |ip: &str, port: i32| json!([{ "addresses": [{ "ip": ip }], "ports": [{ "port": port }] }]);
    let made = plan(Some(&endpoints(one("10.0.0.1", 80))), &[]).create;
    let held: Vec<Arc<EndpointSlice>> = made.into_iter().map(Arc::new).collect();
    let same = plan(Some(&endpoints(one("10.0.0.1", 80))), &held);
    assert_eq!((same.create.len(), same.update.len(), same.delete.len()), (0, 0, 0));
    let moved = plan(Some(&endpoints(one("10.0.0.9", 80))), &held);
    assert_eq!((moved.create.len(), moved.update.len(), moved.delete.len()), (0, 1, 0));
    let other_port = plan(Some(&endpoints(one("10.0.0.1", 81))), &held);
    assert_eq!((other_port.create.len(), other_port.update.len(), other_port.delete.len()), (1, 0, 1));
    let gone = plan(None, &held);
    assert_eq!((gone.create.len(), gone.update.len(), gone.delete.len()), (0, 0, 1));
}

#[test]
fn what_others_look_after_is_not_mirrored() {
    assert!(is_mirrored(&endpoints(json!([]))));
    for (part, key, value) in [
        ("labels", "endpointslice.kubernetes.io/skip-mirror", "true"),
        ("labels", "endpoints.kubernetes.io/managed-by", "endpoint-controller"),
        ("annotations", "control-plane.alpha.kubernetes.io/leader", "x"),
    ] {
        let mut object = serde_json::to_value(endpoints(json!([]))).unwrap();
        object["metadata"][part][key] = json!(value);
        assert!(!is_mirrored(&serde_json::from_value(object).unwrap()), "{key}");
    }
}
