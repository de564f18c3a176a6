//! Binding, by table.

use serde_json::Value;

use super::plan::*;
use super::*;
use crate::owners::name;

fn claim(spec: Value) -> PersistentVolumeClaim {
    let mut spec = spec;
    for (field, value) in
        [("accessModes", json!(["ReadWriteOnce"])), ("resources", json!({ "requests": { "storage": "2Gi" } }))]
    {
        if spec.get(field).is_none() {
            spec[field] = value;
        }
    }
    serde_json::from_value(json!({
        "metadata": { "name": "c", "namespace": "n", "uid": "u" }, "spec": spec, "status": { "phase": "Pending" },
    }))
    .unwrap()
}

fn volume_named(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
    let mut spec =
        json!({ "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/x" } });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Arc::new(serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap())
}

fn told(plan: &ClaimPlan) -> String {
    match plan {
        ClaimPlan::Nothing => "nothing".into(),
        ClaimPlan::Wait { reason, .. } => (*reason).to_owned(),
        ClaimPlan::Provision(who) => format!("provision {who}"),
        ClaimPlan::Take(volume) => format!("take {}", name(&volume.metadata)),
        ClaimPlan::Bind(volume) => format!("bind {}", name(&volume.metadata)),
        ClaimPlan::Lost(_) => "lost".into(),
    }
}

#[test]
fn claims_get_the_smallest_volume_that_fits() {
    let reference = |name: &str, uid: Value| json!({ "claimRef": { "namespace": "n", "name": name, "uid": uid } });
    let class = json!({ "storageClassName": "gold" });
    let none = json!({});
    for (spec, volumes, wanted) in [
        (none.clone(), vec![], "FailedBinding"),
        (none.clone(), vec![volume_named("a", "1Gi", none.clone())], "FailedBinding"),
        (none.clone(), vec![volume_named("a", "9Gi", none.clone()), volume_named("b", "3Gi", none.clone())], "take b"),
        (none.clone(), vec![volume_named("a", "9Gi", class.clone())], "FailedBinding"),
        (class.clone(), vec![volume_named("a", "9Gi", class.clone())], "take a"),
        (class.clone(), vec![], "ProvisioningFailed"),
        (
            none.clone(),
            vec![volume_named("a", "9Gi", reference("c", Value::Null)), volume_named("b", "3Gi", none.clone())],
            "take a",
        ),
        (none.clone(), vec![volume_named("a", "9Gi", reference("c", json!("u")))], "bind a"),
        (none.clone(), vec![volume_named("a", "9Gi", reference("c", json!("other")))], "FailedBinding"),
        (none.clone(), vec![volume_named("a", "9Gi", reference("d", json!("x")))], "FailedBinding"),
        (json!({ "volumeName": "a" }), vec![volume_named("a", "9Gi", none.clone())], "take a"),
        (json!({ "volumeName": "a" }), vec![], "FailedBinding"),
        (json!({ "accessModes": ["ReadWriteMany"] }), vec![volume_named("a", "9Gi", none.clone())], "FailedBinding"),
        (
            json!({ "selector": { "matchLabels": { "x": "y" } } }),
            vec![volume_named("a", "9Gi", none.clone())],
            "FailedBinding",
        ),
    ] {
        let claim = claim(spec.clone());
        assert_eq!(
            told(&plan::claim(&claim, None, &Consumers { is_placed: true, waiting: vec![] }, &volumes)),
            wanted,
            "{spec}"
        );
    }
}

#[test]
fn classes_decide_when_and_by_whom() {
    let class = |mode: &str| -> StorageClass {
        serde_json::from_value(
            json!({ "metadata": { "name": "gold" }, "provisioner": "p.io/x", "volumeBindingMode": mode }),
        )
        .unwrap()
    };
    let claim = claim(json!({ "storageClassName": "gold" }));
    let of = |mode: &str, is_placed: bool, waiting: &[&str]| {
        let consumers = Consumers { is_placed, waiting: waiting.iter().map(|pod| (*pod).to_owned()).collect() };
        told(&plan::claim(&claim, Some(&class(mode)), &consumers, &[]))
    };
    assert_eq!(of("WaitForFirstConsumer", false, &[]), "WaitForFirstConsumer");
    assert_eq!(of("WaitForFirstConsumer", false, &["p"]), "WaitForPodScheduled");
    assert_eq!(of("WaitForFirstConsumer", true, &[]), "provision p.io/x");
    assert_eq!(of("Immediate", false, &[]), "provision p.io/x");
    let mut chosen = claim.clone();
    chosen.metadata.annotations =
        Some([("volume.kubernetes.io/selected-node".to_owned(), "a".to_owned())].into_iter().collect());
    let class = class("WaitForFirstConsumer");
    assert_eq!(told(&plan::claim(&chosen, Some(&class), &Consumers::default(), &[])), "provision p.io/x");
    let kept = json!({ "storageClassName": "gold", "claimRef": { "namespace": "n", "name": "c", "uid": "u" } });
    let kept = [volume_named("a", "9Gi", kept)];
    assert_eq!(told(&plan::claim(&claim, Some(&class), &Consumers::default(), &kept)), "bind a");
}

#[test]
fn volumes_say_what_they_are() {
    let bound = claim(json!({ "volumeName": "a" }));
    let reference = |uid: Value| json!({ "claimRef": { "namespace": "n", "name": "c", "uid": uid } });
    let mut deleted = reference(json!("u"));
    deleted["persistentVolumeReclaimPolicy"] = json!("Delete");
    for (more, claim, wanted) in [
        (json!({}), None, "Available"),
        (reference(Value::Null), None, "Available"),
        (reference(json!("u")), Some(&bound), "Bound"),
        (reference(json!("u")), None, "Released"),
        (reference(json!("older")), Some(&bound), "Released"),
        (deleted, None, "Failed"),
    ] {
        let volume = volume_named("a", "9Gi", more.clone());
        assert_eq!(plan::volume(&volume, claim).unwrap().phase, wanted, "{more}");
    }
}
