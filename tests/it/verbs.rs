//! The verbs that talk to a server, against a real one in another process.

use std::process::Stdio;

use testkit::{eventually, get};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::process::{Up, coracle, text};

async fn up(data: &tempfile::TempDir, more: &[&str]) -> Up {
    Up::start(data.path(), more).await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_listed_described_scaled_and_deleted() {
    let data = tempfile::tempdir().unwrap();
    let up = up(&data, &["--load", "workloads/prebuilt"]).await;
    let made = up.told("apply -f manifests/hello.yaml").await;
    assert_eq!(made, "deployment.apps/hello created\nservice/hello created\ningress.networking.k8s.io/hello created\n");
    let again = up.told("apply -f manifests/hello.yaml").await;
    assert_eq!(again, made.replace("created", "unchanged"));

    eventually("hello is ready", async || up.told("get deploy hello --no-headers").await.contains("2/2").then_some(()))
        .await;
    let table = up.told("get deploy,svc,ing").await;
    for wanted in
        ["NAME", "READY", "UP-TO-DATE", "deployment.apps/hello", "service/hello", "ClusterIP", "hello.localhost"]
    {
        assert!(table.contains(wanted), "{wanted} in {table}");
    }
    let wide = up.told("get pods -l app=hello -o wide").await;
    assert!(wide.contains("NODE") && wide.contains("IP") && wide.contains("Running"), "{wide}");
    let all = up.told("get pods -A").await;
    assert!(all.starts_with("NAMESPACE") && all.contains("default"), "{all}");
    let names = up.told("get all -o name").await;
    assert!(names.contains("deployment.apps/hello") && names.contains("pod/hello-"), "{names}");
    let json: serde_json::Value = serde_json::from_str(&up.told("get deployments.apps/hello -o json").await).unwrap();
    assert_eq!(json["spec"]["replicas"], 2);
    let yaml = up.told("get svc hello -o yaml").await;
    assert!(yaml.starts_with("apiVersion: v1\nkind: Service\n"), "{yaml}");
    let list = up.told("get pods -o json").await;
    assert!(list.contains("\"kind\": \"List\""), "{list}");

    let page = up.told("describe deploy hello").await;
    for wanted in ["Name:         hello", "Namespace:    default", "Replicas:  2", "Events:", "ScalingReplicaSet"] {
        assert!(page.contains(wanted), "{wanted} in {page}");
    }
    assert_eq!(up.told("scale deployment hello --replicas 1").await, "deployment.apps/hello scaled\n");
    eventually("one pod is left", async || {
        let names = up.told("get pods -l app=hello -o name").await;
        (names.lines().count() == 1).then_some(())
    })
    .await;
    let gone = up.told("delete -f manifests/hello.yaml").await;
    assert!(gone.contains("deployment.apps \"hello\" deleted") && gone.contains("service \"hello\" deleted"), "{gone}");
    let (code, error) = up.refused("get deploy hello").await;
    assert_eq!(
        (code, error.trim()),
        (1, "coracle: error from server (NotFound): deployments.apps \"hello\" not found")
    );
    let (_, error) = up.refused("get deploi").await;
    assert!(error.contains("doesn't have a resource type \"deploi\""), "{error}");
    let nothing = up.told("delete cm none --ignore-not-found").await;
    assert_eq!(nothing, "");
    let (code, error) = up.refused("delete cm").await;
    assert!(code == 1 && error.contains("--all"), "{error}");
    let version = up.told("version").await;
    assert!(version.contains("Server Version: v1.36"), "{version}");
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_file_becomes_a_service_with_a_url() {
    let data = tempfile::tempdir().unwrap();
    let up = up(&data, &[]).await;
    let told = up.told("run workloads/prebuilt/hello.wasm --name mine --host mine.localhost --env GREETING=Ahoy").await;
    let port = up.ingress().port();
    for wanted in ["deployment.apps/mine created", "service/mine created", "ingress.networking.k8s.io/mine created"] {
        assert!(told.contains(wanted), "{told}");
    }
    assert!(told.ends_with(&format!("http://mine.localhost:{port}/\n")), "{told}");
    let answer = eventually("it answers", async || {
        let answer = get(up.ingress(), "mine.localhost", "/").await;
        (answer.status == 200).then_some(answer.text)
    })
    .await;
    assert!(answer.starts_with("Ahoy\n"), "{answer}");

    let pushed = up.told("push workloads/prebuilt/echo.wasm team/echo:v1").await;
    assert!(pushed.starts_with("coracle.local/team/echo:v1\nsha256:"), "{pushed}");
    let images = up.told("images").await;
    let rows: Vec<&str> = images.lines().collect();
    assert!(rows[0].starts_with("IMAGE"), "{images}");
    assert!(rows.iter().any(|row| row.starts_with("coracle.local/mine") && row.contains("latest")), "{images}");
    assert!(rows.iter().any(|row| row.starts_with("coracle.local/team/echo") && row.contains("v1")), "{images}");

    // The image of a manifest may be a file beside it.
    std::fs::copy("workloads/prebuilt/batch.wasm", data.path().join("job.wasm")).unwrap();
    let manifest = data.path().join("job.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: job }\nspec:\n  restartPolicy: Never\n  containers:\n    - \
               { name: main, image: ./job.wasm, args: [primes, \"100\"] }\n";
    std::fs::write(&manifest, pod).unwrap();
    up.told(&format!("apply -f {}", manifest.display())).await;
    let yaml = up.told("get pod job -o yaml").await;
    assert!(yaml.contains("image: coracle.local/job@sha256:"), "{yaml}");
    eventually("its log is there", async || {
        let output = crate::process::run(&["logs", "job", &up.kubeconfig_argument()]).await;
        (text(&output.stdout) == "25 primes below 100\n").then_some(())
    })
    .await;
    let stamped = up.told("logs pod/job --timestamps --tail 1").await;
    assert!(stamped.ends_with("Z 25 primes below 100\n"), "{stamped}");
    let (_, error) = up.refused("push manifests/hello.yaml hello").await;
    assert!(error.contains("not a WebAssembly file") && error.contains("hello.yaml"), "{error}");
    let (_, error) = up.refused("logs nobody").await;
    assert!(error.contains("pods \"nobody\" not found"), "{error}");
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_come_from_standard_input_and_faults_are_named() {
    let data = tempfile::tempdir().unwrap();
    let up = up(&data, &["--roles", "api"]).await;
    let kubeconfig = up.kubeconfig_argument();
    let apply = async |manifest: &str| {
        let mut child = coracle(&["apply", "-f", "-", &kubeconfig])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let map =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, labels: { x: z } }\ndata: { one: \"1\", two: \"2\" }\n";
    assert_eq!(apply(map).await, (0, "configmap/a created\n".into(), String::new()));
    // What was applied before and is gone from the manifest goes; what others added stays.
    let connection = up.connection().await;
    let patch = cli::connection::Call::new(http::Method::PATCH, "/api/v1/namespaces/default/configmaps/a")
        .body("application/merge-patch+json", br#"{"data":{"three":"3"}}"#.to_vec());
    connection.send(patch).await.unwrap();
    let (code, told, error) = apply(&map.replace(", two: \"2\"", "")).await;
    assert_eq!((code, told.as_str()), (0, "configmap/a configured\n"), "{error}");
    let found = connection.json(cli::connection::Call::get("/api/v1/namespaces/default/configmaps/a")).await.unwrap();
    assert_eq!(found["data"], serde_json::json!({ "one": "1", "three": "3" }));

    let deployment = std::fs::read_to_string("manifests/hello.yaml").unwrap();
    for (manifest, wanted) in [
        ("a: b\n".to_owned(), "needs apiVersion and kind"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n".to_owned(), "tab"),
        (format!("{map}data: {{}}\n"), "duplicate"),
        (deployment.replace("replicas: 2", "replicaz: 2"), "did you mean \"replicas\"?"),
        (deployment.replace("replicas: 2", "replicas: many"), "spec.replicas"),
        ("apiVersion: v2\nkind: Unheard\nmetadata: { name: a }\n".to_owned(), "\"Unheard\""),
        (String::new(), "no objects"),
        (format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "deep"),
        (format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {} }}\n", "x".repeat(300)), "253"),
    ] {
        let (code, _, error) = apply(&manifest).await;
        assert_eq!(code, 1, "{wanted}: {error}");
        assert!(error.contains(wanted), "{wanted} in {}", error.chars().take(600).collect::<String>());
    }
    // The objects after one that is refused are still applied.
    let (code, told, error) =
        apply(&format!("{}---\n{}", map.replace("name: a", "name: A"), map.replace("name: a", "name: b"))).await;
    assert_eq!((code, told.as_str()), (1, "configmap/b created\n"), "{error}");
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_and_a_log_are_followed() {
    let data = tempfile::tempdir().unwrap();
    let up = up(&data, &["--load", "workloads/prebuilt"]).await;
    up.told("apply -f manifests/hello.yaml").await;
    let kubeconfig = up.kubeconfig_argument();
    let mut child =
        coracle(&["get", "deploy", "hello", "-w", "--no-headers", &kubeconfig]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = async |wanted: &str| {
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(wanted) {
                    return;
                }
            }
            panic!("the watch ended before {wanted}");
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("no {wanted}"));
    };
    until("2/2").await;
    up.told("scale deploy/hello --replicas=3").await;
    until("3/3").await;
    child.kill().await.unwrap();

    up.told("run coracle.local/echo --name echo").await;
    eventually("echo answers", async || {
        (get(up.ingress(), "echo.localhost", "/first").await.status == 200).then_some(())
    })
    .await;
    let mut child = coracle(&["logs", "-f", "deploy/echo", &kubeconfig]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let mut sent = 0;
    eventually("a request is seen in the log that is followed", async || {
        get(up.ingress(), "echo.localhost", &format!("/later{sent}")).await;
        sent += 1;
        let line = tokio::time::timeout(std::time::Duration::from_secs(1), lines.next_line()).await.ok()?.unwrap()?;
        seen.push(line);
        seen.iter().any(|line| line.contains("/later")).then_some(())
    })
    .await;
    child.kill().await.unwrap();
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_port_leads_into_a_pod() {
    let data = tempfile::tempdir().unwrap();
    let up = up(&data, &["--load", "workloads/prebuilt", "manifests/hello.yaml"]).await;
    let kubeconfig = up.kubeconfig_argument();
    for (target, ports) in [("deploy/hello", ":80"), ("svc/hello", ":80")] {
        let mut child = coracle(&["port-forward", target, ports, &kubeconfig]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("Forwarding from ").unwrap().split(" -> ").next().unwrap().parse().unwrap();
        for _ in 0..3 {
            let answer = get(address, "localhost", "/").await;
            assert!(answer.text.contains("pod: hello-"), "{target}: {}", answer.text);
        }
        child.kill().await.unwrap();
    }
    let (code, error) = up.refused("port-forward deploy/hello nonsense").await;
    assert!(code == 1 && error.contains("[LOCAL:]REMOTE"), "{error}");
    up.end().await;
}
