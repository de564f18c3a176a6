//! What the workload controllers do with real pods.

use serde_json::Value;
use testkit::{TestCluster, eventually};

use crate::kubectl::Kubectl;
use crate::support::{apply_text, read, with_samples};

async fn until(cluster: &TestCluster, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || read(cluster, path).await.filter(|object| holds(object))).await
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

async fn pods(cluster: &TestCluster, selector: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/default/pods?labelSelector={selector}");
    read(cluster, &path).await.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
}

const SUM: &str = "/apis/batch/v1/namespaces/default/jobs/sum";
const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 5
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: coracle.local/batch}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_completes_every_index_once_and_its_pods_go_with_it() {
    let cluster = with_samples(&["batch"]).await;
    apply_text(&cluster, JOB).await.unwrap();
    let done = |job: &Value| {
        let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Complete" && one["status"] == "True"))
    };
    let job = until(&cluster, "the job completes", SUM, done).await;
    assert_eq!((number(&job, "/status/succeeded"), &job["status"]["completedIndexes"]), (5, &"0-4".into()));
    let made = pods(&cluster, "job-name%3Dsum").await;
    let mut indexes: Vec<_> = made
        .iter()
        .filter_map(|pod| pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str())
        .collect();
    indexes.sort_unstable();
    assert_eq!(indexes, ["0", "1", "2", "3", "4"]);
    assert!(
        made.iter().all(|pod| pod.pointer("/metadata/finalizers").is_none()),
        "nothing holds a pod that is counted"
    );
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("delete job sum").await;
    eventually("the pods are gone", async || pods(&cluster, "job-name%3Dsum").await.is_empty().then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_work_fails_at_its_limit() {
    let cluster = with_samples(&["hello"]).await;
    let job = JOB.replace("completions: 5", "backoffLimit: 0").replace("completionMode: Indexed", "suspend: false");
    // A component that answers requests never comes to its end; the deadline does. It counts from the second in which the Job
    // began, and must not be over before there is a pod, however busy the machine.
    let job =
        job.replace("coracle.local/batch", "coracle.local/hello").replace("parallelism: 2", "activeDeadlineSeconds: 5");
    apply_text(&cluster, &job).await.unwrap();
    let failed = |job: &Value| {
        let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
        conditions
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Failed" && one["reason"] == "DeadlineExceeded"))
    };
    let job = until(&cluster, "the job fails", SUM, failed).await;
    assert_eq!((number(&job, "/status/active"), number(&job, "/status/failed")), (0, 1));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_makes_its_job_and_one_more_by_hand() {
    let cluster = with_samples(&["batch"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("create cronjob tick --image=coracle.local/batch --schedule='@every 1s'").await;
    let path = "/apis/batch/v1/namespaces/default/cronjobs/tick";
    until(&cluster, "a job ran", path, |cron| cron.pointer("/status/lastSuccessfulTime").is_some()).await;
    kubectl.told("patch cronjob tick -p '{\"spec\":{\"suspend\":true}}'").await;
    kubectl.told("create job by-hand --from=cronjob/tick").await;
    kubectl.told("wait --for=condition=complete job/by-hand --timeout=30s").await;
    // Three successful ones are kept, whoever made them.
    eventually("old jobs are gone", async || {
        let jobs = read(&cluster, "/apis/batch/v1/namespaces/default/jobs").await?;
        (jobs["items"].as_array()?.len() <= 4).then_some(())
    })
    .await;
    cluster.stop().await;
}

const SETS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: coracle.local/hello, ports: [{containerPort: 80}]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec:
      containers: [{name: main, image: coracle.local/hello, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  selector: {app: old}
  template:
    metadata: {labels: {app: old}}
    spec:
      containers: [{name: main, image: coracle.local/hello, ports: [{containerPort: 80}]}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn sets_roll_out_roll_back_and_scale() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    apply_text(&cluster, SETS).await.unwrap();
    kubectl.told("rollout status statefulset/web --timeout=60s").await;
    kubectl.told("rollout status daemonset/each --timeout=60s").await;
    let old = "/api/v1/namespaces/default/replicationcontrollers/old";
    until(&cluster, "the controller's pods are ready", old, |object| number(object, "/status/readyReplicas") == 2)
        .await;
    let names = kubectl.told("get pods -l app=web -o name").await;
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), ["pod/web-0", "pod/web-1", "pod/web-2"]);

    for set in ["statefulset/web", "daemonset/each"] {
        kubectl.told(&format!("set env {set} STEP=2")).await;
        kubectl.told(&format!("rollout status {set} --timeout=60s")).await;
        let history = kubectl.told(&format!("rollout history {set}")).await;
        assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
        assert!(kubectl.told(&format!("get {set} -o yaml")).await.contains("STEP"));
        kubectl.told(&format!("rollout undo {set} --to-revision=1")).await;
        kubectl.told(&format!("rollout status {set} --timeout=60s")).await;
        assert!(!kubectl.told(&format!("get {set} -o jsonpath={{.spec}}")).await.contains("STEP"), "{set}");
    }
    kubectl.told("scale statefulset/web --replicas=1").await;
    eventually("the first one is left", async || {
        let left = pods(&cluster, "app%3Dweb").await;
        (left.len() == 1 && left[0]["metadata"]["name"] == "web-0").then_some(())
    })
    .await;
    kubectl.told("scale rc/old --replicas=0").await;
    eventually("none is left", async || pods(&cluster, "app%3Dold").await.is_empty().then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_brings_its_target_within_bounds() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("create deployment web --image=coracle.local/hello --replicas=1").await;
    kubectl.told("set resources deployment/web --requests=cpu=10m").await;
    kubectl.told("rollout status deployment/web --timeout=60s").await;
    kubectl.told("autoscale deployment web --min=3 --max=5 --cpu=80%").await;
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    until(&cluster, "there are as many as the least", path, |object| number(object, "/status/readyReplicas") == 3)
        .await;
    let scaler = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web";
    until(&cluster, "it says so", scaler, |object| number(object, "/status/desiredReplicas") == 3).await;
    kubectl.until("describe hpa web", "SuccessfulRescale").await;
    cluster.stop().await;
}
