//! The life of a pod: environment, probes, restarts, its end.

use cli::connection::Call;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{TestCluster, eventually, get};

use crate::support::{apply_text, connection, events_of, pod_until, read, serves, service_of, told, with_samples};

/// A pod of one container with these fields in flow style.
fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, labels: {{ app: {name} }} }}\nspec:\n  {spec}\n  containers:\n    \
         - {{ name: main, imagePullPolicy: IfNotPresent, {container} }}\n"
    )
}

async fn log(cluster: &TestCluster, name: &str) -> String {
    let call = Call::get(format!("/api/v1/namespaces/default/pods/{name}/log")).accept("*/*");
    let answer = connection(cluster).send(call).await.unwrap();
    String::from_utf8_lossy(&answer.body).into_owned()
}

async fn phase(cluster: &TestCluster, name: &str, wanted: &str) -> Value {
    pod_until(cluster, name, wanted, |pod| (pod.pointer("/status/phase")? == wanted).then(|| pod["status"].clone()))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_comes_from_everywhere_that_a_pod_may_name() {
    let cluster = with_samples(&["batch"]).await;
    let objects = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { colour: green, SIZE: large, bad-name.: dropped }
---
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { password: hunter2 }
---
apiVersion: v1
kind: Pod
metadata: { name: speaker, labels: { team: red }, annotations: { note: hi } }
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: coracle.local/batch
      imagePullPolicy: IfNotPresent
      resources: { limits: { memory: 32Mi } }
      envFrom:
        - configMapRef: { name: settings }
          prefix: S_
        - secretRef: { name: none, optional: true }
      env:
        - { name: PLAIN, value: one }
        - { name: COLOUR, valueFrom: { configMapKeyRef: { name: settings, key: colour } } }
        - { name: PASSWORD, valueFrom: { secretKeyRef: { name: keys, key: password } } }
        - { name: POD, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
        - { name: TEAM, valueFrom: { fieldRef: { fieldPath: "metadata.labels['team']" } } }
        - { name: ADDRESS, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
        - { name: MEMORY, valueFrom: { resourceFieldRef: { resource: limits.memory, divisor: 1Mi } } }
        - { name: MAYBE, valueFrom: { configMapKeyRef: { name: settings, key: none, optional: true } } }
        - { name: BOTH, value: "$(PLAIN)+$(POD)" }
      args: ["$(BOTH) $(COLOUR) $(PASSWORD) $(TEAM) $(S_SIZE) $(MEMORY) $(ADDRESS) $(MAYBE) $$(PLAIN) $(UNKNOWN)"]
"#;
    apply_text(&cluster, objects).await.unwrap();
    let status = phase(&cluster, "speaker", "Failed").await;
    let address = status["podIP"].as_str().unwrap();
    let wanted = format!("one+speaker green hunter2 red large 32 {address} $(MAYBE) $(PLAIN) $(UNKNOWN);");
    let text = log(&cluster, "speaker").await;
    assert!(text.contains(&wanted), "{wanted}\n{text}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_ends_as_its_restart_policy_says() {
    let cluster = with_samples(&["batch"]).await;
    for (name, policy, args) in [
        ("never-good", "Never", "[primes, \"10\"]"),
        ("never-bad", "Never", "[fail, \"1\"]"),
        ("failure-good", "OnFailure", "[primes, \"10\"]"),
        ("failure-bad", "OnFailure", "[fail, \"1\"]"),
        ("always-good", "Always", "[primes, \"10\"]"),
    ] {
        let spec = format!("restartPolicy: {policy}");
        apply_text(&cluster, &pod(name, &spec, &format!("image: coracle.local/batch, args: {args}"))).await.unwrap();
    }
    for (name, wanted, reason, code) in [
        ("never-good", "Succeeded", "Completed", 0),
        ("never-bad", "Failed", "Error", 1),
        ("failure-good", "Succeeded", "Completed", 0),
    ] {
        let status = phase(&cluster, name, wanted).await;
        let container = &status["containerStatuses"][0];
        let ended = &container["state"]["terminated"];
        assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!(reason), &json!(code)), "{name}: {container}");
        assert_eq!(
            (&container["restartCount"], &container["ready"]),
            (&json!(0), &json!(false)),
            "{name}: {container}"
        );
        assert!(ended["startedAt"].is_string() && ended["finishedAt"].is_string(), "{name}: {container}");
    }
    for name in ["failure-bad", "always-good"] {
        pod_until(&cluster, name, "it is started again", |pod| {
            let status = pod.pointer("/status/containerStatuses/0")?;
            let ended = status.pointer("/lastState/terminated").is_some();
            (status["restartCount"].as_u64()? >= 1 || ended).then_some(())
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_first_and_one_after_the_other() {
    let cluster = with_samples(&["batch", "hello"]).await;
    let init = |name: &str, args: &str| {
        format!("    - {{ name: {name}, image: coracle.local/batch, imagePullPolicy: IfNotPresent, args: {args} }}\n")
    };
    let spec = |second: &str| {
        format!("restartPolicy: Never\n  initContainers:\n{}{}", init("one", "[primes, \"10\"]"), init("two", second))
    };
    let container = "image: coracle.local/hello";
    apply_text(&cluster, &pod("good", spec("[primes, \"100\"]").trim_end(), container)).await.unwrap();
    apply_text(&cluster, &pod("bad", spec("[fail, \"1\"]").trim_end(), container)).await.unwrap();
    let status = pod_until(&cluster, "good", "it runs", |pod| {
        (pod.pointer("/status/phase")? == "Running").then(|| pod["status"].clone())
    })
    .await;
    for init in status["initContainerStatuses"].as_array().unwrap() {
        assert_eq!(init["state"]["terminated"]["reason"], "Completed", "{init}");
    }
    let status = phase(&cluster, "bad", "Failed").await;
    assert!(status["containerStatuses"][0]["state"]["waiting"].is_object(), "{status}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_who_is_ready_and_who_is_started_again() {
    let cluster = with_samples(&["chaos"]).await;
    let probe = |kind: &str, check: &str| {
        format!(
            "image: coracle.local/chaos, ports: [{{ name: http, containerPort: 80 }}], {kind}: {{ {check}, periodSeconds: 1, failureThreshold: 1 }}"
        )
    };
    for (name, kind, check) in [
        ("ready-http", "readinessProbe", "httpGet: { path: /, port: http }"),
        ("ready-tcp", "readinessProbe", "tcpSocket: { port: 80 }"),
        ("unready-http", "readinessProbe", "httpGet: { path: /trap, port: 80 }"),
        ("unready-tcp", "readinessProbe", "tcpSocket: { port: 81 }"),
        ("dying", "livenessProbe", "httpGet: { path: /trap, port: 80 }"),
        ("unstarted", "startupProbe", "httpGet: { path: /trap, port: 80 }"),
    ] {
        apply_text(&cluster, &pod(name, "terminationGracePeriodSeconds: 1", &probe(kind, check))).await.unwrap();
    }
    let condition = |pod: &Value, kind: &str| {
        let rows = pod.pointer("/status/conditions")?.as_array()?;
        rows.iter().find(|row| row["type"] == kind).map(|row| row["status"] == "True")
    };
    for name in ["ready-http", "ready-tcp"] {
        pod_until(&cluster, name, "it is ready", |pod| condition(pod, "Ready")?.then_some(())).await;
    }
    for name in ["unready-http", "unready-tcp"] {
        told(&cluster, name, "Unhealthy", "Readiness probe failed: ").await;
        let pod = read(&cluster, &format!("/api/v1/namespaces/default/pods/{name}")).await.unwrap();
        assert_eq!(condition(&pod, "Ready"), Some(false), "{}", pod["status"]);
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        assert_eq!(pod["status"]["containerStatuses"][0]["started"], true);
    }
    for (name, what) in [("dying", "Liveness"), ("unstarted", "Startup")] {
        pod_until(&cluster, name, "it is started again", |pod| {
            (pod.pointer("/status/containerStatuses/0/restartCount")?.as_u64()? >= 1).then_some(())
        })
        .await;
        told(&cluster, name, "Unhealthy", &format!("{what} probe failed: ")).await;
        told(&cluster, name, "Killing", "will be restarted").await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_end_before_their_pod() {
    let cluster = with_samples(&["chaos"]).await;
    apply_text(&cluster, &service_of("chaos", "chaos", "")).await.unwrap();
    serves(&cluster, "chaos.localhost", "/").await;
    let ingress = cluster.ingress();
    let path = "/api/v1/namespaces/default/pods?labelSelector=app%3Dchaos";
    let pods = read(&cluster, path).await.unwrap();
    let name = pods["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let mut flights = tokio::task::JoinSet::new();
    for _ in 0..3 {
        flights.spawn(async move { get(ingress, "chaos.localhost", "/spin?ms=1500").await });
    }
    // The log of the node is not asked when they have begun: a request that comes later is served by the successor.
    tokio::task::yield_now().await;
    let call = Call::new(Method::DELETE, format!("/api/v1/namespaces/default/pods/{name}"));
    let deleted = connection(&cluster).json(call).await.unwrap();
    assert!(deleted["metadata"]["deletionTimestamp"].is_string(), "{deleted}");
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 30);
    let mut statuses = Vec::new();
    while let Some(answer) = flights.join_next().await {
        statuses.push(answer.unwrap().status);
    }
    assert!(
        statuses.iter().all(|status| *status == StatusCode::OK || *status == StatusCode::SERVICE_UNAVAILABLE),
        "{statuses:?}"
    );
    assert!(statuses.contains(&StatusCode::OK), "{statuses:?}");
    eventually("the pod is gone", async || {
        read(&cluster, &format!("/api/v1/namespaces/default/pods/{name}")).await.is_none().then_some(())
    })
    .await;
    serves(&cluster, "chaos.localhost", "/").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_its_grace_and_no_more() {
    let cluster = with_samples(&["batch"]).await;
    let sleeper = "image: coracle.local/batch, args: [sleep, \"3600\"]";
    for (name, grace) in
        [("patient", "terminationGracePeriodSeconds: 1"), ("forced", "terminationGracePeriodSeconds: 3000")]
    {
        apply_text(&cluster, &pod(name, grace, sleeper)).await.unwrap();
        phase(&cluster, name, "Running").await;
    }
    let delete = |name: &str, options: Value| {
        Call::new(Method::DELETE, format!("/api/v1/namespaces/default/pods/{name}")).json(&options)
    };
    connection(&cluster).send(delete("patient", json!({}))).await.unwrap();
    connection(&cluster).send(delete("forced", json!({ "gracePeriodSeconds": 0 }))).await.unwrap();
    for name in ["patient", "forced"] {
        eventually("the pod is gone", async || {
            read(&cluster, &format!("/api/v1/namespaces/default/pods/{name}")).await.is_none().then_some(())
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_says_what_happened_to_it() {
    let cluster = with_samples(&["hello"]).await;
    apply_text(&cluster, &pod("plain", "restartPolicy: Always", "image: coracle.local/hello")).await.unwrap();
    let pod = pod_until(&cluster, "plain", "it is ready", |pod| {
        let rows = pod.pointer("/status/conditions")?.as_array()?;
        rows.iter().any(|row| row["type"] == "Ready" && row["status"] == "True").then(|| pod.clone())
    })
    .await;
    let status = &pod["status"];
    let kinds: Vec<&str> =
        status["conditions"].as_array().unwrap().iter().filter_map(|row| row["type"].as_str()).collect();
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    assert_eq!((&status["phase"], &status["qosClass"]), (&json!("Running"), &json!("BestEffort")), "{status}");
    for field in ["podIP", "hostIP", "startTime"] {
        assert!(status[field].is_string(), "{field} in {status}");
    }
    let container = &status["containerStatuses"][0];
    assert!(container["imageID"].as_str().unwrap().contains("sha256:"), "{container}");
    assert!(container["containerID"].as_str().unwrap().contains("://"), "{container}");
    assert!(container["state"]["running"]["startedAt"].is_string(), "{container}");
    assert!(pod["spec"]["nodeName"].is_string());
    let reasons = eventually("every step has its event", async || {
        let events = events_of(&cluster, "plain").await;
        let reasons: Vec<String> =
            events.iter().filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect();
        ["Scheduled", "Pulled", "Created", "Started"]
            .iter()
            .all(|reason| reasons.iter().any(|r| r == reason))
            .then_some(reasons)
    })
    .await;
    assert!(!reasons.is_empty());
    cluster.stop().await;
}
