//! What a cluster does while nothing happens: hours of it, in time of their own.

use std::time::Duration;

use cluster::Config;
use testkit::{Work, eventually, let_pass};

use crate::support::{apply_text, read, service_of, with_samples_and};

const PODS: u64 = 200;
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_idle_hour_writes_nothing_but_that_its_parts_are_alive() {
    // A disk that is full is told of again and again.
    let image_limits = images::Limits { high_percent: 100, ..images::Limits::default() };
    let cluster = with_samples_and(&["hello"], Config { image_limits, ..Config::default() }).await;
    let web = service_of("web", "hello", "").replacen("spec:\n", &format!("spec:\n  replicas: {PODS}\n"), 1);
    apply_text(&cluster, &web).await.unwrap();
    eventually("all pods are ready", async || {
        read(&cluster, WEB).await.filter(|web| web["status"]["readyReplicas"].as_u64() == Some(PODS))
    })
    .await;
    // What the start has left to do.
    let_pass(25 * MINUTE).await;
    let before = Work::of(&cluster.client()).await;
    let_pass(60 * MINUTE).await;
    let work = &Work::of(&cluster.client()).await - &before;

    // The node's Lease each 10 s and those of the two that lead each 5 s; the node's status each 5 minutes.
    let due = [("patch leases", 360), ("update leases", 2 * 720), ("patch nodes/status", 12)];
    // A pod's token lasts an hour and is renewed before that.
    let tokens = ("create serviceaccounts/token", 2 * PODS);
    let writes = work.writes();
    for (write, count) in &writes {
        let due = due.iter().chain([&tokens]).find(|(name, _)| name == write).map_or(0, |(_, due)| *due);
        assert!(*count <= due + 2, "{write}: {count} times, where {due} are due; {work:#?}");
    }
    for (write, due) in due {
        let count = writes.get(write).copied().unwrap_or(0);
        assert!(count >= due - 2, "{write}: {count} times, where {due} are due: has an hour passed? {work:#?}");
    }
    // Each ten minutes everything is looked at for what a mapping may have forgotten: a Deployment, not its pods.
    let runs: u64 = work.runs.values().sum();
    assert!(runs < 6 * 2 * PODS, "{runs} runs: {work:#?}");
    cluster.stop().await;
}
