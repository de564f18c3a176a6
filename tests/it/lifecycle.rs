//! What the node does for a pod beside running it: hooks, probes by commands, last words, sidecars, ephemeral containers,
//! resizes, evictions, and the pages on which it tells of itself.

use cli::connection::Call;
use cluster::Config;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, pod_until, read, told, with_samples, with_samples_and};

/// A pod of the toolbox' shell.
fn shell(name: &str, spec: &str, script: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  restartPolicy: Never\n  {spec}\n  containers:\n    \
         - {{ name: main, image: busybox, command: [sh, -c, {script:?}], {container} }}\n"
    )
}

async fn phase(cluster: &TestCluster, name: &str, wanted: &str) -> Value {
    pod_until(cluster, name, wanted, |pod| (pod.pointer("/status/phase")? == wanted).then(|| pod["status"].clone()))
        .await
}

async fn patch(cluster: &TestCluster, path: &str, body: Value) -> Value {
    let call = Call::new(Method::PATCH, path);
    let call = call.body("application/strategic-merge-patch+json", body.to_string().into_bytes());
    connection(cluster).json(call).await.unwrap()
}

async fn page(cluster: &TestCluster, node: &str, path: &str) -> String {
    let call = Call::get(format!("/api/v1/nodes/{node}/proxy/{path}")).accept("*/*");
    let answer = connection(cluster).send(call).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_probes_and_last_words_are_the_containers_own() {
    let cluster = with_samples(&["hello"]).await;
    let volume = "terminationGracePeriodSeconds: 1\n  volumes: [{ name: v, emptyDir: {} }]";
    let mounted = "volumeMounts: [{ name: v, mountPath: /v }]";
    let hook =
        |kind: &str, script: &str| format!("lifecycle: {{ {kind}: {{ exec: {{ command: [sh, -c, {script:?}] }} }} }}");
    // The probe finds what the hook has written.
    let probe = "readinessProbe: { exec: { command: [cat, /v/hooked] }, periodSeconds: 1, timeoutSeconds: 10 }";
    let good = format!("{mounted}, {}, {probe}", hook("postStart", "echo yes > /v/hooked"));
    apply_text(&cluster, &shell("hooked", volume, "sleep 3600", &good)).await.unwrap();
    let bad = hook("postStart", "echo no; exit 3");
    apply_text(&cluster, &shell("refused", "terminationGracePeriodSeconds: 1", "sleep 3600", &bad)).await.unwrap();
    let stop = hook("preStop", "exit 3");
    apply_text(&cluster, &shell("leaving", "terminationGracePeriodSeconds: 1", "sleep 3600", &stop)).await.unwrap();
    apply_text(&cluster, &shell("words", "", "echo the disk is gone > /dev/termination-log; exit 4", ""))
        .await
        .unwrap();
    let fallback = "terminationMessagePolicy: FallbackToLogsOnError";
    // A user of its own, a folder to begin in, a root that is new with each run and cannot be written where the spec says so.
    let user = "securityContext: { runAsNonRoot: true, runAsUser: 65534, readOnlyRootFilesystem: true }, workingDir: /work/here, \
                terminationMessagePolicy: FallbackToLogsOnError";
    let script = "id -u; pwd; cd .; ls | wc -l; echo x > /file; exit 6";
    apply_text(&cluster, &shell("user", "", script, user)).await.unwrap();
    let script = "cat old >&2; echo > old; [[ -e /v/once ]] && exit 0; touch /v/once; exit 42";
    let rules = "restartPolicy: Never, restartPolicyRules: [{ action: RestartAllContainers, exitCodes: { operator: In, values: [42] } }]";
    let again = format!("{mounted}, workingDir: /tmp/mine, {rules}");
    apply_text(&cluster, &shell("again", volume, script, &again)).await.unwrap();
    let root = "securityContext: { runAsNonRoot: true, runAsUser: 0 }";
    apply_text(&cluster, &shell("root", "", "true", root)).await.unwrap();
    apply_text(&cluster, &shell("log", "", "echo as the log says; exit 5", fallback)).await.unwrap();

    let status = phase(&cluster, "user", "Failed").await;
    let message = status.pointer("/containerStatuses/0/state/terminated/message").unwrap();
    assert_eq!(message, "65534\n/work/here\n0\nsh: can't create /file: Read-only file system\n");
    let status = phase(&cluster, "again", "Succeeded").await;
    assert_eq!(status["containerStatuses"][0]["restartCount"], 1, "{status}");
    let conditions = status["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|row| row["type"] == "AllContainersRestarting" && row["status"] == "False"));
    assert!(conditions.iter().any(|row| row["type"] == "PodReadyToStartContainers" && row["status"] == "False"));
    let call = Call::get("/api/v1/namespaces/default/pods/again/log").accept("*/*");
    let log = String::from_utf8_lossy(&connection(&cluster).send(call).await.unwrap().body).into_owned();
    assert!(log.contains("can't open 'old'"), "the root of the first run was seen: {log}");
    let waiting = pod_until(&cluster, "root", "it is refused", |pod| {
        pod.pointer("/status/containerStatuses/0/state/waiting")
            .filter(|waiting| waiting["message"].is_string())
            .cloned()
    })
    .await;
    assert_eq!(waiting["reason"], "CreateContainerConfigError");
    assert!(
        waiting["message"].as_str().unwrap().starts_with("container's runAsUser breaks non-root policy"),
        "{waiting}"
    );

    pod_until(&cluster, "hooked", "it is ready", |pod| {
        (pod.pointer("/status/containerStatuses/0/ready")? == true).then_some(())
    })
    .await;
    let status = phase(&cluster, "refused", "Failed").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 143, "{status}");
    told(&cluster, "refused", "FailedPostStartHook", "PostStartHook failed").await;
    for (name, code, message) in [("words", 4, "the disk is gone\n"), ("log", 5, "as the log says\n")] {
        let status = phase(&cluster, name, "Failed").await;
        let ended = &status["containerStatuses"][0]["state"]["terminated"];
        assert_eq!((&ended["exitCode"], &ended["message"]), (&json!(code), &json!(message)), "{name}");
        // Conditions hold no reasons that are over.
        let initialized = status["conditions"].as_array().unwrap().iter().find(|row| row["type"] == "Initialized");
        assert_eq!(initialized.unwrap()["message"], Value::Null, "{status}");
    }
    phase(&cluster, "leaving", "Running").await;
    let delete = Call::new(Method::DELETE, "/api/v1/namespaces/default/pods/leaving");
    connection(&cluster).json(delete).await.unwrap();
    told(&cluster, "leaving", "FailedPreStopHook", "PreStopHook failed").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_ask_by_grpc_too() {
    let cluster = with_samples(&["echo"]).await;
    let pod = |name: &str, ask: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  containers:\n    \
             - {{ name: main, image: coracle.local/echo, imagePullPolicy: IfNotPresent, ports: [{{ containerPort: 80 }}], \
             readinessProbe: {{ grpc: {{ {ask} }}, periodSeconds: 1, timeoutSeconds: 1 }} }}\n"
        )
    };
    for (name, ask) in [
        ("server", "port: 80"),
        ("service", "port: 80, service: echo"),
        ("resting", "port: 80, service: resting"),
        ("nobody", "port: 80, service: nobody"),
        ("nowhere", "port: 81"),
    ] {
        apply_text(&cluster, &pod(name, ask)).await.unwrap();
    }
    let ready = |pod: &Value| Some(pod.pointer("/status/containerStatuses/0/ready")? == true);
    for name in ["server", "service"] {
        pod_until(&cluster, name, "it is ready", |pod| ready(pod)?.then_some(())).await;
    }
    let address = pod_until(&cluster, "nowhere", "it has an address", |pod| {
        Some(pod.pointer("/status/podIP")?.as_str()?.to_owned())
    })
    .await;
    for (name, why) in [
        ("resting", "service unhealthy (responded with \"NOT_SERVING\")".to_owned()),
        ("nobody", "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service".to_owned()),
        (
            "nowhere",
            format!("timeout: failed to connect service \"{address}:81\" within 1s: context deadline exceeded"),
        ),
    ] {
        told(&cluster, name, "Unhealthy", &format!("Readiness probe failed: {why}")).await;
        assert!(!pod_until(&cluster, name, "its status", ready).await);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_joined_resized_and_measured_while_it_runs() {
    let cluster = with_samples(&["hello"]).await;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec:\n  initContainers:\n  \
               - { name: side, image: coracle.local/hello, imagePullPolicy: IfNotPresent, restartPolicy: Always, ports: [{ containerPort: 81 }] }\n  \
               containers:\n  - { name: main, image: coracle.local/hello, imagePullPolicy: IfNotPresent, ports: [{ containerPort: 80 }], \
               resources: { requests: { cpu: 10m, memory: 16Mi }, limits: { cpu: 100m, memory: 64Mi } } }\n";
    apply_text(&cluster, pod).await.unwrap();
    let node = pod_until(&cluster, "web", "it runs", |pod| {
        (pod.pointer("/status/phase")? == "Running").then(|| pod["spec"]["nodeName"].as_str().unwrap().to_owned())
    })
    .await;
    let path = "/api/v1/namespaces/default/pods/web";
    let look = json!({ "spec": { "ephemeralContainers": [{ "name": "look", "image": "busybox", "command": ["sh", "-c", "echo seen"] }] } });
    patch(&cluster, &format!("{path}/ephemeralcontainers"), look).await;
    let ended = pod_until(&cluster, "web", "the ephemeral container has ended", |pod| {
        let status = pod.pointer("/status/ephemeralContainerStatuses/0")?;
        status.pointer("/state/terminated").cloned().map(|ended| (ended, status["restartCount"].clone()))
    })
    .await;
    assert_eq!((&ended.0["exitCode"], &ended.1), (&json!(0), &json!(0)));
    let size = json!({ "spec": { "containers": [{ "name": "main", "resources": { "requests": { "cpu": "20m" }, "limits": { "cpu": "200m" } } }] } });
    patch(&cluster, &format!("{path}/resize"), size).await;
    let status = pod_until(&cluster, "web", "it has its new size", |pod| {
        let status = pod.pointer("/status/containerStatuses/0")?;
        (status.pointer("/resources/limits/cpu")? == "200m").then(|| status.clone())
    })
    .await;
    assert_eq!((&status["allocatedResources"]["cpu"], &status["restartCount"]), (&json!("20m"), &json!(0)), "{status}");
    for (path, text) in [
        ("metrics/cadvisor", "container_spec_cpu_quota{container=\"main\""),
        ("metrics/resource", "pod_memory_working_set_bytes{namespace=\"default\",pod=\"web\"}"),
        ("metrics", "coracle_node_cold_start_seconds_count{stage=\"instantiate\"}"),
        ("stats/summary", "\"podRef\":{\"name\":\"web\""),
        ("configz", "\"evictionHard\""),
    ] {
        let page = page(&cluster, &node, path).await;
        assert!(page.contains(text), "{path} has no {text}: {}", &page[..page.len().min(2000)]);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_short_of_memory_says_so_and_ends_who_uses_more_than_it_asked_for() {
    // The node needs 100 Mi to be well and offers one more: whoever takes that is too much.
    let config = Config { node_capacity: vec!["memory=101Mi".to_owned()], ..Config::default() };
    let cluster = with_samples_and(&["batch"], config).await;
    let pod = |name: &str, node: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  {node}restartPolicy: Never\n  containers:\n    \
             - {{ name: main, image: coracle.local/batch, imagePullPolicy: IfNotPresent, args: [sleep, \"3600\"] }}\n"
        )
    };
    apply_text(&cluster, &pod("greedy", "")).await.unwrap();
    let status = phase(&cluster, "greedy", "Failed").await;
    assert_eq!(status["reason"], "Evicted", "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("The node was low on resource: memory. Threshold quantity: 100Mi, available: "),
        "{message}"
    );
    let target = status["conditions"].as_array().unwrap().iter().find(|row| row["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("TerminationByKubelet")));
    eventually("the node tells of it", async || {
        let nodes = read(&cluster, "/api/v1/nodes").await?;
        let conditions = nodes.pointer("/items/0/status/conditions")?.as_array()?.clone();
        conditions.iter().any(|row| row["type"] == "MemoryPressure" && row["status"] == "True").then_some(())
    })
    .await;
    let nodes = read(&cluster, "/api/v1/nodes").await.unwrap();
    let name = nodes.pointer("/items/0/metadata/name").and_then(Value::as_str).unwrap();
    apply_text(&cluster, &pod("late", &format!("nodeName: {name}\n  "))).await.unwrap();
    let status = phase(&cluster, "late", "Failed").await;
    assert_eq!(status["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ", "{status}");
    cluster.stop().await;
}
