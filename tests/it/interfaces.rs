//! What a pod spec grants, from annotation to guest: configuration, stores, the request to stop, and servers of WASI 0.3.

use serde_json::Value;
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, events_of, pod_until, serves, with_samples};

async fn log(cluster: &TestCluster, pod: &str) -> String {
    let path = format!("/api/v1/namespaces/default/pods/{pod}/log");
    let answer = connection(cluster).send(cli::connection::Call::get(path).accept("*/*")).await;
    answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default()
}

fn keeper(name: &str, annotations: &str, args: &str) -> String {
    format!(
        r#"
---
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, annotations: {{ {annotations} }} }}
spec:
  restartPolicy: Never
  volumes: [{{ name: data, emptyDir: {{}} }}]
  containers:
    - name: main
      image: coracle.local/keeper
      imagePullPolicy: IfNotPresent
      args: {args}
      volumeMounts: [{{ name: data, mountPath: /data }}]
"#
    )
}

async fn waits(cluster: &TestCluster, pod: &str) -> (String, String) {
    pod_until(cluster, pod, "it waits", |pod| {
        let waiting = pod.pointer("/status/containerStatuses/0/state/waiting")?;
        let text = |key: &str| waiting[key].as_str().unwrap_or_default().to_owned();
        Some((text("reason"), text("message"))).filter(|(reason, _)| reason.starts_with("Create"))
    })
    .await
}

async fn code(cluster: &TestCluster, pod: &str) -> Value {
    pod_until(cluster, pod, "it has ended", |pod| {
        pod.pointer("/status/containerStatuses/0/state/terminated/exitCode").cloned()
    })
    .await
}

const SOURCES: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: app }
data: { colour: green, size: small }
---
apiVersion: v1
kind: Secret
metadata: { name: app-login }
stringData: { size: secret }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_grants_its_program_has_and_nothing_else() {
    let cluster = with_samples(&["keeper"]).await;
    apply_text(&cluster, SOURCES).await.unwrap();
    let all = "coracle.dev/config: 'configmap/app,secret/app-login', coracle.dev/keyvalue: default, \
               coracle.dev/blobstore: files=/data, coracle.dev/logging: info";
    let pods = [
        keeper("poor", "coracle.dev/config: configmap/app", "[]"),
        keeper("astray", &all.replace("=/data", "=/elsewhere"), "[]"),
        keeper("lost", &all.replace("configmap/app", "configmap/none"), "[]"),
        keeper(
            "rich",
            all,
            "['config:colour', 'config:size', 'set::name:coracle', 'put:files:a/one:some bytes', 'list:files', 'log:error:said']",
        ),
    ];
    apply_text(&cluster, &pods.concat()).await.unwrap();

    let wanted = [
        ("poor", "coracle.dev/keyvalue: \"default\""),
        ("astray", "no volume is mounted at /elsewhere"),
        ("lost", "configmap \"none\" not found"),
    ];
    for (pod, text) in wanted {
        let (reason, message) = waits(&cluster, pod).await;
        assert_eq!(reason, "CreateContainerConfigError", "{pod}: {message}");
        assert!(message.contains(text), "{pod}: {message}");
        let events = eventually("it is told", async || {
            let events = events_of(&cluster, pod).await;
            events.iter().any(|event| event["reason"] == "Failed").then_some(events)
        })
        .await;
        assert!(!events.iter().any(|event| event["reason"] == "Created"), "{pod} was not created: {events:?}");
    }
    assert_eq!(code(&cluster, "rich").await, 0, "{}", log(&cluster, "rich").await);
    let lines = "Some(\"green\")\nSome(\"secret\")\n[\"a/one\"], ended: true\nERROR keeper: said\n";
    assert_eq!(log(&cluster, "rich").await, lines);

    // The store is the namespace's: another pod finds what this one wrote.
    apply_text(&cluster, &keeper("heir", all, "['get::name']")).await.unwrap();
    assert_eq!(code(&cluster, "heir").await, 0, "{}", log(&cluster, "heir").await);
    assert_eq!(log(&cluster, "heir").await, "Some(\"coracle\")\n");
    cluster.stop().await;
}

const NEXT: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: hello3, labels: { app: hello3 }, annotations: { coracle.dev/reuse: "true" } }
spec:
  containers: [{ name: main, image: coracle.local/hello3, imagePullPolicy: IfNotPresent, ports: [{ containerPort: 80 }] }]
---
apiVersion: v1
kind: Service
metadata: { name: hello3 }
spec: { selector: { app: hello3 }, ports: [{ port: 80 }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: hello3 }
spec:
  rules:
    - host: hello3.localhost
      http:
        paths: [{ path: /, pathType: Prefix, backend: { service: { name: hello3, port: { number: 80 } } } }]
---
apiVersion: v1
kind: Pod
metadata: { name: steps3 }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 3600
  containers:
    - name: main
      image: coracle.local/steps3
      imagePullPolicy: IfNotPresent
      args: ["say:up", "until-stopped", "say:tidy", "exit:0"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_a_command_of_wasi_0_3_are_pods_like_others() {
    let cluster = with_samples(&["hello3", "steps3"]).await;
    apply_text(&cluster, NEXT).await.unwrap();
    assert!(serves(&cluster, "hello3.localhost", "/").await.starts_with("Hello from WASI 0.3 at hello3.localhost"));
    // All of these are in one instance: each answers once the others are there.
    let together = futures::future::join_all((0..9).map(|_| cluster.get("hello3.localhost", "/together/10"))).await;
    assert!(together.iter().all(|answer| answer.status == 200), "{together:?}");

    eventually("it waits", async || log(&cluster, "steps3").await.contains("up").then_some(())).await;
    let client = cluster.client();
    let pods = kube_pods(&client);
    // Its hour of grace is not waited for: it hears that it should stop.
    pods.delete("steps3", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("it is gone", async || pods.get_opt("steps3").await.ok()?.is_none().then_some(())).await;
    cluster.stop().await;
}

fn kube_pods(client: &kube::Client) -> kube::Api<k8s_openapi::api::core::v1::Pod> {
    kube::Api::default_namespaced(client.clone())
}
