//! Wishes that cannot be met: each ends as Kubernetes documents it, and nobody runs in circles over it.

use std::time::Duration;

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, read, told, with_samples};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// How often controllers have run, all together.
async fn runs(cluster: &TestCluster) -> f64 {
    let text = String::from_utf8(connection(cluster).send(Call::get("/metrics")).await.unwrap().body.to_vec()).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("coracle_controller_runs_total{"));
    rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until controllers have next to nothing to do: a few runs in half a second are their own clocks.
async fn rests(cluster: &TestCluster, what: &str) {
    eventually(what, async || {
        let before = runs(cluster).await;
        assert!(before > 0.0, "controllers count their runs");
        tokio::time::sleep(Duration::from_millis(500)).await;
        (runs(cluster).await - before <= 10.0).then_some(())
    })
    .await;
}

fn deployment(name: &str, app: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": app } }, "template": {
            "metadata": { "labels": { "app": app } },
            "spec": { "schedulerName": "nobody", "containers": [{ "name": "main", "image": "coracle.local/hello" }] },
        } },
    })
}

async fn count(cluster: &TestCluster, path: &str) -> usize {
    let list = read(cluster, path).await.unwrap_or_default();
    list["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_cannot_be_met_rest() {
    let cluster = with_samples(&["hello"]).await;
    let make = async |path: &str, object: &Value| {
        connection(&cluster).send(Call::new(Method::POST, path).json(object)).await.unwrap();
    };
    // Two that select the same pods: each keeps to its own.
    make(DEPLOYMENTS, &deployment("one", "same", 2)).await;
    make(DEPLOYMENTS, &deployment("other", "same", 3)).await;
    let story = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: bound }
spec:
  serviceName: bound
  selector: { matchLabels: { app: bound } }
  template:
    metadata: { labels: { app: bound } }
    spec: { containers: [{ name: main, image: coracle.local/hello, volumeMounts: [{ name: data, mountPath: /data }] }] }
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], storageClassName: none-such, resources: { requests: { storage: 1Gi } } }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: never }
spec:
  schedule: "0 0 31 2 *"
  jobTemplate: { spec: { template: { spec: { restartPolicy: Never, containers: [{ name: main, image: coracle.local/hello }] } } } }
---
apiVersion: v1
kind: Pod
metadata:
  name: orphan
  ownerReferences: [{ apiVersion: apps/v1, kind: ReplicaSet, name: vanished, uid: 00000000-0000-0000-0000-000000000000 }]
spec: { schedulerName: nobody, containers: [{ name: main, image: coracle.local/hello }] }
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: { name: refused }
spec:
  replicas: 2
  selector: { matchLabels: { app: refused } }
  template:
    metadata: { labels: { app: refused } }
    spec:
      nodeName: NODE
      containers: [{ name: main, image: coracle.local/hello, resources: { requests: { cpu: "100000" } } }]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: crowded }
spec:
  serviceName: crowded
  replicas: 2
  podManagementPolicy: Parallel
  selector: { matchLabels: { app: crowded } }
  template:
    metadata: { labels: { app: crowded } }
    spec:
      nodeName: NODE
      containers: [{ name: main, image: coracle.local/hello, ports: [{ containerPort: 80, hostPort: 21017 }] }]
"#;
    let nodes = read(&cluster, "/api/v1/nodes").await.unwrap();
    let node = nodes.pointer("/items/0/metadata/name").and_then(Value::as_str).unwrap();
    apply_text(&cluster, &story.replace("NODE", node)).await.unwrap();
    eventually("each Deployment has its own pods", async || {
        (count(&cluster, &format!("{PODS}?labelSelector=app%3Dsame")).await == 5).then_some(())
    })
    .await;
    eventually("the first pod of the StatefulSet waits for its volume", async || {
        let pod = read(&cluster, &format!("{PODS}/bound-0")).await?;
        let rows = pod["status"]["conditions"].as_array()?.clone();
        rows.iter().any(|row| row["type"] == "PodScheduled" && row["reason"] == "Unschedulable").then_some(())
    })
    .await;
    assert_eq!(count(&cluster, &format!("{PODS}?labelSelector=app%3Dbound")).await, 1, "the next waits for the first");
    told(&cluster, "bound", "SuccessfulCreate", "create Pod bound-0 in StatefulSet bound successful").await;
    assert_eq!(told(&cluster, "never", "InvalidSchedule", "").await["type"], "Warning");
    eventually("whose owner is no more goes too", async || {
        read(&cluster, &format!("{PODS}/orphan")).await.is_none().then_some(())
    })
    .await;
    // A node that has not what was believed of it refuses pods: they come later and later.
    let refused = format!("{PODS}?labelSelector=app%3Drefused");
    eventually("pods are refused", async || (count(&cluster, &refused).await > 2).then_some(())).await;
    let all = read(&cluster, &refused).await.unwrap();
    let reasons = all["items"].as_array().into_iter().flatten().filter_map(|pod| pod["status"]["reason"].as_str());
    assert!(reasons.into_iter().all(|reason| reason == "OutOfcpu"), "{all}");
    let again = told(&cluster, "crowded", "RecreatingFailedPod", "").await;
    let message = again["message"].as_str().unwrap();
    assert!(message.starts_with("StatefulSet default/crowded is recreating failed Pod crowded-"), "{message}");
    rests(&cluster, "nobody runs in circles").await;
    assert!(count(&cluster, &refused).await < 30, "pods are not made as fast as they are refused");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deployments_go_at_once() {
    const MANY: usize = 1000;
    let cluster = with_samples(&["hello"]).await;
    let connection = connection(&cluster);
    let each = (0..MANY).map(|number| {
        let object = deployment(&format!("many-{number}"), &format!("many-{number}"), 1);
        let connection = &connection;
        async move { connection.send(Call::new(Method::POST, DEPLOYMENTS).json(&object)).await.unwrap() }
    });
    futures::future::join_all(each).await;
    eventually("all have a pod", async || (count(&cluster, PODS).await == MANY).then_some(())).await;
    let before = runs(&cluster).await;
    connection.send(Call::new(Method::DELETE, DEPLOYMENTS)).await.unwrap();
    eventually("nothing is left", async || {
        let sets = count(&cluster, "/apis/apps/v1/namespaces/default/replicasets").await;
        (sets == 0 && count(&cluster, PODS).await == 0).then_some(())
    })
    .await;
    rests(&cluster, "and nobody looks any more").await;
    let each = (runs(&cluster).await - before) / MANY as f64;
    assert!(each < 60.0, "{each} runs for each Deployment");
    eprintln!("{each} runs for each Deployment that goes");
    cluster.stop().await;
}
