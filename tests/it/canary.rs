//! Canaries: a part of the requests, step by step, and back when they fail.

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, read, serves, service_of, told, with_samples};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

async fn change(cluster: &TestCluster, change: Value) {
    let call = Call::new(Method::PATCH, DEPLOYMENT)
        .body("application/strategic-merge-patch+json", change.to_string().into_bytes());
    connection(cluster).json(call).await.unwrap();
}

fn state(deployment: &Value) -> Value {
    let text = deployment["metadata"]["annotations"]["coracle.dev/canary-status"].as_str().unwrap_or("{}");
    serde_json::from_str(text).unwrap()
}

async fn reaches(cluster: &TestCluster, phase: &str, weight: u64) -> Value {
    eventually(&format!("the canary is {phase} at {weight}%"), async || {
        let deployment = read(cluster, DEPLOYMENT).await?;
        let state = state(&deployment);
        (state["phase"] == phase && state["weight"] == weight).then_some(deployment)
    })
    .await
}

fn greeting(text: &str) -> Value {
    let env = json!([{ "name": "GREETING", "value": text }]);
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": env }] } } } })
}

/// How many of so many requests the new template answers.
async fn answered(cluster: &TestCluster, count: usize, greeting: &str) -> usize {
    let mut found = 0;
    for _ in 0..count {
        let answer = cluster.get("web.localhost", "/").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        found += usize::from(answer.text.starts_with(greeting));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_part_and_goes_on_or_back() {
    let cluster = with_samples(&["hello", "chaos"]).await;
    apply_text(&cluster, &service_of("web", "hello", "")).await.unwrap();
    let steps = json!({ "coracle.dev/canary": "25%/manual, 50%/200ms", "coracle.dev/canary-max-error-rate": "10%" });
    change(&cluster, json!({ "metadata": { "annotations": steps }, "spec": { "replicas": 3 } })).await;
    serves(&cluster, "web.localhost", "/").await;
    eventually("three are there", async || {
        (read(&cluster, DEPLOYMENT).await?["status"]["availableReplicas"] == 3).then_some(())
    })
    .await;

    // A quarter of the requests, whatever the number of pods, while the stable ones are all there.
    change(&cluster, greeting("Second")).await;
    reaches(&cluster, "Waiting", 25).await;
    eventually("the canary has one pod beside all of the others", async || {
        let status = &read(&cluster, DEPLOYMENT).await?["status"];
        (status["replicas"] == 4 && status["updatedReplicas"] == 1).then_some(())
    })
    .await;
    eventually("a quarter is answered by the canary", async || {
        let share = answered(&cluster, 40, "Second").await;
        (8..=12).contains(&share).then_some(())
    })
    .await;
    // One word, and it goes all the way.
    change(&cluster, json!({ "metadata": { "annotations": { "coracle.dev/canary-promote": "next" } } })).await;
    let promoted = reaches(&cluster, "Promoted", 100).await;
    assert!(promoted["metadata"]["annotations"].get("coracle.dev/canary-promote").is_none());
    eventually("everybody is answered by the new template", async || {
        let deployment = read(&cluster, DEPLOYMENT).await?;
        let whole = deployment["status"]["updatedReplicas"] == 3 && deployment["status"]["replicas"] == 3;
        (whole && answered(&cluster, 10, "Second").await == 10).then_some(())
    })
    .await;

    // One that fails is taken back, and the template with it.
    let container = json!({ "name": "web", "image": "coracle.local/chaos" });
    change(&cluster, json!({ "spec": { "template": { "spec": { "containers": [container] } } } })).await;
    eventually("the bad template is gone", async || {
        cluster.get("web.localhost", "/trap").await;
        let deployment = read(&cluster, DEPLOYMENT).await?;
        (state(&deployment)["phase"] == "RolledBack").then_some(deployment)
    })
    .await;
    let deployment = eventually("all is as it was", async || {
        let deployment = read(&cluster, DEPLOYMENT).await?;
        let status = &deployment["status"];
        let whole = ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| status[*field] == 3);
        (whole && status["observedGeneration"] == deployment["metadata"]["generation"]).then_some(deployment)
    })
    .await;
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "coracle.local/hello");
    assert_eq!(answered(&cluster, 10, "Second").await, 10);
    told(&cluster, "web", "CanaryFailed", "requests failed").await;

    // Somebody takes the new template away himself: what was there all the time stays, and is no canary.
    change(&cluster, greeting("Third")).await;
    reaches(&cluster, "Waiting", 25).await;
    change(&cluster, greeting("Second")).await;
    reaches(&cluster, "RolledBack", 0).await;
    eventually("everybody is answered by the template of before", async || {
        let deployment = read(&cluster, DEPLOYMENT).await?;
        assert!(deployment["status"]["availableReplicas"].as_i64() >= Some(3), "{}", deployment["status"]);
        let whole = deployment["status"]["updatedReplicas"] == 3 && deployment["status"]["replicas"] == 3;
        (whole && answered(&cluster, 10, "Second").await == 10).then_some(())
    })
    .await;
    told(&cluster, "web", "CanaryFailed", "taken away").await;
    cluster.stop().await;
}
