//! `idle`: what a cluster does while nothing happens: an hour of it, in time of its own, with 10,000 pods and without any.
//!
//! The cluster is whole and in this process: API, every controller, scheduler, node and sandbox. Timers are made to go on
//! (`testkit::let_pass`); what the difference between the two hours is, pods cost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cli::Connection;
use serde_json::Value;
use testkit::{TestCluster, Work, let_pass};

use crate::objects::App;
use crate::process::root;
use crate::samples::millis;
use crate::{progress, table};

const APPS: usize = 100;
const REPLICAS: u32 = 100;
const WAIT: Duration = Duration::from_secs(600);
const GLANCE: Duration = Duration::from_millis(100);
/// For what the start has left to do: tokens, events, the first resync.
const FIRST: Duration = Duration::from_secs(1500);
const HOUR: Duration = Duration::from_secs(3600);

/// An hour of one cluster.
struct Hour {
    pods: usize,
    /// Of the thread on which everything but guests and sockets runs.
    cpu: Duration,
    /// Of the whole process.
    process: Duration,
    work: Work,
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let empty = runtime.block_on(hour(0))?;
    let full = runtime.block_on(hour(APPS))?;
    let row = |what: &str, of: &dyn Fn(&Hour) -> String| vec![what.to_owned(), of(&empty), of(&full)];
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let mut rows = vec![
        row("pods", &|hour| hour.pods.to_string()),
        row("CPU, this cluster's thread", &|hour| format!("{:.0} ms", millis(hour.cpu))),
        row("CPU, whole process", &|hour| format!("{:.0} ms", millis(hour.process))),
        row("runs of controllers", &|hour| sum(&hour.work.runs).to_string()),
        row("requests at the API", &|hour| sum(&hour.work.requests).to_string()),
        row("… of them writes", &|hour| sum(&hour.work.writes()).to_string()),
    ];
    let pods = u32::try_from(full.pods).unwrap_or(1).max(1);
    let each = full.cpu.saturating_sub(empty.cpu) / pods;
    rows.push(vec![
        "CPU that a pod adds".to_owned(),
        String::new(),
        format!("{:.1} µs an hour", each.as_secs_f64() * 1e6),
    ]);
    for (name, pick) in BOOKS {
        let (empty, full) = (pick(&empty.work), pick(&full.work));
        let keys: std::collections::BTreeSet<&String> = empty.keys().chain(full.keys()).collect();
        let count = |counts: &BTreeMap<String, u64>, key: &String| counts.get(key).copied().unwrap_or(0).to_string();
        rows.extend(keys.into_iter().map(|key| vec![format!("{name}: {key}"), count(&empty, key), count(&full, key)]));
    }
    table::print("an hour of idle, in simulated time", &["what", "no pods", "10,000 pods"], &rows);
    Ok(())
}

type Book = (&'static str, fn(&Work) -> BTreeMap<String, u64>);

const BOOKS: [Book; 2] = [("request", |work| work.requests.clone()), ("run", |work| work.runs.clone())];

async fn hour(apps: usize) -> anyhow::Result<Hour> {
    progress(&format!("idle: {apps} Deployments of {REPLICAS}"));
    let cluster = TestCluster::start().await;
    let pods = fill(&cluster, apps).await?;
    let_pass(FIRST).await;
    progress(&format!("idle: {pods} pods, the hour"));
    let before = (Work::of(&cluster.client()).await, base::os::thread_cpu_time(), base::os::process().cpu_time);
    let_pass(HOUR).await;
    let cpu = base::os::thread_cpu_time().zip(before.1).map(|(now, then)| now - then).unwrap_or_default();
    let process = base::os::process().cpu_time - before.2;
    let work = &Work::of(&cluster.client()).await - &before.0;
    cluster.stop().await;
    Ok(Hour { pods, cpu, process, work })
}

/// Makes the Deployments, with a Service and an Ingress each, and waits until all their pods are Ready.
async fn fill(cluster: &TestCluster, apps: usize) -> anyhow::Result<usize> {
    let connection = Connection::over(cluster.client(), cluster.cluster().server_url());
    cli::push_file(&connection, &root().join("workloads/prebuilt/hello.wasm"), "hello").await?;
    for number in 0..apps {
        let app = App { replicas: REPLICAS, ..App::new(&format!("app-{number}"), "hello") };
        for (path, mut object) in app.objects() {
            if let Some(container) =
                object.pointer_mut("/spec/template/spec/containers/0").and_then(Value::as_object_mut)
            {
                // What is measured is the cluster, and not guests that answer probes.
                container.remove("readinessProbe");
                container["resources"]["requests"] = serde_json::json!({ "cpu": "0", "memory": "64Ki" });
            }
            let request = http::Request::post(path).header("content-type", "application/json");
            cluster.client().request_text(request.body(serde_json::to_vec(&object)?)?).await?;
        }
    }
    let wanted = apps * usize::try_from(REPLICAS)?;
    let began = Instant::now();
    loop {
        let ready = ready(cluster).await?;
        if ready == wanted {
            return Ok(ready);
        }
        if began.elapsed() > WAIT {
            bail!("{ready} of {wanted} pods are Ready after {WAIT:?}");
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn ready(cluster: &TestCluster) -> anyhow::Result<usize> {
    let request = http::Request::get("/apis/apps/v1/namespaces/default/deployments").body(Vec::new())?;
    let list: Value = cluster.client().request(request).await?;
    let items = list["items"].as_array().context("a list has items")?;
    let ready = items.iter().filter_map(|item| item["status"]["readyReplicas"].as_u64()).sum::<u64>();
    Ok(usize::try_from(ready)?)
}
