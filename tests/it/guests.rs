//! What a component may be and do: core modules, exit codes, and the outside that it is kept from.

use cli::connection::Call;
use http::Method;
use serde_json::json;
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, pod_until, serves, service_of, with_samples};

/// A core module for WASI 0.1: writes a line and ends with a code.
fn module(text: &str, code: u32) -> Vec<u8> {
    let length = text.len();
    let wat = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00")
            (data (i32.const 16) "{text}")
            (func (export "_start")
                (i32.store (i32.const 4) (i32.const {length}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (call $exit (i32.const {code}))))"#
    );
    wat::parse_str(wat).unwrap()
}

async fn run(cluster: &TestCluster, name: &str, wasm: Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{name}.wasm"));
    std::fs::write(&path, wasm).unwrap();
    cli::push_file(&connection(cluster), &path, name).await.unwrap();
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": {
        "restartPolicy": "Never", "containers": [{ "name": "main", "image": format!("coracle.local/{name}") }],
    } });
    connection(cluster).json(Call::new(Method::POST, "/api/v1/namespaces/default/pods").json(&pod)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn core_modules_run_and_their_exit_codes_count() {
    let cluster = with_samples(&[]).await;
    for (name, code, phase) in [("fine", 0, "Succeeded"), ("failing", 5, "Failed")] {
        run(&cluster, name, module("hello from a core module", code)).await;
        let ended = pod_until(&cluster, name, phase, |pod| {
            (pod.pointer("/status/phase")? == phase)
                .then(|| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone())
        })
        .await;
        assert_eq!(ended["exitCode"], code, "{ended}");
        let call = Call::get(format!("/api/v1/namespaces/default/pods/{name}/log")).accept("*/*");
        let log = connection(&cluster).send(call).await.unwrap();
        assert_eq!(
            &log.body[..],
            b"hello from a core module\n".as_slice(),
            "{log:?}",
            log = String::from_utf8_lossy(&log.body)
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outside_is_reached_only_where_the_pod_says_so() {
    let cluster = with_samples(&["gateway", "hello"]).await;
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = outside.local_addr().unwrap();
    let mut served = tokio::task::JoinSet::new();
    served.spawn(async move {
        loop {
            let (mut stream, _) = outside.accept().await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\nthe outside";
            let mut head = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let env =
        format!("          env: [{{ name: UPSTREAMS, value: \"http://{address}/,http://hello/,http://nobody/\" }}]");
    apply_text(&cluster, &service_of("hello", "hello", "")).await.unwrap();
    apply_text(&cluster, &service_of("shut", "gateway", &env)).await.unwrap();
    let open = service_of("open", "gateway", &env).replace(
        "labels: { app: open } }\n    spec",
        "labels: { app: open }, annotations: { coracle.dev/egress: \"true\" } }\n    spec",
    );
    apply_text(&cluster, &open).await.unwrap();
    let page = async |host: &str| {
        eventually("the Service answers", async || {
            let answer = cluster.get(host, "/").await;
            answer.text.contains("Hello from WebAssembly!").then_some(answer.text)
        })
        .await
    };
    let shut = page("shut.localhost").await;
    assert!(!shut.contains("the outside"), "{shut}");
    let open = page("open.localhost").await;
    assert!(open.contains("the outside"), "{open}");
    serves(&cluster, "hello.localhost", "/").await;
    cluster.stop().await;
}
