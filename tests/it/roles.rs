//! Roles in processes of their own, and who may speak to the API.

use std::path::Path;

use http::{Method, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use testkit::{eventually, get};

use crate::process::{Up, refused};

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_are_one_cluster() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let control =
        Up::start(here.path(), &["--roles", "api,controllers,scheduler", "--load", "workloads/prebuilt"]).await;
    assert!(control.row("Ingress").is_none(), "{}", control.table());
    let kubeconfig = control.kubeconfig().to_str().unwrap().to_owned();
    let more = ["--roles", "node,ingress", "--server-kubeconfig", &kubeconfig, "--node-name", "elsewhere"];
    let worker = Up::start(there.path(), &more).await;
    assert!(worker.row("Kubeconfig").is_none(), "{}", worker.table());

    control.told("apply -f manifests/hello.yaml").await;
    eventually("hello answers through the other process", async || {
        (get(worker.ingress(), "hello.localhost", "/").await.status == 200).then_some(())
    })
    .await;
    let pods = control.told("get pods -o wide").await;
    assert!(pods.contains("elsewhere"), "{pods}");
    let nodes = control.told("get nodes").await;
    assert!(nodes.contains("elsewhere") && nodes.contains("Ready"), "{nodes}");
    worker.end().await;
    control.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_can_be_switched_off() {
    let data = tempfile::tempdir().unwrap();
    let more = ["--controllers=-deployment", "--roles", "api,controllers", "manifests/hello.yaml"];
    let mut arguments = vec!["up", "--data-dir", data.path().to_str().unwrap(), "--controllers=-deploymint"];
    arguments.extend(crate::process::FREE_PORTS);
    let (code, error) = refused(&arguments).await;
    assert!(code == 2 && error.contains("deploymint"), "{code}: {error}");
    // Nothing makes a ReplicaSet now, so that up would wait long for the Deployment: apply once it runs.
    let up = Up::start(data.path(), &more[..3]).await;
    up.told("apply -f manifests/hello.yaml").await;
    eventually("the other controllers work", async || {
        up.told("get endpointslices -o name").await.contains("hello").then_some(())
    })
    .await;
    assert_eq!(up.told("get rs -o name").await, "");
    up.end().await;
}

/// A client that proves nothing but what is in `user`.
async fn client(kubeconfig: &Path, user: Value) -> kube::Client {
    let mut document = Kubeconfig::read_from(kubeconfig).unwrap();
    document.auth_infos[0].auth_info = Some(serde_json::from_value(user).unwrap());
    let config = kube::Config::from_custom_kubeconfig(document, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

async fn status(client: &kube::Client, method: Method, path: &str, body: &str) -> (StatusCode, String) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.as_bytes().to_vec()))
        .unwrap();
    let (head, body) = client.send(request).await.unwrap().into_parts();
    let bytes = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    (head.status, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_come_from_credentials_alone() {
    let data = tempfile::tempdir().unwrap();
    let tokens = data.path().join("tokens.csv");
    std::fs::write(&tokens, "boss-token,boss,1,\"system:masters\"\nguest-token,guest,2,\"visitors,others\"\n").unwrap();
    let more = ["--roles", "api", "--token-auth-file", tokens.to_str().unwrap()];
    let up = Up::start(data.path(), &more).await;
    let kubeconfig = up.kubeconfig();
    let pods = "/api/v1/namespaces/default/pods";

    let nobody = client(kubeconfig, json!({})).await;
    for (path, wanted) in [(pods, 403), ("/apis", 403), ("/openapi/v3", 403), ("/metrics", 403), ("/v2/_catalog", 401)]
    {
        let (code, text) = status(&nobody, Method::GET, path, "").await;
        assert_eq!(code, wanted, "{path}: {text}");
    }
    for path in ["/readyz", "/livez", "/healthz", "/readyz?verbose", "/version"] {
        let (code, text) = status(&nobody, Method::GET, path, "").await;
        assert_eq!(code, 200, "{path}: {text}");
    }
    assert_eq!(status(&nobody, Method::GET, "/readyz", "").await.1, "ok");

    let stranger = client(kubeconfig, json!({ "token": "made-up" })).await;
    assert_eq!(status(&stranger, Method::GET, pods, "").await.0, 401);

    let guest = client(kubeconfig, json!({ "token": "guest-token" })).await;
    let (code, text) = status(&guest, Method::GET, pods, "").await;
    assert_eq!(code, 403, "{text}");
    assert!(text.contains("User \\\"guest\\\" cannot list resource \\\"pods\\\" in API group \\\"\\\""), "{text}");
    assert_eq!(status(&guest, Method::GET, "/v2/_catalog", "").await.0, 403);
    let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let (code, text) = status(&guest, Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews", review).await;
    assert_eq!(code, 201, "{text}");
    assert!(text.contains("\"username\":\"guest\"") && text.contains("visitors"), "{text}");

    let boss = client(kubeconfig, json!({ "token": "boss-token" })).await;
    assert_eq!(status(&boss, Method::GET, pods, "").await.0, 200);
    let (code, text) = status(&boss, Method::GET, "/metrics", "").await;
    assert!(code == 200 && text.contains("# TYPE"), "{code}: {text}");

    up.end().await;
    std::fs::write(&tokens, "only-a-token\n").unwrap();
    let mut arguments = vec!["up", "--ephemeral", "--token-auth-file", tokens.to_str().unwrap()];
    arguments.extend(crate::process::FREE_PORTS);
    let (code, error) = refused(&arguments).await;
    assert!(code == 1 && error.contains("tokens.csv:1"), "{code}: {error}");
}
