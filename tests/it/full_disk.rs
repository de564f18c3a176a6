//! A disk that is full: writes are refused with a sentence that says so, everything else goes on.
#![cfg(unix)]

use std::process::Stdio;

use cli::connection::{Call, Refusal};
use http::Method;
use serde_json::{Value, json};
use testkit::{eventually, get};

use crate::process::{FREE_PORTS, Up};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The most that a file of the limited process may hold, in the blocks of 512 bytes that a shell counts in.
const BLOCKS: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_and_pods_go_on() {
    let data = tempfile::tempdir().unwrap();
    // A limit on the size of files stands for the disk: a program that ignores the signal gets an error instead.
    let mut command = tokio::process::Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$@\"");
    command.args([
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_coracle"),
        "up",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    command.args(FREE_PORTS).args(["--load", "workloads/prebuilt/hello.wasm", "manifests/hello.yaml"]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let up = Up::of(command).await.unwrap();
    let connection = up.connection().await;
    let filler = "x".repeat(900_000);
    let mut kept = 0;
    let refusal = eventually("a write is refused", async || {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("m{kept}") }, "data": { "a": filler } });
        match connection.send(Call::new(Method::POST, MAPS).json(&map)).await {
            Ok(_) => {
                kept += 1;
                None
            }
            Err(error) => Some(error.downcast::<Refusal>().unwrap()),
        }
    })
    .await;
    assert!(kept > 0);
    assert!(refusal.message.contains("the disk that holds the store is full"), "{refusal}");
    // Once refused, always refused: no write slips in half.
    let small = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("m{kept}") }, "data": { "a": filler } });
    assert!(connection.send(Call::new(Method::POST, MAPS).json(&small)).await.is_err());
    let list = connection.json(Call::get(MAPS)).await.unwrap();
    let names = list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str());
    assert_eq!(names.filter(|name| name.starts_with('m')).count(), kept);
    assert_eq!(get(up.ingress(), "hello.localhost", "/").await.status, 200);
    let ready = connection.send(Call::get("/livez").accept("*/*")).await.unwrap();
    assert_eq!(&ready.body[..], b"ok");
    up.kill().await;

    // With room again, everything that was acknowledged is there, and nothing else.
    let up = Up::start(data.path(), &["--roles", "api"]).await;
    let connection = up.connection().await;
    let list = connection.json(Call::get(MAPS)).await.unwrap();
    let items = list["items"].as_array().unwrap();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    let names: Vec<String> = items.iter().map(name).filter(|name| name.starts_with('m')).collect();
    assert_eq!(names.len(), kept, "{names:?}");
    connection.send(Call::new(Method::POST, MAPS).json(&small)).await.unwrap();
    up.end().await;
}
