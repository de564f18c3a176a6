//! Volumes: where they are decides where pods go, and pods decide where volumes are made.

use expect_test::expect;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::{ask, cluster, pod, profile, put, told};
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};
use crate::volumes::{Step, Volumes};

fn of<K: client::informers::Watched>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn claim(name: &str, class: &str, volume: Option<&str>, more: Value) -> PersistentVolumeClaim {
    let phase = if volume.is_some() { "Bound" } else { "Pending" };
    let mut claim = json!({
        "metadata": {"name": name, "namespace": "a", "uid": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": phase},
    });
    super::merge(&mut claim, more);
    of(claim)
}

fn volume(name: &str, class: &str, node: &str, size: &str) -> PersistentVolume {
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    of(json!({
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}},
        "status": {"phase": "Available"},
    }))
}

fn class(volumes: &Volumes, name: &str, provisioner: &str, mode: &str) {
    let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode});
    volumes.classes.apply(of(class));
}

fn with(name: &str, claim: &str) -> Pod {
    let source = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
    pod(name, "", json!({"spec": {"volumes": source}}))
}

fn nodes() -> (Cluster, Volumes) {
    let cluster = cluster(&["one cpu=4 memory=8Gi pods=10", "two cpu=4 memory=8Gi pods=10"]);
    let volumes = cluster.volumes.clone();
    class(&volumes, "now", "p", "Immediate");
    class(&volumes, "late", "p", "WaitForFirstConsumer");
    class(&volumes, "by-hand", "kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    (cluster, volumes)
}

#[test]
fn a_pod_goes_where_its_volume_is() {
    let (mut cluster, volumes) = nodes();
    expect![[r#"0/2 nodes are available: persistentvolumeclaim "data" not found."#]]
        .assert_eq(&told(&mut cluster, with("p", "data")));
    volumes.claims.apply(claim("data", "now", None, json!({})));
    expect!["0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."]
        .assert_eq(&told(&mut cluster, with("p", "data")));
    volumes.claims.apply(claim("data", "now", Some("pv"), json!({})));
    expect!["0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."]
        .assert_eq(&told(&mut cluster, with("p", "data")));
    volumes.volumes.apply(volume("pv", "now", "nowhere", "1Gi"));
    expect!["0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity."]
        .assert_eq(&told(&mut cluster, with("p", "data")));
    volumes.volumes.apply(volume("pv", "now", "two", "1Gi"));
    assert_eq!(put(&mut cluster, with("p", "data")).unwrap(), "two");
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    volumes.claims.apply(claim("data", "now", Some("pv"), going));
    expect![[r#"0/2 nodes are available: persistentvolumeclaim "data" is being deleted."#]]
        .assert_eq(&told(&mut cluster, with("q", "data")));
}

fn steps(cluster: &mut Cluster, pod: Pod) -> (String, String) {
    let Decision::Place(node, steps) = decide(&ask(pod), cluster, &profile(), 1) else { panic!("it fits") };
    cluster.volumes.promise(&steps);
    let words = steps.iter().map(|step| match step {
        Step::Give(volume, claim) => {
            format!("{} for {}", volume.metadata.name.clone().unwrap(), claim.metadata.name.clone().unwrap())
        }
        Step::Provision(claim) => format!("make {}", claim.metadata.name.clone().unwrap()),
    });
    (node, words.collect::<Vec<_>>().join(", "))
}

#[test]
fn what_waits_for_its_first_consumer_is_bound_where_that_goes() {
    let (mut cluster, volumes) = nodes();
    volumes.claims.apply(claim("late", "late", None, json!({})));
    assert_eq!(steps(&mut cluster, with("p", "late")).1, "make late");
    // The node that was chosen before stays.
    let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "two"}}});
    volumes.claims.apply(claim("late", "late", None, chosen));
    assert_eq!(steps(&mut cluster, with("p", "late")), ("two".into(), "make late".into()));
    // The smallest volume that is large enough, where there is one; each for one claim.
    volumes.claims.apply(claim("hand", "by-hand", None, json!({})));
    volumes.claims.apply(claim("hand2", "by-hand", None, json!({})));
    expect!["0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."]
        .assert_eq(&told(&mut cluster, with("p", "hand")));
    for (name, size) in [("tiny", "1Mi"), ("right", "2Gi"), ("large", "9Gi")] {
        volumes.volumes.apply(volume(name, "by-hand", "two", size));
    }
    assert_eq!(steps(&mut cluster, with("p", "hand")), ("two".into(), "right for hand".into()));
    assert_eq!(steps(&mut cluster, with("q", "hand2")), ("two".into(), "large for hand2".into()));
}

#[test]
fn a_claim_that_is_one_pods_is_one_pods() {
    let (mut cluster, volumes) = nodes();
    let alone = json!({"spec": {"accessModes": ["ReadWriteOncePod"]}});
    volumes.claims.apply(claim("mine", "now", Some("pv"), alone));
    volumes.volumes.apply(volume("pv", "now", "two", "1Gi"));
    assert_eq!(put(&mut cluster, with("p", "mine")).unwrap(), "two");
    expect![
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
    ]
    .assert_eq(&told(&mut cluster, with("q", "mine")));
}
