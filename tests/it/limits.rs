//! What a pod may take, and what becomes of its neighbours: the chaos sample against every limit.

use http::StatusCode;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually, get};

use crate::support::{apply_text, events_of, pod_until, read, serves, service_of, told, with_samples};

/// A bad neighbour with a Service, limited to 16 MiB.
fn chaos(annotations: &str) -> String {
    let limited = "          resources: { requests: { cpu: 1m, memory: 4Mi }, limits: { memory: 16Mi } }";
    service_of("chaos", "chaos", limited).replace(
        "labels: { app: chaos } }\n    spec",
        &format!("labels: {{ app: chaos }}, annotations: {{ {annotations} }} }}\n    spec"),
    )
}

async fn pod_of(cluster: &TestCluster, app: &str) -> Value {
    let path = format!("/api/v1/namespaces/default/pods?labelSelector=app%3D{app}");
    eventually(&format!("{app} has a pod"), async || read(cluster, &path).await?["items"].as_array()?.first().cloned())
        .await
}

async fn name_of_pod(cluster: &TestCluster, app: &str) -> String {
    pod_of(cluster, app).await["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_loops_does_not_stop_its_neighbours() {
    let cluster = with_samples(&["chaos", "hello"]).await;
    apply_text(&cluster, &chaos("coracle.dev/request-timeout: 20s")).await.unwrap();
    apply_text(&cluster, &service_of("victim", "hello", "")).await.unwrap();
    serves(&cluster, "chaos.localhost", "/").await;
    serves(&cluster, "victim.localhost", "/").await;
    let ingress = cluster.ingress();
    let mut loops = tokio::task::JoinSet::new();
    for path in ["/loop", "/loop", "/loop", "/flood"] {
        loops.spawn(async move { get(ingress, "chaos.localhost", path).await });
    }
    for _ in 0..50 {
        let answer = cluster.get("victim.localhost", "/").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    // Its own other requests go on as well.
    assert_eq!(cluster.get("chaos.localhost", "/").await.text, "well behaved\n");
    assert!(loops.try_join_next().is_none(), "the loops are still there");
    while let Some(answer) = loops.join_next().await {
        assert_eq!(answer.unwrap().status, StatusCode::GATEWAY_TIMEOUT);
    }
    let status = pod_of(&cluster, "chaos").await["status"]["containerStatuses"][0].clone();
    assert_eq!(status["restartCount"], 0, "{status}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_past_the_limit_ends_the_container() {
    let cluster = with_samples(&["chaos"]).await;
    apply_text(&cluster, &chaos("")).await.unwrap();
    serves(&cluster, "chaos.localhost", "/").await;
    let within = cluster.get("chaos.localhost", "/allocate?mib=4").await;
    assert_eq!((within.status, within.text.as_str()), (StatusCode::OK, "held 4 MiB\n"));
    // Being refused is no death for those who can go on without.
    let grown = cluster.get("chaos.localhost", "/grow").await;
    assert_eq!(grown.status, StatusCode::OK);
    let mib: u64 = grown.text.trim().trim_start_matches("refused after ").trim_end_matches(" MiB").parse().unwrap();
    assert!((1..16).contains(&mib), "{}", grown.text);
    let pod = name_of_pod(&cluster, "chaos").await;
    let status = pod_of(&cluster, "chaos").await["status"]["containerStatuses"][0].clone();
    assert_eq!(status["restartCount"], 0, "{status}");

    let past = cluster.get("chaos.localhost", "/allocate?mib=64").await;
    assert!(past.status.is_server_error(), "{}", past.text);
    let last = pod_until(&cluster, &pod, "it was started again", |pod| {
        let status = pod.pointer("/status/containerStatuses/0")?;
        (status["restartCount"].as_u64()? >= 1)
            .then(|| status["lastState"]["terminated"].clone())
            .filter(|last| !last.is_null())
    })
    .await;
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("OOMKilled"), &json!(137)), "{last}");
    serves(&cluster, "chaos.localhost", "/").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_fails_one_request() {
    let cluster = with_samples(&["chaos"]).await;
    apply_text(&cluster, &chaos("")).await.unwrap();
    serves(&cluster, "chaos.localhost", "/").await;
    for path in ["/trap", "/panic", "/trap"] {
        let answer = cluster.get("chaos.localhost", path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {}", answer.text);
    }
    assert_eq!(cluster.get("chaos.localhost", "/").await.status, StatusCode::OK);
    let pod = name_of_pod(&cluster, "chaos").await;
    let event = eventually("a warning tells of the trap", async || {
        events_of(&cluster, &pod).await.into_iter().find(|event| event["type"] == "Warning")
    })
    .await;
    assert!(event["message"].as_str().unwrap().contains("unreachable"), "{event}");
    let status = pod_of(&cluster, "chaos").await["status"]["containerStatuses"][0].clone();
    assert_eq!((&status["restartCount"], &status["ready"]), (&json!(0), &json!(true)), "{status}");
    assert!(status["state"]["running"].is_object(), "{status}");
    let path = format!("/api/v1/namespaces/default/pods/{pod}/log");
    eventually("the log has the back-trace", async || {
        let call = cli::connection::Call::get(&path).accept("*/*");
        let log = crate::support::connection(&cluster).send(call).await.ok()?;
        String::from_utf8_lossy(&log.body).contains("asked to panic").then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_as_long_as_its_pod_says() {
    let cluster = with_samples(&["chaos"]).await;
    apply_text(&cluster, &chaos("coracle.dev/request-timeout: 300ms")).await.unwrap();
    serves(&cluster, "chaos.localhost", "/").await;
    for path in ["/stall", "/loop"] {
        let answer = cluster.get("chaos.localhost", path).await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{path}: {}", answer.text);
    }
    assert_eq!(cluster.get("chaos.localhost", "/").await.status, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel_is_a_budget_for_each_request_and_each_run() {
    let cluster = with_samples(&["chaos", "batch"]).await;
    let fuelled = "          resources: { limits: { memory: 64Mi, coracle.dev/fuel: 20000000 } }";
    apply_text(&cluster, &service_of("chaos", "chaos", fuelled)).await.unwrap();
    serves(&cluster, "chaos.localhost", "/").await;
    for path in ["/loop", "/", "/loop"] {
        let answer = cluster.get("chaos.localhost", path).await;
        let wanted = if path == "/" { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        assert_eq!(answer.status, wanted, "{path}: {}", answer.text);
    }
    let pod =
        command("spender", "Never", "[primes, \"100000000\"]", "resources: { limits: { coracle.dev/fuel: 1000000 } }");
    apply_text(&cluster, &pod).await.unwrap();
    let ended = pod_until(&cluster, "spender", "it has failed", |pod| {
        (pod.pointer("/status/phase")? == "Failed")
            .then(|| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone())
    })
    .await;
    assert_eq!(ended["reason"], "FuelExhausted", "{ended}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_did_is_answered_and_told() {
    let cluster = with_samples(&["chaos"]).await;
    let default = "apiVersion: v1\nkind: Namespace\nmetadata: { name: default, annotations: { coracle.dev/request-timeout: 400ms } }\n";
    apply_text(&cluster, default).await.unwrap();
    let limited = "          resources: { limits: { cpu: 500m, memory: 32Mi } }";
    let annotated = |name: &str, setting: &str| {
        service_of(name, "chaos", limited).replace(
            &format!("labels: {{ app: {name} }} }}\n    spec"),
            &format!("labels: {{ app: {name} }}, annotations: {{ coracle.dev/{setting} }} }}\n    spec"),
        )
    };
    // The namespace says how long a request may take, and a pod may say otherwise.
    apply_text(&cluster, &annotated("brief", "reuse: 'false'")).await.unwrap();
    apply_text(&cluster, &annotated("long", "request-timeout: 20s")).await.unwrap();
    serves(&cluster, "brief.localhost", "/").await;
    serves(&cluster, "long.localhost", "/").await;
    let (brief, long) =
        tokio::join!(cluster.get("brief.localhost", "/spin?ms=2000"), cluster.get("long.localhost", "/spin?ms=700"));
    assert_eq!(brief.status, StatusCode::GATEWAY_TIMEOUT, "{}", brief.text);
    assert_eq!(long.status, StatusCode::OK, "{}", long.text);
    let pod = name_of_pod(&cluster, "brief").await;
    let node = read(&cluster, &format!("/api/v1/namespaces/default/pods/{pod}")).await.unwrap();
    let node = node["spec"]["nodeName"].as_str().unwrap().to_owned();
    for (name, app) in [
        ("coracle_container_timeouts_total", "brief"),
        ("container_cpu_cfs_throttled_seconds_total", "long"),
        ("coracle_container_request_duration_seconds_count", "long"),
    ] {
        eventually(&format!("{name} of {app} is above nought"), async || {
            let call = cli::connection::Call::get(format!("/api/v1/nodes/{node}/proxy/metrics/cadvisor")).accept("*/*");
            let answer = crate::support::connection(&cluster).send(call).await.ok()?;
            let page = String::from_utf8_lossy(&answer.body).into_owned();
            let of_it = |line: &&str| line.starts_with(name) && line.contains(&format!("container=\"{app}\""));
            let value = page.lines().find(of_it)?.rsplit(' ').next()?.parse::<f64>().ok()?;
            (value > 0.0).then_some(())
        })
        .await;
    }
    cluster.stop().await;
}

/// A pod of the batch sample.
fn command(name: &str, restart: &str, args: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  restartPolicy: {restart}\n  containers:\n    \
         - name: main\n      image: coracle.local/batch\n      imagePullPolicy: IfNotPresent\n      args: {args}\n      {more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_backs_off() {
    let cluster = with_samples(&["batch"]).await;
    apply_text(&cluster, &command("failing", "Always", "[fail, \"3\"]", "")).await.unwrap();
    let status = pod_until(&cluster, "failing", "it waits before the next start", |pod| {
        let status = pod.pointer("/status/containerStatuses/0")?;
        (status.pointer("/state/waiting/reason")? == "CrashLoopBackOff").then(|| status.clone())
    })
    .await;
    assert!(
        status["state"]["waiting"]["message"]
            .as_str()
            .unwrap()
            .starts_with("back-off 10s restarting failed container=main"),
        "{status}"
    );
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1, "{status}");
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error", "{status}");
    for reason in ["BackOff", "Started"] {
        told(&cluster, "failing", reason, "").await;
    }
    eventually("the log of the run before is there", async || {
        let call =
            cli::connection::Call::get("/api/v1/namespaces/default/pods/failing/log?previous=true").accept("*/*");
        let log = crate::support::connection(&cluster).send(call).await.ok()?;
        (&log.body[..] == b"batch: asked to fail\n").then_some(())
    })
    .await;
    cluster.stop().await;
}
