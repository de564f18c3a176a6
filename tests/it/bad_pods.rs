//! Pods that cannot run: each waits with a reason and a sentence that names what is wrong, and leaves others alone.

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::TestCluster;

use crate::support::{apply_text, connection, events_of, pod_until, with_samples};

fn pod(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  restartPolicy: Never\n  containers:\n    \
         - {{ name: main, image: \"{image}\", imagePullPolicy: IfNotPresent{more} }}\n"
    )
}

/// Waits until the pod's container waits with one of the reasons, and answers the message.
async fn waits(cluster: &TestCluster, name: &str, reasons: &[&str]) -> String {
    pod_until(cluster, name, &format!("waits with one of {reasons:?}"), |pod| {
        let waiting = pod.pointer("/status/containerStatuses/0/state/waiting")?;
        let reason = waiting["reason"].as_str()?;
        reasons.contains(&reason).then(|| waiting["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

async fn blob(cluster: &TestCluster, repository: &str, bytes: &[u8]) -> Value {
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let connection = connection(cluster);
    let begun = connection.send(Call::new(Method::POST, format!("/v2/{repository}/blobs/uploads/"))).await.unwrap();
    let location = begun.headers["location"].to_str().unwrap().to_owned();
    let joint = if location.contains('?') { '&' } else { '?' };
    let put = Call::new(Method::PUT, format!("{location}{joint}digest={digest}"));
    connection.send(put.body("application/octet-stream", bytes.to_vec())).await.unwrap();
    json!({ "digest": digest, "size": bytes.len() })
}

/// Puts an image with one layer of these bytes into the built-in store, as any client of a registry could.
async fn push(cluster: &TestCluster, name: &str, layer_type: &str, config: &[u8], layer: &[u8]) {
    let mut config = blob(cluster, name, config).await;
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let mut layer = blob(cluster, name, layer).await;
    layer["mediaType"] = json!(layer_type);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let put =
        Call::new(Method::PUT, format!("/v2/{name}/manifests/latest")).body(kind, manifest.to_string().into_bytes());
    connection(cluster).send(put).await.unwrap();
}

async fn push_wat(cluster: &TestCluster, name: &str, text: &str) {
    push(cluster, name, "application/wasm", b"{}", &wat::parse_str(text).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_hold_no_component_are_not_pulled() {
    let cluster = with_samples(&[]).await;
    push(&cluster, "text", "application/wasm", b"{}", b"this is no component").await;
    let linux = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    push(&cluster, "linux", "application/vnd.oci.image.layer.v1.tar+gzip", linux, b"\x1f\x8b").await;
    for (name, image, reasons, wanted) in [
        ("text", "coracle.local/text", &["ErrImagePull", "ImagePullBackOff"][..], "WebAssembly"),
        ("linux", "coracle.local/linux", &["ErrImagePull", "ImagePullBackOff"], "linux"),
        ("missing", "coracle.local/missing:v9", &["ErrImagePull", "ImagePullBackOff"], "missing:v9"),
        ("unreachable", "127.0.0.1:1/nobody/home:v1", &["ErrImagePull", "ImagePullBackOff"], "127.0.0.1:1"),
        ("path", "./hello.wasm", &["InvalidImageName"], "coracle push"),
        ("file", "file:hello.wasm", &["InvalidImageName"], "coracle apply"),
        ("upper", "coracle.local/Upper", &["InvalidImageName"], "Upper"),
    ] {
        // Not through apply, which would take a path for a file.
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": {
            "containers": [{ "name": "main", "image": image, "imagePullPolicy": "IfNotPresent" }],
        } });
        connection(&cluster)
            .json(Call::new(Method::POST, "/api/v1/namespaces/default/pods").json(&object))
            .await
            .unwrap();
        let message = waits(&cluster, name, reasons).await;
        assert!(message.contains(wanted) || message.starts_with("Back-off"), "{name}: {message}");
        let told = testkit::eventually(&format!("an event of {name} says why"), async || {
            let events = events_of(&cluster, name).await;
            let mut messages = events.iter().filter_map(|event| event["message"].as_str());
            messages.find(|message| message.contains(wanted)).map(str::to_owned)
        })
        .await;
        assert!(!told.is_empty());
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_cannot_run_say_why() {
    let cluster = with_samples(&["hello"]).await;
    let exotic = r#"(component
        (import "acme:rockets/launch@1.0.0" (instance (export "go" (func))))
        (core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exported (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exported)))"#;
    push_wat(&cluster, "exotic", exotic).await;
    push_wat(&cluster, "idle", "(component)").await;
    push_wat(&cluster, "foreign", r#"(module (import "env" "rocket" (func)) (func (export "_start")))"#).await;
    for (name, reasons, wanted) in [
        ("exotic", &["CreateContainerError"][..], "acme:rockets/launch"),
        ("idle", &["CreateContainerError"], "wasi:cli/run"),
        ("foreign", &["CreateContainerError", "ErrImagePull", "ImagePullBackOff"], "env.rocket"),
    ] {
        apply_text(&cluster, &pod(name, &format!("coracle.local/{name}"), "")).await.unwrap();
        let message = waits(&cluster, name, reasons).await;
        assert!(message.contains(wanted) || message.starts_with("Back-off"), "{name}: {message}");
    }
    // Their neighbour runs.
    apply_text(&cluster, &pod("good", "coracle.local/hello", "")).await.unwrap();
    pod_until(&cluster, "good", "it runs", |pod| (pod.pointer("/status/phase")? == "Running").then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_that_cannot_be_met_say_why() {
    let cluster = with_samples(&["hello", "batch"]).await;
    let missing = ", env: [{ name: A, valueFrom: { configMapKeyRef: { name: absent, key: k } } }]";
    apply_text(&cluster, &pod("configless", "coracle.local/hello", missing)).await.unwrap();
    let message = waits(&cluster, "configless", &["CreateContainerConfigError"]).await;
    assert!(message.contains("configmap \"absent\" not found"), "{message}");
    // It starts once what it needs is there.
    apply_text(&cluster, "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: absent }\ndata: { k: v }\n")
        .await
        .unwrap();
    pod_until(&cluster, "configless", "it runs", |pod| (pod.pointer("/status/phase")? == "Running").then_some(()))
        .await;

    let twins = "apiVersion: v1\nkind: Pod\nmetadata: { name: twins }\nspec:\n  containers:\n    - { name: one, image: \
                 coracle.local/hello, imagePullPolicy: IfNotPresent }\n    - { name: two, image: coracle.local/hello, imagePullPolicy: IfNotPresent }\n";
    apply_text(&cluster, twins).await.unwrap();
    let message = pod_until(&cluster, "twins", "one of them has no port", |pod| {
        let statuses = pod.pointer("/status/containerStatuses")?.as_array()?;
        let running = statuses.iter().any(|status| status["state"]["running"].is_object());
        let waiting = statuses.iter().find(|status| status["state"]["waiting"]["reason"] == "CreateContainerError")?;
        running.then(|| waiting["state"]["waiting"]["message"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    assert!(message.contains("port 80") && message.contains("containerPort"), "{message}");

    let odd = pod("odd", "coracle.local/batch", "")
        .replace("name: odd }", "name: odd, annotations: { coracle.dev/request-timeout: soon } }");
    apply_text(&cluster, &odd).await.unwrap();
    let told = testkit::eventually("an event tells of the annotation", async || {
        let events = events_of(&cluster, "odd").await;
        events
            .iter()
            .filter_map(|event| event["message"].as_str())
            .find(|text| text.contains("request-timeout"))
            .map(str::to_owned)
    })
    .await;
    assert!(told.contains("soon"), "{told}");

    let huge = pod("huge", "coracle.local/hello", ", resources: { requests: { cpu: 10k } }");
    apply_text(&cluster, &huge).await.unwrap();
    let message = pod_until(&cluster, "huge", "it cannot be scheduled", |pod| {
        let conditions = pod.pointer("/status/conditions")?.as_array()?;
        let found = conditions.iter().find(|row| row["type"] == "PodScheduled" && row["reason"] == "Unschedulable")?;
        found["message"].as_str().map(str::to_owned)
    })
    .await;
    assert!(message.contains("0/1 nodes are available: 1 Insufficient cpu"), "{message}");
    cluster.stop().await;
}
