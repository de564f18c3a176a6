//! `density`: start-up, memory, 1,000 replicas, API writes, and a long list.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::coracle::Coracle;
use crate::objects::{App, config_map, unscheduled_pod};
use crate::samples::{median, millis, percentile};
use crate::{api, progress, table};

const REPLICAS: u32 = 1000;
const REPLICAS_WAIT: Duration = Duration::from_secs(180);
const STARTS: usize = 5;
const SETTLE: Duration = Duration::from_secs(3);
/// One period of the readiness probe.
const PROBE_PERIOD: Duration = Duration::from_secs(10);
const CLIENTS: usize = 16;
const WRITES: Duration = Duration::from_secs(3);
const PODS: usize = 5000;
const LISTS: usize = 5;
const MIB: f64 = 1024.0 * 1024.0;

type Row = Vec<String>;

fn row(what: &str, value: String, reference: &str) -> Row {
    vec![what.to_owned(), value, reference.to_owned()]
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let mut rows = starts()?;
    rows.extend(replicas()?);
    rows.extend(writes_and_lists()?);
    table::print("start, memory and the API", &["what", "measured", "aim or reference"], &rows);
    Ok(())
}

fn starts() -> anyhow::Result<Vec<Row>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(Coracle::start()?.ready_after);
    }
    progress("density: starts");
    let text = format!("{:.0} ms", millis(percentile(&mut times, 0.5)));
    Ok(vec![row("a new cluster's start until `/readyz`, median of 5", text, "—")])
}

fn replicas() -> anyhow::Result<Vec<Row>> {
    let coracle = Coracle::start()?;
    std::thread::sleep(SETTLE);
    let idle = coracle.usage().resident_bytes as f64 / MIB;
    let app = App { replicas: REPLICAS, ..App::new("many", "hello") };
    let began = Instant::now();
    coracle.create(&app)?;
    coracle.all_ready(&app, Duration::from_millis(50), REPLICAS_WAIT)?;
    let took = began.elapsed();
    progress("density: 1,000 replicas");
    std::thread::sleep(SETTLE);
    let full = coracle.usage();
    std::thread::sleep(PROBE_PERIOD);
    let cpu = (coracle.usage().cpu - full.cpu).as_secs_f64() / PROBE_PERIOD.as_secs_f64();
    let each = (full.resident_bytes as f64 / MIB - idle) * 1024.0 / f64::from(REPLICAS);
    Ok(vec![
        row("resident memory, idle", format!("{idle:.0} MiB"), "aim 50 MiB, limit 60"),
        row("1,000 replicas of hello until all are Ready", format!("{:.1} s", took.as_secs_f64()), "—"),
        row("resident memory a replica", format!("{each:.0} KiB"), "—"),
        row(
            "CPU of 1,000 idle replicas, each with its readiness probe",
            format!("{:.1} % of a core", cpu * 100.0),
            "—",
        ),
    ])
}

fn writes_and_lists() -> anyhow::Result<Vec<Row>> {
    let coracle = Coracle::start()?;
    let synced = synced_appends(coracle.folder())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (began, maps) = (Instant::now(), "/api/v1/namespaces/default/configmaps");
    let written = runtime.block_on(creates(&coracle.kubeconfig, maps, config_map, |_| began.elapsed() < WRITES))?;
    let rate = written as f64 / began.elapsed().as_secs_f64();
    progress("density: API writes");
    let pods = "/api/v1/namespaces/default/pods";
    let each = PODS / CLIENTS + 1;
    let made = runtime.block_on(creates(&coracle.kubeconfig, pods, unscheduled_pod, |count| count < each))?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..LISTS {
        let asked = Instant::now();
        bytes = coracle.api.text(pods)?.len();
        times.push(millis(asked.elapsed()));
    }
    progress("density: lists");
    let list = format!("{:.0} ms, {:.1} MiB", median(&times), bytes as f64 / MIB);
    let reference = format!("{:.1} × one writer's synced appends ({synced:.0}/s)", rate / synced);
    Ok(vec![
        row("durable API writes, 16 clients over HTTPS", format!("{rate:.0}/s"), &reference),
        row(&format!("one list of {made} pods over HTTPS, JSON"), list, "—"),
    ])
}

/// Creates objects from `CLIENTS` connections for as long as `more` says so of each client's count, and returns how many.
async fn creates(
    kubeconfig: &Path,
    path: &'static str,
    object: fn(&str) -> serde_json::Value,
    more: impl Fn(usize) -> bool,
) -> anyhow::Result<usize> {
    let more = &more;
    let clients = (0..CLIENTS).map(|number| async move {
        let client = api::client(kubeconfig).await?;
        let mut count = 0;
        while more(count) {
            let body = object(&format!("bench-{number}-{count}")).to_string().into_bytes();
            api::send(&client, "POST", path, body).await?;
            count += 1;
        }
        anyhow::Ok(count)
    });
    Ok(futures::future::try_join_all(clients).await?.into_iter().sum())
}

/// What the disk gives one writer who waits for each 2 KiB to be durable.
pub fn synced_appends(folder: &Path) -> anyhow::Result<f64> {
    let mut file = std::fs::File::create(folder.join("synced"))?;
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[7; 2048])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
