//! Where images come from and what they may be: registries that ask who somebody is, images of other shapes, programs made of
//! parts, and components that cost too much to compile.

use cli::connection::Call;
use cluster::Config;
use http::Method;
use serde_json::{Value, json};
use testkit::TestCluster;

use crate::registry::{Guarded, tar_gz};
use crate::support::{connection, pod_until, told, with_samples, with_samples_and};

/// Runs to its end when what it imports answers 42.
const APP: &str = r#"(component
    (import "demo:parts/answer" (instance $answer (export "get" (func (result u32)))))
    (core func $get (canon lower (func $answer "get")))
    (core module $m
        (import "answer" "get" (func $get (result i32)))
        (func (export "run") (result i32) (i32.ne (call $get) (i32.const 42))))
    (core instance $i (instantiate $m (with "answer" (instance (export "get" (func $get))))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $run (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $run)))"#;

/// Answers 42, and is a program itself.
const PART: &str = r#"(component
    (core module $m
        (func (export "get") (result i32) (i32.const 42))
        (func (export "run") (result i32) (i32.const 0)))
    (core instance $i (instantiate $m))
    (func $get (result u32) (canon lift (core func $i "get")))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $answer (export "get" (func $get)))
    (instance $run (export "run" (func $run)))
    (export "demo:parts/answer" (instance $answer))
    (export "wasi:cli/run@0.2.0" (instance $run)))"#;

async fn post(cluster: &TestCluster, path: &str, object: Value) -> Value {
    connection(cluster).json(Call::new(Method::POST, path).json(&object)).await.unwrap()
}

async fn pod(cluster: &TestCluster, name: &str, spec: Value) {
    let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec });
    post(cluster, "/api/v1/namespaces/default/pods", object).await;
}

fn one(image: &str, policy: &str) -> Value {
    json!({ "restartPolicy": "Never", "containers": [{ "name": "app", "image": image, "imagePullPolicy": policy }] })
}

/// A Secret as `kubectl create secret docker-registry` makes it.
async fn secret(cluster: &TestCluster, name: &str, registry: &str, user: &str, password: &str) {
    let config = json!({ "auths": { registry: { "username": user, "password": password } } }).to_string();
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": name }, "stringData": { ".dockerconfigjson": config },
    });
    post(cluster, "/api/v1/namespaces/default/secrets", object).await;
}

/// A token of a ServiceAccount that has a ClusterRole.
async fn token(cluster: &TestCluster, account: &str, role: &str) -> String {
    let meta = json!({ "name": account });
    post(cluster, "/api/v1/namespaces/default/serviceaccounts", json!({ "metadata": meta })).await;
    let binding = json!({
        "metadata": meta,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": "default" }],
    });
    post(cluster, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
    post(cluster, &path, json!({ "spec": {} })).await["status"]["token"].as_str().unwrap().to_owned()
}

async fn ends(cluster: &TestCluster, name: &str) -> Value {
    pod_until(cluster, name, "it has ended well", |pod| {
        (pod.pointer("/status/phase")? == "Succeeded").then(|| pod["status"]["containerStatuses"][0].clone())
    })
    .await
}

async fn push_wat(cluster: &TestCluster, name: &str, text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wat::parse_str(text).unwrap()).unwrap();
    cli::push_file(&connection(cluster), file.path(), name).await.unwrap()
}

/// Another cluster's registry wants a token for a password. Who has one pulls, who has none does not get the copy either.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_another_cluster_is_for_those_who_may_read_there() {
    let there =
        TestCluster::with(Config { roles: cluster::Roles::parse(&["api".to_owned()]).unwrap(), ..Config::default() })
            .await;
    let here = with_samples(&[]).await;
    let digest = push_wat(&there, "team/part:v1", PART).await;
    let host = there.cluster().server_url().trim_start_matches("https://").to_owned();
    let image = format!("{host}/team/part:v1");

    pod(&here, "never", one(&image, "Never")).await;
    told(&here, "never", "ErrImageNeverPull", "is not present with pull policy of Never").await;
    pod(&here, "nobody", one(&image, "IfNotPresent")).await;
    told(&here, "nobody", "Failed", "name a Secret with credentials in imagePullSecrets").await;
    told(&here, "nobody", "Failed", "Error: ErrImagePull").await;
    told(&here, "nobody", "BackOff", &format!("Back-off pulling image {image:?}")).await;
    told(&here, "nobody", "Failed", "Error: ImagePullBackOff").await;

    secret(&here, "there", &host, "anybody", &token(&there, "reader", "coracle:image-puller").await).await;
    let mut spec = one(&image, "IfNotPresent");
    spec["imagePullSecrets"] = json!([{ "name": "there" }]);
    pod(&here, "by-pod", spec.clone()).await;
    let status = ends(&here, "by-pod").await;
    assert_eq!(status["imageID"], format!("{host}/team/part@{digest}"));
    told(&here, "by-pod", "Pulled", "Successfully pulled image").await;
    // The copy is here now. It is for those who could have pulled it.
    pod(&here, "stranger", one(&image, "IfNotPresent")).await;
    told(&here, "stranger", "Failed", "does not authorize this").await;
    pod(&here, "present", spec.clone()).await;
    ends(&here, "present").await;
    told(&here, "present", "Pulled", "already present on machine and can be accessed by the pod").await;

    // The ServiceAccount's Secrets are its pods'.
    let account = json!({ "metadata": { "name": "worker" }, "imagePullSecrets": [{ "name": "there" }] });
    post(&here, "/api/v1/namespaces/default/serviceaccounts", account).await;
    let mut spec = one(&image, "Always");
    spec["serviceAccountName"] = json!("worker");
    pod(&here, "by-account", spec).await;
    ends(&here, "by-account").await;
    here.stop().await;
    there.stop().await;
}

/// Tokens from a service of the registry's, an image as Docker's users make it, programs made of parts, and bounds.
#[tokio::test(flavor = "multi_thread")]
async fn images_of_many_makes_run_and_too_large_ones_say_which_bound_they_break() {
    let compile_bounds = images::Bounds { functions: 50, ..images::Bounds::default() };
    // What other tests compiled would be taken as it is.
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Some(folder.path().to_owned());
    let cluster = with_samples_and(&["hello"], Config { compile_bounds, artifacts, ..Config::default() }).await;
    let part = wat::parse_str(PART).unwrap();
    // Two layers: the upper one takes a file away from the lower, so that one component is left.
    let layers = [
        tar_gz(&[("bin/app.wasm", &part), ("bin/old.wasm", &part)]),
        tar_gz(&[("README", b"read me"), ("bin/.wh.old.wasm", b"")]),
    ];
    let registry = Guarded::start("docker/part", &layers, "/bin/app.wasm").await;
    secret(&cluster, "guarded", &registry.host(), "user", "secret").await;
    let mut spec = one(&format!("{}/docker/part:v1", registry.host()), "Always");
    spec["imagePullSecrets"] = json!([{ "name": "guarded" }]);
    pod(&cluster, "docker", spec).await;
    ends(&cluster, "docker").await;

    push_wat(&cluster, "app", APP).await;
    push_wat(&cluster, "part", PART).await;
    let alone = one("coracle.local/app", "IfNotPresent");
    pod(&cluster, "alone", alone.clone()).await;
    told(&cluster, "alone", "Failed", "demo:parts/answer").await;
    for (name, parts) in [("by-image", "coracle.local/part"), ("by-container", "sibling")] {
        let mut spec = alone.clone();
        let sibling = json!({ "name": "sibling", "image": "coracle.local/part", "imagePullPolicy": "IfNotPresent" });
        spec["containers"].as_array_mut().unwrap().push(sibling);
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
            "name": name, "annotations": { "app.coracle.dev/compose": parts },
        } });
        post(&cluster, "/api/v1/namespaces/default/pods", object).await;
        ends(&cluster, name).await;
    }

    pod(&cluster, "large", one("coracle.local/hello", "IfNotPresent")).await;
    let message = pod_until(&cluster, "large", "its image is too complex", |pod| {
        let waiting = pod.pointer("/status/containerStatuses/0/state/waiting")?;
        (waiting["reason"] == "ImageTooComplex").then(|| waiting["message"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(message.contains("--compile-limits functions="), "{message}");
    cluster.stop().await;
}
