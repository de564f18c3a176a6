//! The samples answer over HTTP, as the README says.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use testkit::{eventually, exchange};

use crate::support::{apply_files, apply_text, connection, pod_until, read, root, serves, service_of, with_samples};

fn manifest(path: &str) -> std::path::PathBuf {
    root().join(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_is_served_scaled_and_deleted() {
    let cluster = with_samples(&["hello"]).await;
    let file = manifest("manifests/hello.yaml");
    let told = apply_files(&cluster, &[&file]).await.unwrap();
    assert_eq!(
        told,
        ["deployment.apps/hello created", "service/hello created", "ingress.networking.k8s.io/hello created"]
    );
    let text = serves(&cluster, "hello.localhost", "/").await;
    assert!(text.starts_with("Hello from WebAssembly!\npod: hello-"), "{text}");
    assert!(text.contains("requests in this instance: 1"), "{text}");

    let again = apply_files(&cluster, &[&file]).await.unwrap();
    assert!(again.iter().all(|line| line.ends_with(" unchanged")), "{again:?}");

    let patch = json!({ "spec": { "replicas": 5 } }).to_string().into_bytes();
    let call = cli::connection::Call::new(Method::PATCH, "/apis/apps/v1/namespaces/default/deployments/hello/scale")
        .body("application/merge-patch+json", patch);
    connection(&cluster).json(call).await.unwrap();
    eventually("five pods are available", async || {
        let found = read(&cluster, "/apis/apps/v1/namespaces/default/deployments/hello").await?;
        (found.pointer("/status/availableReplicas")?.as_i64()? == 5).then_some(())
    })
    .await;

    let call = cli::connection::Call::new(Method::DELETE, "/apis/apps/v1/namespaces/default/deployments/hello");
    connection(&cluster).send(call).await.unwrap();
    eventually("its pods are gone", async || {
        let pods = read(&cluster, "/api/v1/namespaces/default/pods").await?;
        pods.pointer("/items")?.as_array()?.is_empty().then_some(())
    })
    .await;
    let answer = cluster.get("hello.localhost", "/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text.contains("hello"), "{}", answer.text);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_of_three_services_joins_their_answers() {
    let cluster = with_samples(&["hello", "echo", "gateway"]).await;
    apply_files(&cluster, &[&manifest("manifests/shop.yaml")]).await.unwrap();
    let page = eventually("both answers are in the page", async || {
        let answer = cluster.get("shop.localhost", "/").await;
        (answer.text.contains("Three coracles") && answer.text.contains("GET ")).then_some(answer.text)
    })
    .await;
    assert!(page.contains("== http://catalog/\n"), "{page}");
    assert!(page.contains("== http://cart.default.svc.cluster.local/items\n"), "{page}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_runs_to_its_end_and_leaves_its_log() {
    let cluster = with_samples(&["batch"]).await;
    apply_files(&cluster, &[&manifest("manifests/batch.yaml")]).await.unwrap();
    let state = pod_until(&cluster, "batch", "it has succeeded", |pod| {
        (pod.pointer("/status/phase")? == "Succeeded").then(|| pod["status"]["containerStatuses"][0].clone())
    })
    .await;
    assert_eq!(state["state"]["terminated"]["exitCode"], 0);
    assert_eq!(state["state"]["terminated"]["reason"], "Completed");
    let call = cli::connection::Call::get("/api/v1/namespaces/default/pods/batch/log").accept("*/*");
    let log = connection(&cluster).send(call).await.unwrap();
    assert_eq!(&log.body[..], b"78498 primes below 1000000\n");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_through_the_ingress() {
    let cluster = with_samples(&["echo"]).await;
    apply_text(&cluster, &service_of("echo", "echo", "")).await.unwrap();
    serves(&cluster, "echo.localhost", "/").await;
    let body: Bytes = vec![b'x'; 4 << 20].into();
    let request = Request::post("/").header("host", "echo.localhost").body(Full::new(body.clone())).unwrap();
    let answer = exchange(cluster.ingress(), request).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.text.len(), body.len());
    let seen = cluster.get("echo.localhost", "/path?query").await.text;
    assert!(seen.contains("GET ") && seen.contains("/path?query"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http"), "{seen}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_is_granted_by_an_annotation() {
    let cluster = with_samples(&["hello"]).await;
    let manifest = service_of("hello", "hello", "").replace(
        "labels: { app: hello } }\n    spec",
        "labels: { app: hello }, annotations: { coracle.dev/reuse: \"true\" } }\n    spec",
    );
    assert!(manifest.contains("coracle.dev/reuse"));
    apply_text(&cluster, &manifest).await.unwrap();
    serves(&cluster, "hello.localhost", "/").await;
    eventually("an instance answers a second request", async || {
        let text = cluster.get("hello.localhost", "/").await.text;
        (!text.contains("instance: 1\n")).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_told_so() {
    let cluster = with_samples(&[]).await;
    let answer = cluster.get("nobody.localhost", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("nobody.localhost"), "{}", answer.text);
    cluster.stop().await;
}
