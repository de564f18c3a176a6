//! Where pods go, who gives way, and who has to leave, with the real kubectl and the words that Kubernetes has for it.

use cluster::Config;
use serde_json::Value;
use testkit::{TestCluster, eventually};

use crate::kubectl::Kubectl;
use crate::support::{apply_text, events_of, pod_until, read, with_samples_and};

/// A cluster of one small node.
async fn small() -> TestCluster {
    let node_capacity = ["cpu=2", "memory=4Gi", "pods=20"].map(str::to_owned).to_vec();
    with_samples_and(&["hello"], Config { node_capacity, node_name: Some("here".to_owned()), ..Config::default() })
        .await
}

/// A pod of hello that asks for cpu; `spec` is more of its spec.
fn pod(name: &str, cpu: &str, spec: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, labels: {{ app: {name} }} }}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{ name: main, image: coracle.local/hello, resources: {{ requests: {{ cpu: "{cpu}" }} }} }}]
  {spec}
---"#
    )
}

/// Waits until a pod is told that it fits nowhere, in these words: its condition, and an event.
async fn told(cluster: &TestCluster, name: &str, words: &str) {
    pod_until(cluster, name, words, |pod| {
        let conditions = pod["status"]["conditions"].as_array()?;
        let told = conditions.iter().find(|one| one["type"] == "PodScheduled")?;
        let as_told = told["status"] == "False" && told["reason"] == "Unschedulable" && told["message"] == words;
        as_told.then_some(())
    })
    .await;
    event(cluster, name, "FailedScheduling", words).await;
}

async fn event(cluster: &TestCluster, name: &str, reason: &str, message: &str) {
    eventually(&format!("{reason}: {message}"), async || {
        let events = events_of(cluster, name).await;
        events.iter().any(|event| event["reason"] == reason && event["message"] == message).then_some(())
    })
    .await;
}

async fn runs(cluster: &TestCluster, name: &str) -> Value {
    let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    pod_until(cluster, name, "runs", |pod| ready(pod).then(|| pod.clone())).await
}

const CLASSES: &str = r"
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: { name: high }
value: 1000
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: { name: polite }
value: 2000
preemptionPolicy: Never
---";

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_told_why_they_wait_and_the_lesser_gives_way() {
    let cluster = small().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let near = "affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: \
                [{ topologyKey: kubernetes.io/hostname, labelSelector: { matchLabels: { app: low } } }] } }";
    let low = pod("low", "1500m", "");
    apply_text(&cluster, &format!("{CLASSES}{low}")).await.unwrap();
    runs(&cluster, "low").await;
    let waiting = [
        pod("second", "1", ""),
        pod("polite", "1", "priorityClassName: polite"),
        pod("giant", "64", "priorityClassName: high"),
        pod("choosy", "1m", "nodeSelector: { disk: ssd }"),
        pod("shy", "1m", near),
        pod("gated", "1m", "schedulingGates: [{ name: example.com/wait }]"),
    ];
    apply_text(&cluster, &waiting.concat()).await.unwrap();
    let preemption = |words: &str| format!("preemption: 0/1 nodes are available: 1 {words}.");
    let (no_victims, no_help) = (
        preemption("No preemption victims found for incoming pod"),
        preemption("Preemption is not helpful for scheduling"),
    );
    for (name, words) in [
        ("second", format!("1 Insufficient cpu. {no_victims}")),
        ("polite", "1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.".to_owned()),
        ("giant", format!("1 Insufficient cpu. {no_help}")),
        ("choosy", format!("1 node(s) didn't match Pod's node affinity/selector. {no_help}")),
        ("shy", format!("1 node(s) didn't match pod anti-affinity rules. {no_victims}")),
    ] {
        told(&cluster, name, &format!("0/1 nodes are available: {words}")).await;
    }
    kubectl.until("get pod gated", "SchedulingGated").await;
    // What made it fit wakes each of them.
    kubectl.told("label node here disk=ssd").await;
    runs(&cluster, "choosy").await;
    kubectl.told("patch pod gated --type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/schedulingGates\"}]'").await;
    runs(&cluster, "gated").await;

    kubectl.told("delete pod second polite giant").await;
    apply_text(&cluster, &pod("vip", "1", "priorityClassName: high")).await.unwrap();
    let vip = runs(&cluster, "vip").await;
    // Room is kept for it no longer than until it has it.
    assert!(vip["status"].get("nominatedNodeName").is_none(), "{vip}");
    let uid = vip["metadata"]["uid"].as_str().unwrap();
    event(&cluster, "low", "Preempted", &format!("Preempted by pod {uid} on node here")).await;
    event(&cluster, "vip", "Scheduled", "Successfully assigned default/vip to here").await;
    runs(&cluster, "shy").await;

    kubectl.told("cordon here").await;
    apply_text(&cluster, &pod("late", "1m", "")).await.unwrap();
    told(&cluster, "late", &format!("0/1 nodes are available: 1 node(s) were unschedulable. {no_help}")).await;
    kubectl.told("uncordon here").await;
    runs(&cluster, "late").await;

    // Somebody says that the node has more than it has. It knows better.
    let lie = r#"patch node here --subresource=status -p '{"status":{"allocatable":{"cpu":"64"}}}'"#;
    kubectl.told(lie).await;
    apply_text(&cluster, &pod("huge", "8", "")).await.unwrap();
    let failed = pod_until(&cluster, "huge", "is refused", |pod| {
        (pod["status"]["phase"] == "Failed").then(|| pod["status"].clone())
    })
    .await;
    assert_eq!(failed["reason"], "OutOfcpu", "{failed}");
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.starts_with("Pod was rejected: Node didn't have enough resource: cpu, requested: 8000"),
        "{message}"
    );
    kubectl.until("get node here -o jsonpath={.status.allocatable.cpu}", "2").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_leave_a_tainted_node_when_they_tolerate_it_no_longer() {
    let cluster = small().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let tolerates = |more: &str| format!("tolerations: [{{ key: broken, operator: Exists, effect: NoExecute{more} }}]");
    let pods = [
        pod("fussy", "1m", ""),
        pod("patient", "1m", &tolerates(", tolerationSeconds: 3600")),
        pod("brief", "1m", &tolerates(", tolerationSeconds: 1")),
        pod("stoic", "1m", &tolerates("")),
    ];
    apply_text(&cluster, &pods.concat()).await.unwrap();
    for name in ["fussy", "patient", "brief", "stoic"] {
        runs(&cluster, name).await;
    }
    kubectl.told("taint node here broken=yes:NoExecute").await;
    for name in ["fussy", "brief"] {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        eventually(&format!("{name} is gone"), async || read(&cluster, &path).await.is_none().then_some(())).await;
    }
    for name in ["fussy", "brief"] {
        event(&cluster, name, "TaintManagerEviction", &format!("Marking for deletion Pod default/{name}")).await;
    }
    apply_text(&cluster, &pod("new", "1m", "")).await.unwrap();
    let no_help = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    told(&cluster, "new", &format!("0/1 nodes are available: 1 node(s) had untolerated taint(s). {no_help}")).await;
    kubectl.told("taint node here broken-").await;
    event(&cluster, "patient", "TaintManagerEviction", "Cancelling deletion of Pod default/patient").await;
    for name in ["patient", "stoic", "new"] {
        assert_eq!(runs(&cluster, name).await["status"]["containerStatuses"][0]["restartCount"], 0);
    }
    cluster.stop().await;
}
