//! What the API is sent and cannot take: a clear answer each time, and it goes on.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::api;
use crate::support::{apply_text, raw};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

fn map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } })
}

fn deployment(yaml: &str) -> String {
    let text = std::fs::read_to_string("manifests/hello.yaml").unwrap();
    let first = text.split("---").next().unwrap();
    first.replace("  replicas: 2\n", yaml)
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_no_object_are_refused_with_the_place() {
    let cluster = api().await;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let rows: Vec<(&str, &str, String, u16, &str)> = vec![
        (MAPS, JSON, String::new(), 400, ""),
        (MAPS, JSON, "{".into(), 400, ""),
        (MAPS, JSON, "[]".into(), 400, ""),
        (MAPS, JSON, nested("[", "]"), 400, ""),
        (MAPS, JSON, nested("{\"a\":", "}").replace(":}", ":1}"), 400, ""),
        (MAPS, YAML, nested("[", "]"), 400, ""),
        (MAPS, YAML, "metadata:\n\tname: a\n".into(), 400, "tab"),
        (MAPS, YAML, "metadata: { name: a }\nmetadata: { name: b }\n".into(), 400, "already set"),
        (MAPS, YAML, "a: &a [x]\nb: *c\n".into(), 400, ""),
        (MAPS, "application/vnd.kubernetes.protobuf", "k8s\0garbage".into(), 400, ""),
        (MAPS, "text/plain", "a: b".into(), 415, ""),
        (
            MAPS,
            JSON,
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } }).to_string(),
            400,
            "Secret",
        ),
        (&strict, YAML, deployment("  replicaz: 2\n"), 400, "unknown field \"spec.replicaz\""),
        (&strict, YAML, deployment("  replicas: 2\n  replicas: 3\n"), 400, "replicas"),
        (DEPLOYMENTS, YAML, deployment("  replicas: many\n"), 400, "spec.replicas"),
        (DEPLOYMENTS, YAML, deployment("  replicas: [1]\n"), 400, "replicas"),
        (DEPLOYMENTS, YAML, deployment("  replicas: -1\n"), 422, "spec.replicas: Invalid value: -1"),
    ];
    for (path, kind, body, code, wanted) in rows {
        let path =
            if code == 400 && wanted == "already set" { format!("{path}?fieldValidation=Strict") } else { path.into() };
        let shown: String = body.chars().take(80).collect();
        let (status, answer) = raw(&cluster, Method::POST, &path, kind, body).await;
        assert_eq!(status.as_u16(), code, "{path} {shown}: {answer}");
        assert_eq!((&answer["kind"], &answer["code"]), (&json!("Status"), &json!(code)), "{path} {shown}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(wanted), "{path} {shown}: {answer}");
    }
    let (status, _) = raw(&cluster, Method::GET, "/readyz", JSON, "").await;
    assert_eq!(status, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let cluster = api().await;
    let with = |field: &str, bytes: usize| {
        let mut object = map("large");
        object[field] = json!({ "a": "x".repeat(bytes) });
        object
    };
    let (status, answer) = raw(&cluster, Method::POST, MAPS, JSON, with("data", 4 << 20).to_string()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    assert_eq!(answer["reason"], "RequestEntityTooLarge", "{answer}");
    let (status, answer) = raw(&cluster, Method::POST, MAPS, JSON, with("data", (1 << 20) + 1).to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("1048576"), "{answer}");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "large" }, "stringData": { "a": "x".repeat((1 << 20) + 1) } });
    let (status, answer) =
        raw(&cluster, Method::POST, "/api/v1/namespaces/default/secrets", JSON, secret.to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    // Annotations have a limit of their own; a field without one meets that of the whole object.
    let mut service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "large" }, "spec": { "ports": [{ "port": 80 }] } });
    service["metadata"]["managedFields"] = json!(null);
    service["spec"]["externalName"] = json!("x".repeat(1_700_000));
    let (status, answer) =
        raw(&cluster, Method::POST, "/api/v1/namespaces/default/services", JSON, service.to_string()).await;
    assert!(
        status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::PAYLOAD_TOO_LARGE,
        "{status}: {answer}"
    );
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "large" }, "spec": { "containers": [{ "name": "a", "image": "a" }] } });
    pod["spec"]["containers"][0]["args"] = json!(["x".repeat(1_700_000)]);
    let (status, answer) = raw(&cluster, Method::POST, "/api/v1/namespaces/default/pods", JSON, pod.to_string()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    // Just below, everything is taken.
    let (status, answer) = raw(&cluster, Method::POST, MAPS, JSON, with("data", (1 << 20) - 1).to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{}", answer["message"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_100_mb_is_refused_before_it_is_read() {
    let cluster = api().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    std::fs::File::create(&path).unwrap().set_len(100_000_000).unwrap();
    let error = crate::support::apply_files(&cluster, &[&path]).await.unwrap_err().to_string();
    assert!(error.contains("large.yaml is too large"), "{error}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_objects_are_refused_with_their_causes() {
    let cluster = api().await;
    let (status, answer) = raw(&cluster, Method::POST, MAPS, JSON, map("Wrong_Name").to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let cause = &answer["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldValueInvalid"), &json!("metadata.name")), "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .starts_with("ConfigMap \"Wrong_Name\" is invalid: metadata.name: Invalid value:"),
        "{answer}"
    );

    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a_b" }, "spec": { "ports": [
        { "name": "A", "port": 0 }, { "name": "b", "port": 70000 },
    ] } });
    let (status, answer) =
        raw(&cluster, Method::POST, "/api/v1/namespaces/default/services", JSON, service.to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<&str> =
        answer["details"]["causes"].as_array().unwrap().iter().filter_map(|cause| cause["field"].as_str()).collect();
    for field in ["metadata.name", "spec.ports[0].name", "spec.ports[0].port", "spec.ports[1].port"] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
    let error =
        apply_text(&cluster, &deployment("  replicas: 2\n").replace("app: hello\n    spec", "app: other\n    spec"))
            .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("spec.template.metadata.labels") && error.contains("`selector` does not match"), "{error}");
    let (status, answer) =
        raw(&cluster, Method::POST, "/api/v1/namespaces/none/configmaps", JSON, map("a").to_string()).await;
    assert_eq!((status, &answer["message"]), (StatusCode::NOT_FOUND, &json!("namespaces \"none\" not found")));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_write_is_refused() {
    let cluster = api().await;
    let (_, first) = raw(&cluster, Method::POST, MAPS, JSON, map("shared").to_string()).await;
    let path = format!("{MAPS}/shared");
    let mut second = first.clone();
    second["data"] = json!({ "a": "1" });
    let (status, _) = raw(&cluster, Method::PUT, &path, JSON, second.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let mut stale = first;
    stale["data"] = json!({ "a": "2" });
    let (status, answer) = raw(&cluster, Method::PUT, &path, JSON, stale.to_string()).await;
    assert_eq!((status, &answer["reason"]), (StatusCode::CONFLICT, &json!("Conflict")));
    assert!(answer["message"].as_str().unwrap().contains("the object has been modified"), "{answer}");
    let patch = json!({ "metadata": { "resourceVersion": "1" }, "data": { "a": "3" } }).to_string();
    let (status, _) = raw(&cluster, Method::PATCH, &path, "application/merge-patch+json", patch).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let options = json!({ "preconditions": { "uid": "someone-else" } }).to_string();
    let (status, answer) = raw(&cluster, Method::DELETE, &path, JSON, options).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    cluster.stop().await;
}
