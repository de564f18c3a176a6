//! `api`: the API server alone, over HTTP/2 and TLS, as the figures of Kubernetes' own control plane were taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::coracle::Coracle;
use crate::density::synced_appends;
use crate::http2::{Connection, Server};
use crate::objects::{config_map, waiting_deployment, waiting_pod};
use crate::samples::{median, millis, percentile};
use crate::{progress, table};

const CLIENTS: usize = 16;
const WRITES: Duration = Duration::from_secs(5);
const READS: Duration = Duration::from_secs(3);
const PODS: usize = 5000;
const LISTS: usize = 7;
const WATCHERS: usize = 100;
const EVENTS: usize = 200;
const REPLICAS: usize = 500;
const SETTLE: Duration = Duration::from_secs(3);
const MIB: f64 = 1024.0 * 1024.0;
const JSON: [(&str, &str); 2] = [("content-type", "application/json"), ("accept", "application/json")];
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WAITING: &str = "/api/v1/namespaces/default/pods";

/// What is measured, with what Kubernetes needs for it and what is aimed at.
type Row = Vec<String>;

fn row(what: &str, kubernetes: &str, aim: &str, measured: String) -> Row {
    vec![what.to_owned(), kubernetes.to_owned(), aim.to_owned(), measured]
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let coracle = Coracle::start()?;
    std::thread::sleep(SETTLE);
    let idle = coracle.usage().resident_bytes as f64 / MIB;
    let server = runtime.block_on(Server::open(&coracle.kubeconfig))?;
    let mut rows = vec![creates(&runtime, &coracle, &server)?];
    progress("api: creates");
    rows.extend(reads(&runtime, &server)?);
    progress("api: reads");
    rows.extend(lists(&runtime, &server)?);
    progress("api: lists");
    rows.push(runtime.block_on(watchers(&server))?);
    progress("api: watchers");
    rows.push(runtime.block_on(deployment(&server))?);
    progress("api: a deployment");
    let started = millis(coracle.ready_after);
    rows.push(row("start → `/readyz`", "3.2 s", "0.2 s", format!("{started:.0} ms")));
    std::thread::sleep(SETTLE);
    let after = coracle.usage().resident_bytes as f64 / MIB;
    let measured = format!("{idle:.0} MiB; {after:.0} MiB");
    rows.push(row("resident idle; after the load above", "514 MiB; 1,460 MiB", "50 MiB; 150 MiB", measured));
    table::print("the API over HTTP/2 and TLS", &["measure", "Kubernetes", "aim", "Coracle"], &rows);
    Ok(())
}

fn creates(runtime: &Runtime, coracle: &Coracle, server: &Server) -> anyhow::Result<Row> {
    let synced = synced_appends(coracle.folder())?;
    let before = coracle.usage().cpu;
    let began = Instant::now();
    let mut times =
        runtime.block_on(for_a_while(server, CLIENTS, WRITES, |mut connection, client, count| async move {
            let body = config_map(&format!("bench-{client}-{count}")).to_string();
            connection.whole("POST", MAPS, &JSON, body.into()).await
        }))?;
    let took = began.elapsed();
    let cpu = (coracle.usage().cpu - before).as_secs_f64() * 1000.0 / times.len() as f64;
    let rate = times.len() as f64 / took.as_secs_f64();
    let (p50, p99) = (millis(percentile(&mut times, 0.5)), millis(percentile(&mut times, 0.99)));
    let measured = format!(
        "{rate:.0} per second, p50 {p50:.1} ms, p99 {p99:.1} ms, {cpu:.2} ms CPU each; a bare synced append {:.1} ms",
        1000.0 / synced
    );
    let kubernetes = "1,199 per second, p50 12.1 ms, p99 33.2 ms, 1.3 ms CPU each";
    Ok(row("create ConfigMaps, 16 clients", kubernetes, "3 times, p99 under 12 ms", measured))
}

fn reads(runtime: &Runtime, server: &Server) -> anyhow::Result<[Row; 2]> {
    let get = |mut connection: Connection, _, _| async move {
        connection.whole("GET", &format!("{MAPS}/bench-0-0"), &JSON, Bytes::new()).await
    };
    let mut alone = runtime.block_on(for_a_while(server, 1, READS, get))?;
    let together = runtime.block_on(for_a_while(server, CLIENTS, READS, get))?.len() as f64 / READS.as_secs_f64();
    let p50 = format!("p50 {:.2} ms", millis(percentile(&mut alone, 0.5)));
    Ok([
        row("GET one object, 1 client", "p50 1.28 ms", "0.1 ms", p50),
        row("GET one object, 16 clients", "2,482 per second", "10 times", format!("{together:.0} per second")),
    ])
}

fn lists(runtime: &Runtime, server: &Server) -> anyhow::Result<[Row; 3]> {
    let each = PODS / CLIENTS + 1;
    runtime.block_on(async {
        let clients = (0..CLIENTS).map(|client| async move {
            let mut connection = server.connect().await?;
            for count in 0..each {
                let body = waiting_pod(&format!("waiting-{client}-{count}")).to_string();
                connection.whole("POST", WAITING, &JSON, body.into()).await?;
            }
            anyhow::Ok(())
        });
        futures::future::try_join_all(clients).await
    })?;
    let (plain, bytes) = runtime.block_on(timed_lists(server, WAITING, &JSON))?;
    let gzip = [JSON[0], JSON[1], ("accept-encoding", "gzip")];
    let (packed, _) = runtime.block_on(timed_lists(server, WAITING, &gzip))?;
    let (page, _) = runtime.block_on(timed_lists(server, &format!("{WAITING}?limit=500"), &JSON))?;
    let what = format!("LIST 5,000 pods ({:.1} MB), a write between the runs", bytes as f64 / 1e6);
    Ok([
        row(&what, "520 ms (13.6 MB)", "50 ms", format!("{plain:.0} ms")),
        row("… gzip", "219 ms", "80 ms", format!("{packed:.0} ms")),
        row("… limit=500", "76 ms", "8 ms", format!("{page:.1} ms")),
    ])
}

/// The median of a list's time, with a write before each.
async fn timed_lists(server: &Server, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<(f64, usize)> {
    let mut connection = server.connect().await?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for at in 0..LISTS {
        let patch = json!({ "metadata": { "labels": { "turn": format!("t{at}-{}", headers.len()) } } }).to_string();
        let merge = [("content-type", "application/merge-patch+json")];
        connection.whole("PATCH", &format!("{WAITING}/waiting-0-0"), &merge, patch.into()).await?;
        let asked = Instant::now();
        bytes = connection.whole("GET", path, headers, Bytes::new()).await?;
        times.push(millis(asked.elapsed()));
    }
    Ok((median(&times), bytes))
}

/// When each name was seen, by one watcher after the other.
type Sightings = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

async fn watchers(server: &Server) -> anyhow::Result<Row> {
    let seen: Sightings = Arc::default();
    let mut open = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut connection = server.connect().await?;
        let path = format!("{MAPS}?watch=true&labelSelector=watched");
        let mut body = connection.ask("GET", &path, &JSON, Bytes::new()).await?.into_body();
        let seen = Arc::clone(&seen);
        open.spawn(async move {
            let _connection = connection;
            while let Some(Ok(frame)) = body.frame().await {
                let now = Instant::now();
                let Some(text) = frame.data_ref().map(|data| String::from_utf8_lossy(data).into_owned()) else {
                    continue;
                };
                for part in text.split("\"name\":\"watched-").skip(1) {
                    let name = part.split('"').next().unwrap_or_default().to_owned();
                    seen.lock().entry(name).or_default().push(now);
                }
            }
        });
    }
    let mut connection = server.connect().await?;
    let mut sent = Vec::new();
    for at in 0..EVENTS {
        let mut object = config_map(&format!("watched-{at}"));
        object["metadata"]["labels"] = json!({ "watched": "yes" });
        let asked = Instant::now();
        connection.whole("POST", MAPS, &JSON, object.to_string().into()).await?;
        sent.push((at.to_string(), asked, Instant::now()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    open.abort_all();
    let seen = seen.lock();
    let (mut from_request, mut from_answer, mut early) = (Vec::new(), Vec::new(), 0);
    for (name, asked, answered) in &sent {
        for at in seen.get(name).into_iter().flatten() {
            from_request.push(at.duration_since(*asked));
            from_answer.push(at.saturating_duration_since(*answered));
            early += usize::from(at < answered);
        }
    }
    let ms = |times: &mut Vec<Duration>, part| millis(percentile(times, part));
    let measured = format!(
        "from the request p50 {:.1} ms, p99 {:.1} ms; after the acknowledgement p50 {:.1} ms, p99 {:.1} ms; {} of {} events, {:.0} % in hand before the writer read its answer",
        ms(&mut from_request, 0.5),
        ms(&mut from_request, 0.99),
        ms(&mut from_answer, 0.5),
        ms(&mut from_answer, 0.99),
        from_request.len(),
        EVENTS * WATCHERS,
        100.0 * early as f64 / from_request.len().max(1) as f64,
    );
    let aim = "under 1 ms, under 4 ms after the acknowledgement";
    Ok(row("acknowledged create → event at 100 watchers", "p50 7.3 ms, p99 12.3 ms (from the request)", aim, measured))
}

async fn deployment(server: &Server) -> anyhow::Result<Row> {
    let mut connection = server.connect().await?;
    let path = format!("{WAITING}?watch=true&labelSelector=app%3Dfive-hundred");
    let mut body = connection.ask("GET", &path, &JSON, Bytes::new()).await?.into_body();
    let object = waiting_deployment("five-hundred", REPLICAS).to_string();
    let mut writer = server.connect().await?;
    let began = Instant::now();
    writer.whole("POST", "/apis/apps/v1/namespaces/default/deployments", &JSON, object.into()).await?;
    let mut count = 0;
    while count < REPLICAS {
        let Some(frame) = body.frame().await else { anyhow::bail!("the watch ended after {count} pods") };
        let frame = frame?;
        let data = frame.data_ref().map(|data| String::from_utf8_lossy(data).into_owned()).unwrap_or_default();
        count += data.matches("{\"type\":\"ADDED\"").count();
    }
    let measured = format!("{:.2} s", began.elapsed().as_secs_f64());
    Ok(row("Deployment of 500 → 500 Pod objects", "23.9 s, 0.7 s with limits raised", "0.15 s", measured))
}

/// Repeats a request on each of `clients` connections for a while; how long each took.
async fn for_a_while<F, A>(server: &Server, clients: usize, length: Duration, ask: F) -> anyhow::Result<Vec<Duration>>
where
    F: Fn(Connection, usize, usize) -> A,
    A: Future<Output = anyhow::Result<usize>>,
{
    let ask = &ask;
    let each = (0..clients).map(|client| async move {
        let connection = server.connect().await?;
        let (began, mut times) = (Instant::now(), Vec::new());
        while began.elapsed() < length {
            let asked = Instant::now();
            ask(connection.clone(), client, times.len()).await?;
            times.push(asked.elapsed());
        }
        anyhow::Ok(times)
    });
    Ok(futures::future::try_join_all(each).await?.concat())
}
