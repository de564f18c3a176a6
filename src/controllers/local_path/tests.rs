//! Provisioning, by table.

use serde_json::{Value, json};

use super::plan::*;
use super::*;

fn class(more: Value) -> StorageClass {
    let mut class = json!({ "metadata": { "name": "local-path" }, "provisioner": PROVISIONER });
    class.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    serde_json::from_value(class).unwrap()
}

fn asks(annotations: Value, more: Value) -> PersistentVolumeClaim {
    let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "2Gi" } } });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let mut all = json!({ "volume.kubernetes.io/storage-provisioner": PROVISIONER });
    all.as_object_mut().unwrap().extend(annotations.as_object().cloned().unwrap_or_default());
    serde_json::from_value(json!({
        "metadata": { "name": "c", "namespace": "n", "uid": "u", "annotations": all }, "spec": spec,
    }))
    .unwrap()
}

fn node(name: &str, ready: &str) -> Arc<Node> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "zone": name } },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap(),
    )
}

fn told(claim: &PersistentVolumeClaim, class: &StorageClass, of_consumer: Option<&str>) -> String {
    let nodes = [node("a", "True"), node("b", "True"), node("c", "False")];
    let held = BTreeMap::from([("a".to_owned(), 3)]);
    match plan::claim(claim, &Around { class, nodes: &nodes, of_consumer, held: &held }) {
        ClaimPlan::Nothing => "nothing".to_owned(),
        ClaimPlan::Fail(why) => why,
        ClaimPlan::Reschedule(node) => format!("not on {node}"),
        ClaimPlan::Make(volume) => format!("on {}", node_of(&volume).unwrap()),
    }
}

#[test]
fn a_claim_gets_a_volume_where_it_is_needed() {
    let (waits, at_once) = (class(json!({ "volumeBindingMode": "WaitForFirstConsumer" })), class(json!({})));
    let selected = |node: &str| asks(json!({ SELECTED_NODE: node }), json!({}));
    let plain = || asks(json!({}), json!({}));
    let zone = json!([{ "matchLabelExpressions": [{ "key": "zone", "values": ["a"] }] }]);
    let zoned = class(json!({ "allowedTopologies": zone }));
    for (claim, class, consumer, wanted) in [
        (plain(), &waits, None, "nothing"),
        (plain(), &waits, Some("a"), "on a"),
        (selected("a"), &waits, None, "on a"),
        (selected("gone"), &waits, None, "not on gone"),
        (plain(), &at_once, None, "on b"),
        (plain(), &zoned, None, "on a"),
        (asks(json!({}), json!({ "volumeName": "v" })), &at_once, None, "nothing"),
        (asks(json!({ "volume.kubernetes.io/storage-provisioner": "other" }), json!({})), &at_once, None, "nothing"),
    ] {
        assert_eq!(told(&claim, class, consumer), wanted, "{claim:?}");
    }
    for more in
        [json!({ "volumeMode": "Block" }), json!({ "dataSource": { "kind": "PersistentVolumeClaim", "name": "x" } })]
    {
        assert!(told(&asks(json!({}), more), &at_once, None).contains("not offered"));
    }
}

#[test]
fn a_volume_carries_what_its_claim_and_class_say() {
    let class = class(json!({ "reclaimPolicy": "Retain" }));
    let nodes = [node("a", "True")];
    let around = Around { class: &class, nodes: &nodes, of_consumer: None, held: &BTreeMap::new() };
    let ClaimPlan::Make(volume) = plan::claim(&asks(json!({}), json!({})), &around) else { panic!("no volume") };
    let volume = serde_json::to_value(volume).unwrap();
    assert_eq!(volume["metadata"]["name"], "pvc-u");
    assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["spec"]["claimRef"]["uid"], "u");
}

#[test]
fn a_volume_goes_when_nobody_needs_it() {
    let volume = |policy: &str, phase: &str, deleting: bool| -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {
                "name": "v", "annotations": { "pv.kubernetes.io/provisioned-by": PROVISIONER }, "finalizers": [FINALIZER],
                "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
            },
            "spec": { "persistentVolumeReclaimPolicy": policy, "csi": { "driver": DRIVER, "volumeHandle": "v" } },
            "status": { "phase": phase },
        }))
        .unwrap()
    };
    for (policy, phase, deleting, has_node, wanted) in [
        ("Delete", "Bound", false, true, VolumePlan::Nothing),
        ("Delete", "Released", false, true, VolumePlan::Delete),
        ("Retain", "Released", false, true, VolumePlan::Nothing),
        ("Delete", "Released", true, true, VolumePlan::Nothing),
        ("Delete", "Released", true, false, VolumePlan::LetGo(vec![])),
        ("Retain", "Released", true, true, VolumePlan::LetGo(vec![])),
    ] {
        assert_eq!(plan::volume(&volume(policy, phase, deleting), has_node), wanted, "{policy} {phase} {deleting}");
    }
}
