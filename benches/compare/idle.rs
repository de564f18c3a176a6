//! `idle`: what a cluster does while nothing happens: an hour of it, in time of its own, with 10,000 pods and without any.
//!
//! The cluster is whole and in this process: API, every controller, scheduler, node and sandbox. Timers are made to go on
//! (`testkit::let_pass`); what the difference between the two hours is, pods cost.

use std::collections::{BTreeMap, BTreeSet};
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
    let empty = runtime.block_on(hour(0, false))?;
    let plain = runtime.block_on(hour(APPS, false))?;
    let full = runtime.block_on(hour(APPS, true))?;
    let hours = [&empty, &plain, &full];
    let row = |what: &str, of: &dyn Fn(&Hour) -> String| -> Vec<String> {
        std::iter::once(what.to_owned()).chain(hours.map(of)).collect()
    };
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>().to_string();
    let added = |hour: &Hour| match u32::try_from(hour.pods) {
        Ok(pods @ 1..) => {
            format!("{:.1} µs an hour", hour.cpu.saturating_sub(empty.cpu).as_secs_f64() * 1e6 / f64::from(pods))
        }
        _ => String::new(),
    };
    let mut rows = vec![
        row("pods", &|hour| hour.pods.to_string()),
        row("CPU, this cluster's thread", &|hour| format!("{:.0} ms", millis(hour.cpu))),
        row("CPU, whole process", &|hour| format!("{:.0} ms", millis(hour.process))),
        row("CPU that a pod adds", &added),
        row("runs of controllers", &|hour| sum(&hour.work.runs)),
        row("requests at the API", &|hour| sum(&hour.work.requests)),
        row("… of them watches that begin again", &|hour| {
            let watches = hour.work.requests.iter().filter(|(request, _)| request.starts_with("watch "));
            watches.map(|(_, count)| count).sum::<u64>().to_string()
        }),
        row("… of them writes", &|hour| sum(&hour.work.writes())),
    ];
    for (name, pick) in BOOKS {
        let books = hours.map(|hour| pick(&hour.work));
        let keys: BTreeSet<&String> = books.iter().flat_map(BTreeMap::keys).collect();
        rows.extend(keys.into_iter().map(|key| {
            let counts = books.iter().map(|book| book.get(key).copied().unwrap_or(0).to_string());
            std::iter::once(format!("{name}: {key}")).chain(counts).collect()
        }));
    }
    let columns = ["what", "no pods", "10,000 pods without tokens", "10,000 pods"];
    table::print("an hour of idle, in simulated time", &columns, &rows);
    Ok(())
}

type Book = (&'static str, fn(&Work) -> BTreeMap<String, u64>);

const BOOKS: [Book; 2] = [("write", Work::writes), ("run", |work| work.runs.clone())];

/// With `tokens` pods have one of their account, which lasts an hour.
async fn hour(apps: usize, tokens: bool) -> anyhow::Result<Hour> {
    progress(&format!("idle: {apps} Deployments of {REPLICAS}"));
    let cluster = TestCluster::start().await;
    let pods = fill(&cluster, apps, tokens).await?;
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
async fn fill(cluster: &TestCluster, apps: usize, tokens: bool) -> anyhow::Result<usize> {
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
            if let Some(spec) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
                spec.insert("automountServiceAccountToken".to_owned(), tokens.into());
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
