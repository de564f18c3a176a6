//! The real Helm: install, upgrade with hooks, roll back, uninstall.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{TestCluster, eventually};
use tokio::process::Command;

use crate::process::text;
use crate::support::{read, root, serves, tool, with_samples};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Helm with the administrator's kubeconfig and a home of its own.
struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: TempDir,
}

impl Helm {
    fn of(cluster: &TestCluster) -> Option<Self> {
        let kubeconfig = cluster.cluster().kubeconfig().unwrap().to_owned();
        Some(Self { program: tool("helm")?, kubeconfig, home: tempfile::tempdir().unwrap() })
    }

    async fn run(&self, line: &str) -> Output {
        eprintln!("helm {line}");
        let mut command = Command::new(&self.program);
        command.args(line.split_whitespace()).current_dir(root().join("tests/it/charts"));
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.home.path()).env("USERPROFILE", self.home.path());
        command.env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        let output = command.kill_on_drop(true).stdin(Stdio::null()).output();
        tokio::time::timeout(PATIENCE, output).await.unwrap_or_else(|_| panic!("helm {line} does not end")).unwrap()
    }

    async fn told(&self, line: &str) -> String {
        let output = self.run(line).await;
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "helm {line}\n{out}{error}");
        out
    }
}

async fn field(cluster: &TestCluster, path: &str, pointer: &str) -> Option<Value> {
    read(cluster, path).await?.pointer(pointer).cloned()
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_comes_changes_goes_back_and_goes() {
    let cluster = with_samples(&["hello", "batch"]).await;
    let Some(helm) = Helm::of(&cluster) else { return };
    let told = helm.told("install web ./shop --wait --timeout 60s").await;
    assert!(told.contains("STATUS: deployed") && told.contains("http://chart.localhost"), "{told}");
    assert_eq!(field(&cluster, DEPLOYMENT, "/status/readyReplicas").await, Some(2.into()));
    serves(&cluster, "chart.localhost", "/").await;

    helm.told("upgrade web ./shop --set replicas=3 --set greeting=moin --wait --timeout 60s").await;
    assert_eq!(field(&cluster, DEPLOYMENT, "/status/updatedReplicas").await, Some(3.into()));
    // Hooks ran before and after.
    for hook in ["pre-install", "pre-upgrade", "post-upgrade"] {
        let job = format!("/apis/batch/v1/namespaces/default/jobs/web-{hook}");
        assert_eq!(field(&cluster, &job, "/status/succeeded").await, Some(1.into()), "{hook}");
    }
    let history = helm.told("history web").await;
    assert!(history.contains("superseded") && history.contains("Upgrade complete"), "{history}");
    assert!(helm.told("get manifest web").await.contains("moin"));

    helm.told("rollback web 1 --wait --timeout 60s").await;
    assert_eq!(field(&cluster, DEPLOYMENT, "/spec/replicas").await, Some(2.into()));
    assert!(helm.told("status web").await.contains("REVISION: 3"));

    helm.told("uninstall web --wait --timeout 60s").await;
    eventually("the pods are gone", async || {
        let pods =
            read(&cluster, "/api/v1/namespaces/default/pods?labelSelector=app.kubernetes.io/instance%3Dweb").await?;
        pods["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
    assert!(read(&cluster, DEPLOYMENT).await.is_none());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_brings_definitions_and_roles() {
    let cluster = with_samples(&["hello"]).await;
    let Some(helm) = Helm::of(&cluster) else { return };
    helm.told("install op ./widget-operator --namespace tools --create-namespace --wait --timeout 60s").await;
    let widget = "/apis/shop.example/v1/namespaces/tools/widgets/op";
    assert_eq!(field(&cluster, widget, "/spec/color").await, Some("red".into()), "the definition's default");
    helm.told("upgrade op ./widget-operator --namespace tools --set size=5 --wait --timeout 60s").await;
    assert_eq!(field(&cluster, widget, "/spec/size").await, Some(5.into()));
    let refused = helm.run("upgrade op ./widget-operator --namespace tools --set size=0").await;
    let why = text(&refused.stderr);
    assert!(!refused.status.success() && why.contains("should be greater than or equal to 1"), "{why}");
    helm.told("uninstall op --namespace tools --wait").await;
    assert!(read(&cluster, widget).await.is_none());
    // Helm never deletes definitions.
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.shop.example";
    assert!(read(&cluster, definition).await.is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_jobs_are_waited_for() {
    let cluster = with_samples(&["hello", "batch"]).await;
    let Some(helm) = Helm::of(&cluster) else { return };
    helm.told("install night ./nightly --wait --wait-for-jobs --timeout 90s").await;
    let job = "/apis/batch/v1/namespaces/default/jobs/night";
    assert_eq!(field(&cluster, job, "/status/succeeded").await, Some(3.into()));
    let set = "/apis/apps/v1/namespaces/default/statefulsets/night";
    assert_eq!(field(&cluster, set, "/status/readyReplicas").await, Some(2.into()));
    helm.told("uninstall night --wait --timeout 60s").await;
    cluster.stop().await;
}
