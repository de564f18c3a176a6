//! Programs in other languages than Rust, and real ones from registries, that nobody changed for Coracle. They are built and
//! fetched by `workloads/languages/build.sh`.

use std::path::PathBuf;

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::TestCluster;

use crate::support::{apply_text, connection, pod_until, root, serves, service_of, with_samples};

/// A program in `target/guests`, or nothing, said loudly. Fails when tools are required, as in CI.
fn guest(name: &str) -> Option<PathBuf> {
    let path = root().join("target/guests").join(format!("{name}.wasm"));
    if path.is_file() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CORACLE_TOOLS_REQUIRED").is_none(),
        "{} is missing; workloads/languages/build.sh makes it",
        path.display()
    );
    eprintln!("SKIPPED: {} is missing; workloads/languages/build.sh makes it", path.display());
    None
}

/// A cluster that has these programs as images; nothing when one is missing.
async fn with_guests(names: &[&str]) -> Option<TestCluster> {
    let files: Option<Vec<PathBuf>> = names.iter().map(|name| guest(name)).collect();
    let files = files?;
    let cluster = with_samples(&[]).await;
    for (name, file) in names.iter().zip(files) {
        cli::push_file(&connection(&cluster), &file, name).await.unwrap();
    }
    Some(cluster)
}

/// Runs an image as a pod with these arguments, with the files of ConfigMap `files` at `mounted`, and answers its exit code and log.
async fn run(cluster: &TestCluster, pod: &str, image: &str, args: &[&str], mounted: &str) -> (i64, String) {
    let spec = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod }, "spec": {
        "restartPolicy": "Never",
        "volumes": [{ "name": "files", "configMap": { "name": "files" } }, { "name": "out", "emptyDir": {} }],
        "containers": [{
            "name": "main", "image": format!("coracle.local/{image}"), "args": args,
            "env": [{ "name": "NAME", "value": "Coracle" }],
            "volumeMounts": [{ "name": "files", "mountPath": mounted }, { "name": "out", "mountPath": "/out" }],
        }],
    } });
    connection(cluster).json(Call::new(Method::POST, "/api/v1/namespaces/default/pods").json(&spec)).await.unwrap();
    let code = pod_until(cluster, pod, "ended", |pod| {
        pod.pointer("/status/containerStatuses/0/state/terminated/exitCode").and_then(Value::as_i64)
    })
    .await;
    let call = Call::get(format!("/api/v1/namespaces/default/pods/{pod}/log")).accept("*/*");
    let log = connection(cluster).send(call).await.unwrap();
    (code, String::from_utf8_lossy(&log.body).into_owned())
}

const FILES: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: files }
data:
  poem.txt: "three small words\n"
  in.ts: "const greet = (name: string): string => `hi ${name}`; console.log(greet('pods'));\n"
  sum.py: |
    import json, sys
    with open(sys.argv[1]) as file:
        print(json.dumps({"words": len(file.read().split())}))
    sys.exit(3)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn servers_in_javascript_and_python_answer() {
    let Some(cluster) = with_guests(&["javascript", "python"]).await else { return };
    for (name, greeting) in [("javascript", "Hello from JavaScript!\n"), ("python", "Hello from Python!\n")] {
        apply_text(&cluster, &service_of(name, name, "")).await.unwrap();
        assert_eq!(serves(&cluster, &format!("{name}.localhost"), "/").await, greeting);
        let answer = cluster.get(&format!("{name}.localhost"), "/json").await;
        let answer: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(answer["language"].as_str().unwrap().to_lowercase(), name);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_in_go_c_and_assemblyscript_have_arguments_environment_files_and_exit_codes() {
    let Some(cluster) = with_guests(&["go", "c", "assemblyscript"]).await else { return };
    apply_text(&cluster, FILES).await.unwrap();
    for (image, args, code, log) in [
        ("go", &[][..], 0, "Hello from Go, Coracle!\n"),
        ("go", &["words", "/files/poem.txt"], 0, "3\n"),
        ("go", &["exit", "7"], 7, ""),
        ("c", &["cat", "/files/poem.txt"], 0, "Hello from C, Coracle!\nthree small words\n"),
        ("c", &["exit", "7"], 7, ""),
        ("assemblyscript", &[], 0, "Hello from AssemblyScript, Coracle!\n"),
        ("assemblyscript", &["exit", "7"], 7, ""),
    ] {
        let pod = format!("{image}-{}-{code}", args.len());
        assert_eq!(run(&cluster, &pod, image, args, "/files").await, (code, log.to_owned()), "{image} {args:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_from_registries_run_unchanged() {
    let Some(cluster) = with_guests(&["cpython", "esbuild", "flite"]).await else { return };
    apply_text(&cluster, FILES).await.unwrap();
    let python = run(&cluster, "cpython", "cpython", &["/files/sum.py", "/files/poem.txt"], "/files").await;
    assert_eq!(python, (3, "{\"words\": 3}\n".to_owned()));
    // It reads every folder above its input, so that its files have to be at the root.
    let bundled = run(&cluster, "esbuild", "esbuild", &["in.ts", "--minify"], "/").await;
    assert_eq!(bundled, (0, "const greet=o=>`hi ${o}`;console.log(greet(\"pods\"));\n".to_owned()));
    let (code, log) = run(&cluster, "flite", "flite", &["-t", "hello", "-o", "/out/hello.wav"], "/files").await;
    assert_eq!(code, 0, "{log}");
    cluster.stop().await;
}
