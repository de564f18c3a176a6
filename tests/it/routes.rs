//! From outside to a pod: hosts, paths, backends, and both versions of HTTP.

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use testkit::{TestCluster, eventually, exchange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{apply_text, serves, with_samples};

/// A Deployment that says who it is, with a Service.
fn speaker(name: &str) -> String {
    let text =
        crate::support::service_of(name, "hello", &format!("          env: [{{ name: GREETING, value: {name} }}]"));
    text.split("---\napiVersion: networking").next().unwrap().to_owned()
}

fn path(path: &str, kind: &str, service: &str) -> serde_json::Value {
    json!({ "path": path, "pathType": kind, "backend": { "service": { "name": service, "port": { "number": 80 } } } })
}

async fn says(cluster: &TestCluster, host: &str, path: &str) -> String {
    let answer = cluster.get(host, path).await;
    if answer.status == StatusCode::OK {
        answer.text.lines().next().unwrap_or_default().to_owned()
    } else {
        answer.status.as_u16().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_paths_choose_the_backend() {
    let cluster = with_samples(&["hello"]).await;
    for name in ["exact", "prefix", "root", "wild", "rest"] {
        apply_text(&cluster, &speaker(name)).await.unwrap();
    }
    let ingress = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "routes" }, "spec": { "rules": [
        { "host": "a.localhost", "http": { "paths": [
            path("/", "Prefix", "root"), path("/deep", "Prefix", "prefix"), path("/deep/file", "Exact", "exact"),
            path("/gone", "Prefix", "nobody"),
        ] } },
        { "host": "*.wild.localhost", "http": { "paths": [path("/", "Prefix", "wild")] } },
    ] } });
    apply_text(&cluster, &ingress.to_string()).await.unwrap();
    serves(&cluster, "a.localhost", "/").await;
    serves(&cluster, "x.wild.localhost", "/").await;
    serves(&cluster, "a.localhost", "/deep").await;
    serves(&cluster, "a.localhost", "/deep/file").await;
    for (host, path, wanted) in [
        ("a.localhost", "/", "root"),
        ("a.localhost:8080", "/other?x=/deep", "root"),
        ("A.LocalHost", "/", "root"),
        ("a.localhost", "/deep", "prefix"),
        ("a.localhost", "/deep/", "prefix"),
        ("a.localhost", "/deep/er/and/deeper", "prefix"),
        ("a.localhost", "/deepest", "root"),
        ("a.localhost", "/deep/file", "exact"),
        ("a.localhost", "/deep/file/more", "prefix"),
        ("a.localhost", "/gone", "503"),
        ("x.wild.localhost", "/", "wild"),
        ("x.y.wild.localhost", "/", "404"),
        ("wild.localhost", "/", "404"),
        ("b.localhost", "/", "404"),
    ] {
        assert_eq!(says(&cluster, host, path).await, wanted, "{host}{path}");
    }
    let rest = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "rest" }, "spec": {
        "defaultBackend": { "service": { "name": "rest", "port": { "number": 80 } } },
    } });
    apply_text(&cluster, &rest.to_string()).await.unwrap();
    eventually("what nobody else takes goes to the default", async || {
        (says(&cluster, "b.localhost", "/").await == "rest").then_some(())
    })
    .await;
    // Another controller's class is not ours.
    let foreign = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "routes" }, "spec": {
        "ingressClassName": "somebody-else", "rules": ingress["spec"]["rules"],
    } });
    apply_text(&cluster, &foreign.to_string()).await.unwrap();
    eventually("its routes are gone", async || (says(&cluster, "a.localhost", "/").await == "rest").then_some(()))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_requests_in_both_versions() {
    let cluster = with_samples(&["hello"]).await;
    apply_text(&cluster, &crate::support::service_of("web", "hello", "")).await.unwrap();
    serves(&cluster, "web.localhost", "/").await;
    let mut stream = TcpStream::connect(cluster.ingress()).await.unwrap();
    // Two at once, the second of which ends the connection.
    let one = "GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{one}{last}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");

    let stream = TcpStream::connect(cluster.ingress()).await.unwrap();
    let mut client = testkit::Http2::over(stream).await;
    let answers = futures::future::join_all((0..20).map(|_| {
        let request = Request::get("http://web.localhost/").body(Full::default()).unwrap();
        client.send(request)
    }))
    .await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"Hello from"), "{body:?}");
    }
    let request = Request::get("/").body(Full::default()).unwrap();
    let answer = exchange(cluster.ingress(), request).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "a request for no host: {}", answer.text);
    cluster.stop().await;
}
