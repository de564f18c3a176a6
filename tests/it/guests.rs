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
    for (name, code, phase) in [("fine", 0, "Succeeded"), ("failing", 42, "Failed")] {
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
async fn the_outside_is_not_reached_unless_the_pod_may() {
    let cluster = with_samples(&["gateway", "hello"]).await;
    // An address that is nobody's, for documentation: a request that went out would not come back at once.
    let upstreams = "http://203.0.113.1/,http://hello/,http://hello.default.svc.cluster.local/,http://nobody/";
    let env = format!("          env: [{{ name: UPSTREAMS, value: \"{upstreams}\" }}]");
    apply_text(&cluster, &service_of("hello", "hello", "")).await.unwrap();
    apply_text(&cluster, &service_of("shut", "gateway", &env)).await.unwrap();
    serves(&cluster, "hello.localhost", "/").await;
    let page = eventually("the Service answers", async || {
        let answer = cluster.get("shut.localhost", "/").await;
        (answer.text.matches("Hello from WebAssembly!").count() == 2).then_some(answer.text)
    })
    .await;
    let parts: Vec<&str> = page.split("== ").skip(1).collect();
    assert_eq!(parts.len(), 4, "{page}");
    assert!(parts[0].contains("failed: "), "{page}");
    assert!(parts[1].contains("Hello from") && parts[2].contains("Hello from"), "{page}");
    assert!(parts[3].contains("nobody"), "{page}");
    cluster.stop().await;
}
