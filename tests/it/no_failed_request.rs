//! The promise: no request fails, whatever makes pods go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, read, serves, service_of, with_samples};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// What became of the requests.
#[derive(Default)]
struct Log {
    failures: Mutex<Vec<String>>,
    waits: Mutex<Vec<Duration>>,
}

/// Asks at a fixed pace, however slow the answers are, until it is told to stop.
async fn ask(cluster: &TestCluster, apart: Duration, log: &Arc<Log>, stop: &AtomicBool) {
    let address = cluster.ingress();
    let mut ticks = tokio::time::interval(apart);
    let mut open = tokio::task::JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let log = Arc::clone(log);
        open.spawn(async move {
            let began = Instant::now();
            // Late is no failure: beside other tests, on few cores, a debug build may be slow to answer.
            let answer =
                tokio::time::timeout(Duration::from_secs(20), testkit::get(address, "web.localhost", "/")).await;
            log.waits.lock().unwrap().push(began.elapsed());
            match answer {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => log.failures.lock().unwrap().push(format!("{} {}", answer.status, answer.text)),
                Err(_) => log.failures.lock().unwrap().push("no answer in 20 s".to_owned()),
            }
        });
    }
    while open.join_next().await.is_some() {}
}

async fn change(cluster: &TestCluster, change: Value) {
    let call = Call::new(Method::PATCH, DEPLOYMENT)
        .body("application/strategic-merge-patch+json", change.to_string().into_bytes());
    connection(cluster).json(call).await.unwrap();
}

async fn settled(cluster: &TestCluster, what: &str) {
    eventually(what, async || {
        let object = read(cluster, DEPLOYMENT).await?;
        let (wanted, status) = (object["spec"]["replicas"].as_i64()?, &object["status"]);
        let seen = status["observedGeneration"] == object["metadata"]["generation"];
        let counts = ["replicas", "updatedReplicas", "availableReplicas"];
        (seen && counts.iter().all(|field| status[*field].as_i64().unwrap_or(0) == wanted)).then_some(())
    })
    .await;
}

fn greeting(text: &str) -> Value {
    let env = json!([{ "name": "GREETING", "value": text }]);
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": env }] } } } })
}

/// Evicts every pod that is there, one after the other, as a drain does.
async fn evict_all(cluster: &TestCluster) {
    let pods = read(cluster, &format!("{PODS}?labelSelector=app%3Dweb")).await.unwrap();
    for pod in pods["items"].as_array().unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        eventually("the budget lets it go", async || {
            let call = Call::new(Method::POST, format!("{PODS}/{name}/eviction")).json(&eviction);
            connection(cluster).send(call).await.ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_in_rollouts_scaling_and_drains() {
    let cluster = with_samples(&["hello", "echo"]).await;
    let budget = "\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: web }\nspec:\n  minAvailable: 50%\n  selector: { matchLabels: { app: web } }\n";
    apply_text(&cluster, &(service_of("web", "hello", "") + budget)).await.unwrap();
    change(&cluster, json!({ "spec": { "replicas": 20 } })).await;
    settled(&cluster, "twenty are there").await;
    serves(&cluster, "web.localhost", "/").await;
    let (log, stop) = (Arc::new(Log::default()), AtomicBool::new(false));
    let story = async {
        for (what, step) in [
            ("a rollout", greeting("one")),
            ("another", greeting("two")),
            ("one that lets many be unavailable", {
                let mut change = greeting("three");
                change["spec"]["strategy"] = json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "50%" } });
                change
            }),
            ("a rollback", greeting("one")),
            (
                "another image",
                json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "web", "image": "coracle.local/echo" },
            ] } } } }),
            ),
            (
                "a restart for another configuration",
                json!({ "spec": { "template": { "metadata": { "annotations": {
                "checksum/config": "2",
            } } } } }),
            ),
            ("fewer", json!({ "spec": { "replicas": 3 } })),
            ("as many as before", json!({ "spec": { "replicas": 20 } })),
        ] {
            change(&cluster, step).await;
            settled(&cluster, what).await;
            let failures = log.failures.lock().unwrap().clone();
            assert!(failures.is_empty(), "{what}: {failures:?}");
        }
        evict_all(&cluster).await;
        settled(&cluster, "a drain").await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(ask(&cluster, Duration::from_millis(8), &log, &stop), story);
    let failures = log.failures.lock().unwrap().clone();
    let mut waits = log.waits.lock().unwrap().clone();
    waits.sort_unstable();
    eprintln!("{} requests, p50 {:?}, p99 {:?}", waits.len(), waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    assert!(failures.is_empty(), "{failures:?}");
    cluster.stop().await;
}
