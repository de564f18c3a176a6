//! Kubernetes' Python client against a whole cluster; what it does is `python/client.py`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::process::text;
use crate::support::{root, tool, with_samples};

const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_finds_what_it_expects() {
    let cluster = with_samples(&["hello", "batch"]).await;
    let Some(packages) = tool("python/kubernetes/__init__.py") else { return };
    let mut command = Command::new("python3");
    command.arg(root().join("tests/it/python/client.py")).env("PYTHONPATH", packages.ancestors().nth(2).unwrap());
    command.env("KUBECONFIG", cluster.cluster().kubeconfig().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("the script ends").unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    cluster.stop().await;
}
