//! What several tests need: samples in a cluster, manifests, the tools that are not cargo's.

use std::path::{Path, PathBuf};

use cli::{Connection, apply};
use cluster::Config;
use http::{Method, StatusCode};
use kube::client::Body;
use serde_json::Value;
use testkit::{TestCluster, eventually};

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A sample's prebuilt component.
pub fn sample(name: &str) -> PathBuf {
    root().join("workloads/prebuilt").join(format!("{name}.wasm"))
}

/// A connection with the administrator's rights.
pub fn connection(cluster: &TestCluster) -> Connection {
    Connection::over(cluster.client(), cluster.cluster().server_url())
}

/// A cluster that has the samples in its image store.
pub async fn with_samples(names: &[&str]) -> TestCluster {
    with_samples_and(names, Config::default()).await
}

/// The same, told otherwise.
pub async fn with_samples_and(names: &[&str], config: Config) -> TestCluster {
    let cluster = TestCluster::with(config).await;
    for name in names {
        cli::push_file(&connection(&cluster), &sample(name), name).await.unwrap();
    }
    cluster
}

/// Applies files as `coracle apply` does and answers what became of each object.
pub async fn apply_files(cluster: &TestCluster, paths: &[&Path]) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    let files = apply::as_arguments(paths);
    cli::apply_files(&connection(cluster), &files, apply::Again::Restore, |applied| {
        told.push(format!("{} {}", applied.name, applied.outcome.word()));
    })
    .await?;
    Ok(told)
}

/// Applies manifests that are text.
pub async fn apply_text(cluster: &TestCluster, text: &str) -> anyhow::Result<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.yaml");
    std::fs::write(&path, text).unwrap();
    apply_files(cluster, &[&path]).await
}

/// Reads one object, or nothing when it is not there.
pub async fn read(cluster: &TestCluster, path: &str) -> Option<Value> {
    connection(cluster).json(cli::connection::Call::get(path)).await.ok()
}

/// Waits until a pod of the default namespace has what `found` looks for.
pub async fn pod_until<T>(cluster: &TestCluster, name: &str, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    eventually(&format!("pod {name}: {what}"), async || found(&read(cluster, &path).await?)).await
}

/// The events about an object of the default namespace.
pub async fn events_of(cluster: &TestCluster, name: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}");
    let list = read(cluster, &path).await.unwrap_or_default();
    list.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Waits until an event about an object of the default namespace has this reason and says these words.
pub async fn told(cluster: &TestCluster, name: &str, reason: &str, words: &str) -> Value {
    eventually(&format!("{name} has an event {reason} that says {words:?}"), async || {
        let says = |event: &Value| event["message"].as_str().is_some_and(|message| message.contains(words));
        events_of(cluster, name).await.into_iter().find(|event| event["reason"] == reason && says(event))
    })
    .await
}

/// A request with nothing made easy: its status, and its answer as JSON (or as text, when it is none).
pub async fn raw(
    cluster: &TestCluster,
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<Vec<u8>>,
) -> (StatusCode, Value) {
    let request = http::Request::builder().method(method).uri(path).header("accept", "application/json");
    let request = request.header("content-type", content_type).body(Body::from(body.into())).unwrap();
    let (head, body) = cluster.client().send(request).await.unwrap().into_parts();
    let bytes = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    (head.status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
}

/// Waits until `GET http://HOST/PATH` answers 200, and answers the body.
pub async fn serves(cluster: &TestCluster, host: &str, path: &str) -> String {
    eventually(&format!("http://{host}{path} answers 200"), async || {
        let answer = cluster.get(host, path).await;
        answer.status.is_success().then_some(answer.text)
    })
    .await
}

/// A Deployment of one sample with a Service and an Ingress at NAME.localhost. `extra` is added to the container, with
/// the indentation of its fields.
pub fn service_of(name: &str, image: &str, extra: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name} }}
spec:
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      containers:
        - name: {name}
          image: coracle.local/{image}
          imagePullPolicy: IfNotPresent
          ports: [{{ name: http, containerPort: 80 }}]
{extra}
---
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec:
  selector: {{ app: {name} }}
  ports: [{{ port: 80, targetPort: http }}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name} }}
spec:
  rules:
    - host: {name}.localhost
      http:
        paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: {name}, port: {{ number: 80 }} }} }} }}]
"#
    )
}

/// A program in `target/tools`, or nothing, said loudly. Fails when tools are required, as in CI.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = root().join("target/tools").join(name);
    if path.is_file() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CORACLE_TOOLS_REQUIRED").is_none(),
        "{} is missing; .ci/tools puts it there",
        path.display()
    );
    eprintln!("NOT TESTED: {name} is not in target/tools; bash .ci/tools puts it there");
    None
}
