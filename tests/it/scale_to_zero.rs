//! Autoscalers that go by requests, to nothing and back.

use std::time::{Duration, Instant};

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, read, serves, service_of, told, with_samples};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const SCALER: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web";

async fn replicas(cluster: &TestCluster) -> Option<i64> {
    read(cluster, DEPLOYMENT).await?["spec"]["replicas"].as_i64()
}

async fn asleep(cluster: &TestCluster) {
    eventually("nothing runs any more", async || {
        let pods = read(cluster, "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb").await?;
        let gone = pods["items"].as_array()?.is_empty();
        (gone && replicas(cluster).await? == 0).then_some(())
    })
    .await;
}

async fn patch(cluster: &TestCluster, path: &str, change: Value) {
    let call = Call::new(Method::PATCH, path).body("application/merge-patch+json", change.to_string().into_bytes());
    connection(cluster).json(call).await.unwrap();
}

const AUTOSCALER: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web, annotations: { coracle.dev/idle-after: "500ms" } }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  minReplicas: 0
  maxReplicas: 4
  metrics:
    - type: Pods
      pods: { metric: { name: http_requests_per_second }, target: { type: AverageValue, averageValue: "1000" } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_nobody_calls_sleeps_and_a_request_wakes_it() {
    let cluster = with_samples(&["hello", "gateway"]).await;
    let upstream = "          env: [{ name: UPSTREAMS, value: \"http://web/\" }]";
    let both = service_of("web", "hello", "") + "\n---" + &service_of("front", "gateway", upstream);
    apply_text(&cluster, &both).await.unwrap();
    serves(&cluster, "front.localhost", "/").await;
    serves(&cluster, "web.localhost", "/").await;
    // What is served is measured.
    let figures = |metric: &str| format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/{metric}");
    let list = read(&cluster, &figures("pods/*/http_requests_total?labelSelector=app%3Dweb")).await.unwrap();
    assert_ne!(list["items"][0]["value"], "0", "{list}");
    for object in ["services/web", "deployments.apps/web", "ingresses.networking.k8s.io/web"] {
        let list = read(&cluster, &figures(&format!("{object}/http_requests_total"))).await.unwrap();
        assert_ne!(list["items"][0]["value"], "0", "{list}");
    }

    apply_text(&cluster, AUTOSCALER).await.unwrap();
    asleep(&cluster).await;
    told(&cluster, "web", "SuccessfulRescale", "New size: 0; reason: All metrics below target").await;

    // Whoever asks waits for the answer and gets it, each time.
    let mut waited = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let answer = cluster.get("web.localhost", "/").await;
        waited.push(began.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.text);
        asleep(&cluster).await;
    }
    eprintln!("from asleep to answered: {waited:?}");
    assert!(waited.iter().all(|waited| *waited < Duration::from_secs(5)), "{waited:?}");
    told(&cluster, "web", "Activated", "").await;

    // So does a pod that calls another one by the name of its Service.
    let page = cluster.get("front.localhost", "/").await.text;
    assert!(page.starts_with("== http://web/\nHello from WebAssembly!"), "{page}");
    asleep(&cluster).await;

    // Many that ask at once wake it once.
    let answers = futures::future::join_all((0..50).map(|_| cluster.get("web.localhost", "/"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    // While somebody asks it stays.
    assert_eq!(replicas(&cluster).await, Some(1));
    asleep(&cluster).await;

    // Without the autoscaler, nothing means nothing.
    connection(&cluster).send(Call::new(Method::DELETE, SCALER)).await.unwrap();
    eventually("nobody is waited for", async || {
        let answer = cluster.get("web.localhost", "/").await;
        (answer.status == 503 && answer.text.contains("has no ready endpoints")).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_decide_how_many_there_are() {
    let cluster = with_samples(&["hello"]).await;
    apply_text(&cluster, &service_of("web", "hello", "")).await.unwrap();
    serves(&cluster, "web.localhost", "/").await;
    for _ in 0..40 {
        cluster.get("web.localhost", "/").await;
    }
    apply_text(&cluster, &AUTOSCALER.replace("minReplicas: 0", "minReplicas: 1").replace("\"1000\"", "\"1\""))
        .await
        .unwrap();
    eventually("more pods answer more requests", async || {
        let answers = futures::future::join_all((0..8).map(|_| cluster.get("web.localhost", "/"))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        (replicas(&cluster).await? > 1).then_some(())
    })
    .await;
    let scaler = read(&cluster, SCALER).await.unwrap();
    let condition = |kind: &str| {
        let rows = scaler["status"]["conditions"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["type"] == kind).unwrap_or_default()
    };
    assert_eq!(condition("ScalingActive")["reason"], "ValidMetricFound", "{scaler}");
    assert_eq!(
        condition("ScalingActive")["message"],
        "the HPA was able to successfully calculate a replica count from pods metric http_requests_per_second"
    );

    // What cannot be read is told as Kubernetes tells it, and changes nothing.
    let external = json!({ "type": "External", "external": { "metric": { "name": "queue", "selector": { "matchLabels": { "of": "mail" } } },
        "target": { "type": "Value", "value": "5" } } });
    patch(&cluster, SCALER, json!({ "spec": { "metrics": [external] } })).await;
    let message = eventually("the failure is told", async || {
        let scaler = read(&cluster, SCALER).await?;
        let rows = scaler["status"]["conditions"].as_array()?.clone();
        let row = rows.into_iter().find(|row| row["reason"] == "FailedGetExternalMetric")?;
        row["message"].as_str().map(str::to_owned)
    })
    .await;
    let start = "the HPA was unable to compute the replica count: unable to get external metric default/queue/\
        &LabelSelector{MatchLabels:map[string]string{of: mail,},MatchExpressions:[]LabelSelectorRequirement{},}: \
        unable to fetch metrics from external metrics API: the server could not find the requested resource";
    assert!(message.starts_with(start), "{message}");
    // Two autoscalers of one workload know that neither may go on.
    apply_text(&cluster, &AUTOSCALER.replace("metadata: { name: web,", "metadata: { name: other,")).await.unwrap();
    eventually("both say that they are two", async || {
        let other = read(&cluster, &SCALER.replace("/web", "/other")).await?;
        let rows = other["status"]["conditions"].as_array()?.clone();
        rows.iter().any(|row| row["reason"] == "AmbiguousSelector").then_some(())
    })
    .await;
    cluster.stop().await;
}
