//! `coracle up` as a person starts it: exit codes, messages, the table, and what is there after a restart.

use std::path::Path;

use testkit::{eventually, get};

use crate::process::{FREE_PORTS, Up, refused, run, text, told};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_exits_with_two_and_says_what_is_wrong() {
    let data = folder();
    let data = data.path().to_str().unwrap();
    let rows: [(&[&str], &str); 9] = [
        (&["up", "--roles", "api,worker"], "there is no role \"worker\""),
        (&["up", "--roles", ","], "choose from api, controllers, scheduler, node, ingress"),
        (&["up", "--roles", "node,ingress"], "--server-kubeconfig FILE"),
        (&["up", "--api-listen", "nowhere"], "--api-listen"),
        (&["up", "no-such-manifest.yaml"], "there is no no-such-manifest.yaml"),
        (&["up", "--log", "=="], "--log info"),
        (&["up", "--ephemeral"], "--data-dir"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["get"], "TYPE"),
    ];
    for (arguments, wanted) in rows {
        let mut arguments = arguments.to_vec();
        if arguments[0] == "up" {
            arguments.extend(["--data-dir", data]);
        }
        let (code, error) = refused(&arguments).await;
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_names_the_option_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--api-listen", "--ingress-listen"] {
        let mut arguments = vec!["up", "--ephemeral"];
        arguments.extend(FREE_PORTS);
        let at = arguments.iter().position(|argument| *argument == option).unwrap();
        arguments[at + 1] = &address;
        let (code, error) = refused(&arguments).await;
        assert_eq!(code, 1, "{error}");
        assert!(error.contains(option) && error.contains(&address), "{error}");
        assert_eq!(error.trim().lines().count(), 1, "one sentence: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_the_data_folder() {
    let data = folder();
    let first = Up::start(data.path(), &["--roles", "api"]).await;
    let mut arguments = vec!["up", "--data-dir", data.path().to_str().unwrap(), "--roles", "api"];
    arguments.extend(FREE_PORTS);
    let (code, error) = refused(&arguments).await;
    assert_eq!(code, 1, "{error}");
    assert!(error.contains(&format!("process {}", first.pid())) && error.contains("--data-dir"), "{error}");
    let (code, error) = refused(&["restore", "--data-dir", data.path().to_str().unwrap()]).await;
    assert_eq!(code, 1, "{error}");
    assert!(error.contains(&first.pid().to_string()), "{error}");
    first.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_untouched_and_restore_brings_a_copy_back() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    let up = Up::start(data.path(), &["--roles", "api"]).await;
    let manifest = data.path().join("kept.yaml");
    std::fs::write(&manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: kept }\ndata: { a: b }\n").unwrap();
    let made = up.told(&format!("apply -f {}", manifest.display())).await;
    assert_eq!(made, "configmap/kept created\n");
    up.end().await;

    let store = data.path().join("store/store.redb");
    let damaged: Vec<u8> = std::fs::read(&store).unwrap().iter().map(|byte| byte ^ 0x5a).collect();
    std::fs::write(&store, &damaged).unwrap();
    let mut arguments = vec!["up", "--data-dir", path, "--roles", "api"];
    arguments.extend(FREE_PORTS);
    let (code, error) = refused(&arguments).await;
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("corrupt") && error.contains("copies") && error.contains("coracle restore"), "{error}");
    assert!(std::fs::read(&store).unwrap() == damaged, "a store that is refused is not touched");

    let restored = told(&["restore", "--data-dir", path]).await;
    assert!(restored.contains("copies"), "{restored}");
    let up = Up::start(data.path(), &["--roles", "api"]).await;
    let found = up.told("get configmap kept -o yaml").await;
    assert!(found.contains("a: b"), "{found}");
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_where_everything_is() {
    let data = folder();
    let up = Up::start(data.path(), &["--load", "workloads/prebuilt", "manifests/hello.yaml"]).await;
    let table = up.table();
    assert!(table.contains("deployment.apps/hello created"), "{table}");
    let kubeconfig = data.path().join("kubeconfig");
    assert_eq!(up.kubeconfig(), kubeconfig, "{table}");
    assert!(table.contains(&format!("export KUBECONFIG={}", kubeconfig.display())), "{table}");
    let api = up.row("API").unwrap();
    assert!(api.starts_with("https://127.0.0.1:"), "{table}");
    let ingress = up.ingress();
    assert!(table.contains(&format!("http://hello.localhost:{}/", ingress.port())), "{table}");
    assert!(!up.errors().contains("Warning"), "{}", up.errors());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&kubeconfig).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // The table is printed when the URLs answer.
    let answer = get(ingress, "hello.localhost", "/").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    up.end().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn after_control_c_everything_is_there_again() {
    let data = folder();
    let arguments = ["--load", "workloads/prebuilt", "manifests"];
    let up = Up::start(data.path(), &arguments).await;
    let scaled = up.told("scale deploy/hello --replicas=3").await;
    assert_eq!(scaled, "deployment.apps/hello scaled\n");
    eventually("three pods are available", async || {
        let table = up.told("get deploy hello --no-headers").await;
        table.contains("3/3").then_some(())
    })
    .await;
    let uid = |yaml: &str| yaml.lines().find_map(|line| line.trim().strip_prefix("uid: ").map(str::to_owned)).unwrap();
    let before = uid(&up.told("get deploy hello -o yaml").await);
    let (code, errors) = up.interrupt().await;
    assert_eq!(code, Some(0), "{errors}");

    let up = Up::start(data.path(), &arguments).await;
    let table = up.table();
    for object in ["deployment.apps/hello", "service/shop", "ingress.networking.k8s.io/hello", "pod/batch"] {
        assert!(table.contains(&format!("{object} unchanged")), "{table}");
    }
    assert_eq!(uid(&up.told("get deploy hello -o yaml").await), before);
    eventually("all three pods run again", async || {
        let table = up.told("get deploy hello --no-headers").await;
        table.contains("3/3").then_some(())
    })
    .await;
    eventually("hello and the shop answer again", async || {
        let hello = get(up.ingress(), "hello.localhost", "/").await;
        let shop = get(up.ingress(), "shop.localhost", "/").await;
        (hello.status == 200 && shop.text.contains("Three coracles")).then_some(())
    })
    .await;
    let (code, errors) = up.interrupt().await;
    assert_eq!(code, Some(0), "{errors}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_cluster_leaves_nothing() {
    let mut arguments = vec!["up", "--ephemeral"];
    arguments.extend(FREE_PORTS);
    let up = Up::started(&arguments).await.unwrap();
    let kubeconfig = up.kubeconfig().to_owned();
    assert!(kubeconfig.is_file());
    let (code, errors) = up.interrupt().await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(!kubeconfig.parent().unwrap().exists(), "{} is still there", kubeconfig.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_refused_ends_up_with_file_and_line() {
    let data = folder();
    let manifest = data.path().join("wrong.yaml");
    std::fs::write(&manifest, "---\n# one\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: Wrong_Name }\n")
        .unwrap();
    let mut arguments = vec!["up", "--ephemeral", "--roles", "api", manifest.to_str().unwrap()];
    arguments.extend(FREE_PORTS);
    let (code, error) = refused(&arguments).await;
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("wrong.yaml:") && error.contains("Wrong_Name") && error.contains("RFC 1123"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_server_needs_none() {
    let version = told(&["version", "--client"]).await;
    assert!(version.starts_with("Client Version: v"), "{version}");
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = told(&["completion", shell]).await;
        assert!(script.contains("port-forward"), "{shell}");
    }
    let data = folder();
    let path = data.path().to_str().unwrap();
    let shown = told(&["kubeconfig", "--path", "--data-dir", path]).await;
    assert_eq!(Path::new(shown.trim()), data.path().join("kubeconfig"));
    let (code, error) = refused(&["kubeconfig", "--data-dir", path]).await;
    assert_eq!(code, 1);
    assert!(error.contains("coracle up"), "{error}");
    let missing = data.path().join("none");
    let (code, error) = refused(&["get", "pods", "--kubeconfig", missing.to_str().unwrap()]).await;
    assert_eq!(code, 1);
    assert!(error.contains("cannot read") && error.contains("none"), "{error}");
    let help = text(&run(&["up", "--help"]).await.stdout);
    for option in
        ["--load", "--server-kubeconfig", "--controllers", "--node-capacity", "--tls-san", "--token-auth-file"]
    {
        assert!(help.contains(option), "{option} in {help}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_second_control_c_stops_at_once() {
    let data = folder();
    let up = Up::start(data.path(), &["--load", "workloads/prebuilt/batch.wasm"]).await;
    let manifest = data.path().join("sleeper.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: sleeper }\nspec:\n  containers:\n    - { name: main, image: \
               coracle.local/batch, imagePullPolicy: IfNotPresent, args: [sleep, \"3600\"] }\n";
    std::fs::write(&manifest, pod).unwrap();
    up.told(&format!("apply -f {}", manifest.display())).await;
    eventually("it sleeps", async || up.told("get pod sleeper").await.contains("Running").then_some(())).await;
    // The first asks the pod to end, which takes its whole grace; one that comes later does not wait for that.
    let code = up.interrupt_again_and_again().await;
    assert_eq!(code, Some(130));
    let up = Up::start(data.path(), &["--roles", "api"]).await;
    assert!(up.told("get pod sleeper").await.contains("sleeper"));
    up.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_up_are_heeded() {
    let data = folder();
    let kubeconfig = data.path().join("elsewhere/admin.conf");
    let more = [
        "--node-name",
        "boat",
        "--node-capacity",
        "cpu=3,memory=1Gi,pods=5",
        "--tls-san",
        "coracle.example",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--load",
        "workloads/prebuilt/hello.wasm",
    ];
    let up = Up::start(data.path(), &more).await;
    assert_eq!(up.kubeconfig(), kubeconfig);
    let node: serde_json::Value = serde_json::from_str(&up.told("get node boat -o json").await).unwrap();
    let capacity = &node["status"]["capacity"];
    assert_eq!((&capacity["cpu"], &capacity["memory"], &capacity["pods"]), (&"3".into(), &"1Gi".into(), &"5".into()));
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/arch"], "wasm32");
    let images = up.told("images").await;
    assert!(images.contains("coracle.local/hello"), "{images}");
    // The certificate is for that name too.
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let named = data.path().join("named.conf");
    std::fs::write(
        &named,
        text.replacen(
            "certificate-authority-data",
            "tls-server-name: coracle.example\n    certificate-authority-data",
            1,
        ),
    )
    .unwrap();
    told(&["get", "nodes", "--kubeconfig", named.to_str().unwrap()]).await;
    let wrong = text.replacen(
        "certificate-authority-data",
        "tls-server-name: other.example\n    certificate-authority-data",
        1,
    );
    std::fs::write(&named, wrong).unwrap();
    let (_, error) = refused(&["get", "nodes", "--kubeconfig", named.to_str().unwrap()]).await;
    assert!(error.contains("certificate"), "{error}");
    up.end().await;
}
