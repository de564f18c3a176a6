//! Every kind that keeps workloads, storage, limits and budgets: made, read, changed and deleted as a client library does
//! it that knows nothing but discovery, and shown by the real kubectl.

use std::process::Stdio;

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, oneshot};
use serde_json::{Value, json};
use testkit::TestCluster;
use tokio::process::Command;

use crate::api::api;
use crate::process::text;
use crate::support::tool;

fn template(name: &str, restart: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": name } },
        "spec": { "restartPolicy": restart, "containers": [{ "name": "main", "image": "hello:1" }] },
    })
}

/// One object of each kind: its `apiVersion`, its kind, and all but its metadata.
fn objects() -> Vec<(&'static str, &'static str, Value)> {
    let selector = json!({ "matchLabels": { "app": "one" } });
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let workload = json!({ "spec": { "selector": selector, "template": template("one", "Always") } });
    let job = json!({ "spec": { "suspend": true, "template": template("one", "Never") } });
    vec![
        ("v1", "ReplicationController", json!({ "spec": { "template": template("one", "Always") } })),
        (
            "v1",
            "PersistentVolume",
            json!({ "spec": {
                "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/tmp/one" },
            } }),
        ),
        ("v1", "PersistentVolumeClaim", json!({ "spec": claim })),
        ("v1", "ResourceQuota", json!({ "spec": { "hard": { "pods": "10" } } })),
        ("v1", "LimitRange", json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": "1" } }] } })),
        ("v1", "PodTemplate", json!({ "template": template("one", "Always") })),
        ("apps/v1", "ControllerRevision", json!({ "revision": 1, "data": { "spec": {} } })),
        ("apps/v1", "DaemonSet", workload.clone()),
        ("apps/v1", "StatefulSet", workload),
        (
            "batch/v1",
            "CronJob",
            json!({ "spec": { "schedule": "@daily", "suspend": true, "jobTemplate": job.clone() } }),
        ),
        ("batch/v1", "Job", job),
        (
            "autoscaling/v1",
            "HorizontalPodAutoscaler",
            json!({ "spec": { "maxReplicas": 3, "scaleTargetRef": target } }),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({ "spec": { "maxReplicas": 3, "scaleTargetRef": target } }),
        ),
        ("policy/v1", "PodDisruptionBudget", json!({ "spec": { "minAvailable": 1, "selector": selector } })),
    ]
}

/// The kind's resource, as discovery describes it.
async fn resource(client: &Client, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let named = GroupVersionKind::gvk(group, version, kind);
    let (resource, capabilities) = oneshot::pinned_kind(client, &named).await.unwrap();
    for verb in ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] {
        assert!(capabilities.supports_operation(verb), "{kind} has no {verb}");
    }
    match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), "default", &resource),
    }
}

fn object(api_version: &str, kind: &str, name: &str, body: &Value) -> DynamicObject {
    let mut object = body.clone();
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object["metadata"] = json!({ "name": name, "labels": { "test": "kinds" } });
    serde_json::from_value(object).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_made_read_changed_and_deleted() {
    let cluster = api().await;
    let client = cluster.client();
    for (api_version, kind, body) in objects() {
        let told = format!("{api_version} {kind}");
        let resource = resource(&client, api_version, kind).await;
        let made = resource.create(&PostParams::default(), &object(api_version, kind, "one", &body)).await;
        let made = made.unwrap_or_else(|error| panic!("{told}: {error}"));
        assert!(made.metadata.uid.is_some(), "{told}");

        let patch = Patch::Merge(json!({ "metadata": { "annotations": { "note": "x" } } }));
        let patched = resource.patch("one", &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(patched.metadata.generation, made.metadata.generation, "{told}: a note is no new wish");
        let mut read = resource.get("one").await.unwrap();
        assert_eq!(read.metadata.annotations.as_ref().and_then(|notes| notes.get("note")).unwrap(), "x", "{told}");

        read.metadata.labels.get_or_insert_default().insert("more".to_owned(), "y".to_owned());
        let written = resource.replace("one", &PostParams::default(), &read).await;
        written.unwrap_or_else(|error| panic!("{told}: {error}"));
        let found = resource.list(&ListParams::default().labels("test=kinds,more=y")).await.unwrap();
        assert_eq!(found.items.len(), 1, "{told}");
        assert_eq!(found.items[0].types.as_ref().map(|types| types.kind.as_str()).unwrap_or(kind), kind, "{told}");

        let applied = object(api_version, kind, "two", &body);
        let as_manager = PatchParams::apply("test").force();
        resource.patch("two", &as_manager, &Patch::Apply(&applied)).await.unwrap();
        resource.delete("two", &DeleteParams::default()).await.unwrap();
        resource.delete("one", &DeleteParams::background()).await.unwrap();
        assert!(resource.get_opt("one").await.unwrap().is_none_or(|left| left.metadata.deletion_timestamp.is_some()));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_kubernetes_words() {
    let cluster = api().await;
    let client = cluster.client();
    let rows = [
        (
            "batch/v1",
            "Job",
            json!({ "spec": { "template": template("one", "Always") } }),
            "valid values: \"OnFailure\", \"Never\"",
        ),
        (
            "batch/v1",
            "CronJob",
            json!({ "spec": { "schedule": "daily" } }),
            "expected exactly 5 fields, found 1: [daily]",
        ),
        ("v1", "PersistentVolumeClaim", json!({ "spec": {} }), "at least 1 access mode is required"),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({ "spec": { "minAvailable": "x" } }),
            "a valid percent string must be",
        ),
        ("autoscaling/v1", "HorizontalPodAutoscaler", json!({ "spec": {} }), "spec.maxReplicas: Invalid value: 0"),
    ];
    for (api_version, kind, body, sentence) in rows {
        let resource = resource(&client, api_version, kind).await;
        let refused = resource.create(&PostParams::default(), &object(api_version, kind, "bad", &body)).await;
        let kube::Error::Api(status) = refused.unwrap_err() else { panic!("{kind} is refused by the server") };
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{kind}");
        assert!(status.message.contains(sentence), "{kind}: {}", status.message);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_the_same_in_both_versions() {
    let cluster = api().await;
    let client = cluster.client();
    let kind = "HorizontalPodAutoscaler";
    let (old, new) = (resource(&client, "autoscaling/v1", kind).await, resource(&client, "autoscaling/v2", kind).await);
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let body = json!({ "spec": { "maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 70 } });
    old.create(&PostParams::default(), &object("autoscaling/v1", kind, "one", &body)).await.unwrap();
    let shown = new.get("one").await.unwrap();
    assert_eq!(shown.data.pointer("/spec/metrics/0/resource/target/averageUtilization"), Some(&json!(70)));
    let memory = json!({ "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } });
    let patch = Patch::Merge(json!({ "spec": { "metrics": [memory] } }));
    new.patch("one", &PatchParams::default(), &patch).await.unwrap();
    let shown = old.get("one").await.unwrap();
    assert_eq!(shown.data.pointer("/spec/targetCPUUtilizationPercentage"), None);
    let notes = shown.metadata.annotations.unwrap_or_default();
    let metrics: Value = serde_json::from_str(&notes["autoscaling.alpha.kubernetes.io/metrics"]).unwrap();
    assert_eq!(metrics, json!([{ "type": "Resource", "resource": { "name": "memory", "targetAverageValue": "1Gi" } }]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_resized_and_counts_its_changes() {
    let cluster = api().await;
    let client = cluster.client();
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(client.clone());
    let amounts = json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "128Mi" } });
    let pod = json!({
        "metadata": { "name": "one" },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "hello:1", "resources": amounts }],
        },
    });
    let account = json!({ "metadata": { "name": "default" } });
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::default_namespaced(client);
    accounts.create(&PostParams::default(), &serde_json::from_value(account).unwrap()).await.ok();
    let made = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let resize = |requests: Value| {
        Patch::Strategic(json!({ "spec": { "containers": [{ "name": "main", "resources": requests }] } }))
    };
    let more = resize(json!({ "requests": { "cpu": "200m" } }));
    let resized = pods.patch_subresource("resize", "one", &PatchParams::default(), &more).await.unwrap();
    assert_eq!(resized.metadata.generation, Some(2));
    let container = serde_json::to_value(&resized.spec.unwrap().containers[0].resources).unwrap();
    assert_eq!(container["requests"], json!({ "cpu": "200m", "memory": "64Mi" }));
    let rows = [
        (
            json!({ "limits": { "memory": null } }),
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            json!({ "requests": { "memory": "128Mi" }, "limits": { "cpu": "200m" } }),
            "Pod QOS Class may not change as a result of resizing",
        ),
        (json!({ "requests": { "memory": "1Gi" } }), "must be less than or equal to memory limit of 128Mi"),
    ];
    for (requests, sentence) in rows {
        let refused = pods.patch_subresource("resize", "one", &PatchParams::default(), &resize(requests)).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(sentence), "{message}");
    }
    let elsewhere = pods.patch("one", &PatchParams::default(), &more).await;
    assert!(elsewhere.is_ok(), "what is there already is no change");
    cluster.stop().await;
}

/// Runs kubectl and answers what it prints.
async fn kubectl(cluster: &TestCluster, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(tool("kubectl")?);
    command.args(arguments).env("KUBECONFIG", cluster.cluster().kubeconfig().unwrap()).stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}\n{}", text(&output.stderr));
    Some(text(&output.stdout))
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_each_kind_as_it_prints_kubernetes() {
    let cluster = api().await;
    let client = cluster.client();
    for (api_version, kind, body) in objects().into_iter().filter(|(version, _, _)| *version != "autoscaling/v1") {
        let resource = resource(&client, api_version, kind).await;
        resource.create(&PostParams::default(), &object(api_version, kind, "one", &body)).await.unwrap();
    }
    let rows: &[(&str, &str, &str)] = &[
        ("rc", "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR", "one 1 0 0"),
        (
            "pv",
            "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE VOLUMEMODE",
            "one 1Gi RWO Retain",
        ),
        (
            "pvc",
            "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE VOLUMEMODE",
            "one Pending",
        ),
        ("quota", "NAME REQUEST LIMIT AGE", "one"),
        ("limits", "NAME CREATED AT", "one"),
        ("podtemplates", "NAME CONTAINERS IMAGES POD LABELS", "one main hello:1 app=one"),
        ("controllerrevisions", "NAME CONTROLLER REVISION AGE", "one <none> 1"),
        (
            "ds",
            "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE CONTAINERS IMAGES SELECTOR",
            "one 0 0 0 0 0 <none>",
        ),
        ("sts", "NAME READY AGE CONTAINERS IMAGES", "one 0/1"),
        (
            "cj",
            "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE CONTAINERS IMAGES SELECTOR",
            "one @daily <none> True 0 <none>",
        ),
        ("jobs", "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR", "one Running 0/1"),
        ("hpa", "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE", "one Deployment/web cpu: <unknown>/80% 1 3 0"),
        ("pdb", "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE", "one 1 N/A 0"),
    ];
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, headings, row) in rows {
        let Some(table) = kubectl(&cluster, &["get", name, "-o", "wide"]).await else { return };
        let lines: Vec<String> = table.lines().map(words).collect();
        assert_eq!(lines[0], *headings, "{name}");
        assert!(lines[1].starts_with(row), "{name}: {}", lines[1]);
    }
    let Some(all) = kubectl(&cluster, &["get", "all", "-o", "name"]).await else { return };
    for name in [
        "replicationcontroller",
        "daemonset.apps",
        "statefulset.apps",
        "horizontalpodautoscaler.autoscaling",
        "cronjob.batch",
        "job.batch",
    ] {
        assert!(all.contains(&format!("{name}/one\n")), "{name} in {all}");
    }
    let Some(scaled) = kubectl(&cluster, &["scale", "rc/one", "sts/one", "--replicas=2"]).await else { return };
    assert_eq!(scaled, "replicationcontroller/one scaled\nstatefulset.apps/one scaled\n");
    let Some(deleted) = kubectl(&cluster, &["delete", "job", "one"]).await else { return };
    assert_eq!(deleted, "job.batch \"one\" deleted from default namespace\n");
    cluster.stop().await;
}
