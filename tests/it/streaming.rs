//! Whatever goes through the API server to a pod or to another server: exec, attach, cp, proxies, figures, aggregated
//! APIs; with the real kubectl and with kube-rs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;

use http_body_util::Full;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, LogParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use testkit::{TestCluster, eventually, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kubectl::Kubectl;
use crate::process::text;
use crate::support::{connection, read, with_samples};

/// A program in wasm: alone it sleeps for ever; with one argument it copies its input to its output; with more it fails.
const PROGRAM: &str = r#"
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "it is up\n")
  (data (i32.const 540) "failing\n")
  (func $print (param $stream i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $length))
    (drop (call $write (local.get $stream) (i32.const 16) (i32.const 1) (i32.const 28))))
  (func $sleep
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 200000000))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192))))
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (if (i32.eq (i32.load (i32.const 0)) (i32.const 1)) (then
      (loop $again
        (call $print (i32.const 1) (i32.const 512) (i32.const 9))
        (call $sleep)
        (br $again))))
    (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 2)) (then
      (call $print (i32.const 2) (i32.const 540) (i32.const 8))
      (call $exit (i32.const 1))))
    (loop $copy
      (i32.store (i32.const 16) (i32.const 1024))
      (i32.store (i32.const 20) (i32.const 4096))
      (if (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)) (then (call $exit (i32.const 0))))
      (if (i32.eqz (i32.load (i32.const 24))) (then (call $exit (i32.const 0))))
      (call $print (i32.const 1) (i32.const 1024) (i32.load (i32.const 24)))
      (br $copy))))
"#;

async fn with_program() -> TestCluster {
    let cluster = with_samples(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.wasm");
    std::fs::write(&path, wat::parse_str(PROGRAM).unwrap()).unwrap();
    cli::push_file(&connection(&cluster), &path, "program").await.unwrap();
    cluster
}

async fn started(cluster: &TestCluster, kubectl: &Kubectl) {
    kubectl.told("run box --image=coracle.local/program --restart=Never").await;
    eventually("the pod runs", async || {
        let pod = read(cluster, "/api/v1/namespaces/default/pods/box").await?;
        (pod["status"]["phase"] == "Running").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_run_in_a_container() {
    let cluster = with_program().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    started(&cluster, &kubectl).await;

    for websockets in ["true", "false"] {
        let mut child = kubectl
            .command("exec -i box -- box copy")
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let sent = "a line\n".repeat(20_000);
        let writing = async move {
            input.write_all(sent.as_bytes()).await.unwrap();
            drop(input);
            sent
        };
        let (sent, output) = tokio::join!(writing, child.wait_with_output());
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(output.stdout.len(), sent.len());
    }

    // Both ways that kubectl can speak.
    for websockets in ["true", "false"] {
        let mut command = kubectl.command("exec box -- box this fails");
        let failed = command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets).output().await.unwrap();
        assert_eq!(failed.status.code(), Some(1));
        let error = text(&failed.stderr);
        assert!(error.contains("failing") && error.contains("command terminated with exit code 1"), "{error}");
    }
    let error = kubectl.refused("exec box -c other -- box").await;
    assert!(error.contains("container other is not valid for pod box"), "{error}");
    let missing = kubectl.run("cp box:/nothing nothing").await;
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let said = text(&missing.stdout);
    assert!(said.contains("tar: /nothing: No such file or directory"), "{said}");
    let mut attached = kubectl.start("attach box");
    attached.until("it is up").await;
    attached.end().await;

    let mut child = kubectl
        .command("run piped -i --restart=Never --image=coracle.local/program -- copy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"through the server\n").await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("through the server"), "{}", text(&output.stdout));

    let kubeconfig = Kubeconfig::read_from(cluster.cluster().kubeconfig().unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
    let mut process = pods.exec("box", ["box", "copy"], &AttachParams::default().stdin(true)).await.unwrap();
    process.stdin().unwrap().write_all(b"hello").await.unwrap();
    let mut out = process.stdout().unwrap();
    let mut heard = [0; 5];
    out.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    process.abort();
    let mut failing = pods.exec("box", ["box", "a", "b"], &AttachParams::default()).await.unwrap();
    let status = failing.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"), "{status:?}");
    let lines = pods.logs("box", &LogParams { tail_lines: Some(1), ..LogParams::default() }).await.unwrap();
    assert_eq!(lines, "it is up\n", "what exec prints is in nobody's log");
    kubectl.told("delete pod box --now").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_goes_through_the_server_to_pods() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("apply -f manifests/hello.yaml").await;
    kubectl.told("rollout status deploy/hello --timeout=60s").await;
    let pod = kubectl.told("get pods -l app=hello -o jsonpath={.items[0].metadata.name}").await;
    let node = kubectl.told("get nodes -o jsonpath={.items[0].metadata.name}").await;
    let base = "get --raw /api/v1/namespaces/default";
    for (path, wanted) in [
        (format!("{base}/services/hello:http/proxy/"), "pod: hello-"),
        (format!("{base}/services/hello:80/proxy/"), "pod: hello-"),
        (format!("{base}/pods/{pod}/proxy/"), "pod: hello-"),
        (format!("{base}/pods/{pod}:80/proxy/"), "pod: hello-"),
        (format!("get --raw /api/v1/nodes/{node}/proxy/healthz"), "ok"),
        (format!("get --raw /api/v1/nodes/{node}/proxy/stats/summary"), "usageNanoCores"),
        (format!("get --raw /api/v1/nodes/{node}/proxy/pods"), pod.as_str()),
    ] {
        let found = kubectl.told(&path).await;
        assert!(found.contains(wanted), "{path}: {found}");
    }
    let error = kubectl.refused(&format!("{base}/services/hello:nothing/proxy/")).await;
    assert!(error.contains("no endpoints available for service \"hello:nothing\""), "{error}");
    kubectl.told("create service clusterip empty --tcp=80:80").await;
    let error = kubectl.refused(&format!("{base}/services/empty:80/proxy/")).await;
    assert!(error.contains("no endpoints available for service \"empty\""), "{error}");

    let mut proxy = kubectl.start("proxy --port=0");
    let line = proxy.until("Starting to serve on ").await;
    let address: SocketAddr = line.split_whitespace().last().unwrap().parse().unwrap();
    let answer = get(address, "localhost", "/api/v1/namespaces/default/services/hello:http/proxy/").await;
    assert!(answer.text.contains("pod: hello-"), "{}", answer.text);
    proxy.end().await;

    let nodes = kubectl.told("top nodes").await;
    assert!(nodes.contains("CPU(cores)") && nodes.contains(&node), "{nodes}");
    let pods = kubectl.told("top pods --containers").await;
    assert!(pods.contains("MEMORY(bytes)") && pods.contains(&pod), "{pods}");
    kubectl.until("get apiservices v1.apps v1.", "Local").await;
    cluster.stop().await;
}

/// An address of this machine that is not loopback, which Endpoints may not hold.
fn outside() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: this only asks which way a packet would go.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// A server outside of the cluster that serves `things.io/v1`.
#[allow(clippy::disallowed_methods, reason = "a server of the test's own is no task of the cluster")]
async fn things(ip: IpAddr) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["things.default.svc".to_owned()]).unwrap();
    let chain = vec![key.cert.der().clone()];
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let user = request.headers().get("x-remote-user").map_or("", |user| user.to_str().unwrap());
                    let body = match request.uri().path() {
                        "/apis/things.io/v1" => json!({
                            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "things.io/v1",
                            "resources": [{
                                "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing",
                                "verbs": ["get", "list"],
                            }],
                        }),
                        _ => json!({
                            "kind": "ThingList", "apiVersion": "things.io/v1", "metadata": {},
                            "items": [{ "kind": "Thing", "apiVersion": "things.io/v1", "metadata": { "name": "seen-by", "namespace": "default", "annotations": { "user": user } } }],
                        }),
                    };
                    let response = http::Response::builder().header("content-type", "application/json");
                    response.body(Full::new(bytes::Bytes::from(body.to_string())))
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_of_another_server_is_served() {
    let cluster = with_samples(&[]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let Some(ip) = outside() else { return };
    let (address, serving) = things(ip).await;
    let manifest = kubectl.file(
        "things.yaml",
        &format!(
            r#"
apiVersion: v1
kind: Service
metadata: {{ name: things }}
spec: {{ ports: [{{ port: 443, targetPort: {port} }}] }}
---
apiVersion: v1
kind: Endpoints
metadata: {{ name: things }}
subsets: [{{ addresses: [{{ ip: {ip} }}], ports: [{{ port: {port} }}] }}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{ name: v1.things.io }}
spec:
  group: things.io
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{ name: things, namespace: default }}
"#,
            port = address.port(),
            ip = address.ip(),
        ),
    );
    kubectl.told(&format!("apply -f {manifest}")).await;
    kubectl.until("get apiservice v1.things.io", "True").await;
    kubectl
        .table(&[
            ("wait --for=condition=Available apiservice/v1.things.io --timeout=30s", &["condition met"]),
            ("api-resources --api-group=things.io", &["things", "Thing"]),
            ("get things -o jsonpath={.items[0].metadata.annotations.user}", &["admin"]),
        ])
        .await;
    kubectl.told("delete endpoints things").await;
    kubectl.told("delete endpointslices -l kubernetes.io/service-name=things").await;
    kubectl.until("get apiservice v1.things.io", "False").await;
    let error = kubectl.refused("get --raw /apis/things.io/v1/things").await;
    assert!(error.contains("the server is currently unable to handle the request"), "{error}");
    serving.abort();
    cluster.stop().await;
}
