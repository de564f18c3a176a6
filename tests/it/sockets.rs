//! Programs with sockets: servers behind Services, clients by name, forwarded ports, neighbours in a pod, and the outside.

use serde_json::Value;
use testkit::{TestCluster, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kubectl::Kubectl;
use crate::support::{apply_files, apply_text, connection, pod_until, root, serves, told, with_samples};

async fn log(cluster: &TestCluster, pod: &str, container: &str) -> String {
    let path = format!("/api/v1/namespaces/default/pods/{pod}/log?container={container}");
    // There is none before the container has run.
    let answer = connection(cluster).send(cli::connection::Call::get(path).accept("*/*")).await;
    answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default()
}

/// A command that runs once.
fn client(name: &str, annotations: &str, args: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, annotations: {{ {annotations} }} }}
spec:
  restartPolicy: Never
  containers: [{{ name: main, image: coracle.local/tcp-echo, imagePullPolicy: IfNotPresent, args: {args} }}]
"#
    )
}

async fn ended(cluster: &TestCluster, pod: &str) -> Value {
    pod_until(cluster, pod, "it has ended", |pod| {
        pod.pointer("/status/containerStatuses/0/state/terminated/exitCode").cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_sockets_stands_behind_a_service() {
    let cluster = with_samples(&["tcp-echo"]).await;
    apply_files(&cluster, &[&root().join("manifests/tcp-echo.yaml")]).await.unwrap();
    let client = eventually("the client has its answer", async || {
        let path = "/api/v1/namespaces/default/pods?labelSelector=job-name%3Dtcp-client";
        let pods = crate::support::read(&cluster, path).await?;
        let done = |pod: &&Value| pod.pointer("/status/phase").is_some_and(|phase| phase == "Succeeded");
        pods["items"].as_array()?.iter().find(done).map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
    })
    .await;
    assert_eq!(log(&cluster, &client, "client").await, "hello over a socket\n");

    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("rollout status deploy/tcp-echo --timeout=60s").await;
    let mut forward = kubectl.start("port-forward service/tcp-echo :7000");
    let line = forward.until("Forwarding from 127.0.0.1:").await;
    let address = line.split_whitespace().nth(2).unwrap().to_owned();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let data: Vec<u8> = (0..300_000u32).map(|index| index as u8).collect();
        let (mut reader, mut writer) = stream.split();
        let mut back = vec![0; data.len()];
        let (sent, read) = tokio::join!(writer.write_all(&data), reader.read_exact(&mut back));
        sent.unwrap();
        read.unwrap();
        assert!(back == data);
    }
    forward.end().await;
    cluster.stop().await;
}

const NEIGHBOURS: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: neighbours, labels: { app: neighbours } }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: server
      image: coracle.local/tcp-echo
      imagePullPolicy: IfNotPresent
      args: [http, "8080"]
      ports: [{ containerPort: 8080 }]
      readinessProbe: { httpGet: { path: /ready, port: 8080 }, periodSeconds: 1 }
    - name: private
      image: coracle.local/tcp-echo
      imagePullPolicy: IfNotPresent
      args: [serve, "127.0.0.1:7000"]
    - name: component
      image: coracle.local/hello
      imagePullPolicy: IfNotPresent
      ports: [{ containerPort: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: neighbours }
spec:
  selector: { app: neighbours }
  ports: [{ port: 80, targetPort: 8080 }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: neighbours }
spec:
  rules:
    - host: neighbours.localhost
      http:
        paths: [{ path: /, pathType: Prefix, backend: { service: { name: neighbours, port: { number: 80 } } } }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn http_and_sockets_meet_and_a_pods_containers_share_its_address() {
    let cluster = with_samples(&["tcp-echo", "hello"]).await;
    apply_text(&cluster, NEIGHBOURS).await.unwrap();
    let page = serves(&cluster, "neighbours.localhost", "/some/page").await;
    assert_eq!(page, "GET /some/page HTTP/1.1 for neighbours.localhost, 0 bytes\n");

    let own = NEIGHBOURS.split("---").next().unwrap();
    let client =
        "    - name: client\n      image: coracle.local/tcp-echo\n      imagePullPolicy: IfNotPresent\n      args: ";
    let with =
        |args: &str, name: &str| own.replace("name: neighbours,", &format!("name: {name},")) + client + args + "\n";
    for (name, args, wanted) in [
        ("private", "[wait, 'localhost:7000', 'between containers']", "between containers"),
        ("component", "[get, '127.0.0.1:80', /]", "Hello from WebAssembly!"),
    ] {
        // The neighbours may not be there yet: a container that fails is started again.
        let pod = with(args, name).replace("restartPolicy: Never", "restartPolicy: OnFailure");
        apply_text(&cluster, &pod.replace("app: neighbours", "app: other")).await.unwrap();
        eventually(&format!("{name} has its answer"), async || {
            log(&cluster, name, "client").await.contains(wanted).then_some(())
        })
        .await;
    }

    let ip = pod_until(&cluster, "neighbours", "it has an address", |pod| {
        Some(pod.pointer("/status/podIP")?.as_str()?.to_owned())
    })
    .await;
    for (name, port, wanted) in [("from-afar", 8080, 0), ("too-near", 7000, 1)] {
        apply_text(&cluster, &self::client(name, "", &format!("[get, '{ip}:{port}', /]"))).await.unwrap();
        assert_eq!(ended(&cluster, name).await, wanted, "{}", log(&cluster, name, "main").await);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_leave_the_cluster_is_refused_and_told_so() {
    let cluster = with_samples(&["tcp-echo"]).await;
    // Somebody on this machine is outside of the cluster.
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = outside.local_addr().unwrap().port();
    apply_text(&cluster, &client("shut", "", "[send, '203.0.113.1:80', x]")).await.unwrap();
    assert_eq!(ended(&cluster, "shut").await, 1);
    assert!(log(&cluster, "shut", "main").await.contains("connection refused"));
    let event = told(&cluster, "shut", "EgressDenied", "").await;
    assert_eq!(event["type"], "Warning");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("203.0.113.1:80") && message.contains("coracle.dev/egress: \"true\""), "{message}");

    apply_text(&cluster, &client("nameless", "", "[look-up, example.com]")).await.unwrap();
    assert_eq!(ended(&cluster, "nameless").await, 1);

    // The machine's own loopback is not the pod's, with leave or without.
    let leave = "coracle.dev/egress: 'true'";
    apply_text(&cluster, &client("own", leave, &format!("[send, '127.0.0.1:{port}', x]"))).await.unwrap();
    assert_eq!(ended(&cluster, "own").await, 1);
    cluster.stop().await;
}
