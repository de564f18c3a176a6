//! `rollout`: requests in an open loop while everything happens to the pods behind them that makes pods go. None may fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::closed::Target;
use crate::coracle::Coracle;
use crate::objects::App;
use crate::samples::{millis, percentile};
use crate::{open, progress, table, wire};

const RATE: f64 = 1000.0;
const CONNECTIONS: u32 = 32;
const REPLICAS: u32 = 100;
const FEW: u32 = 10;
/// Before the first change, between two, and after the last.
const CALM: Duration = Duration::from_secs(5);
const SETTLE_WAIT: Duration = Duration::from_secs(120);
const GLANCE: Duration = Duration::from_millis(20);

/// One answer: when its request was due, how long it took, and whether it was 200.
struct Answer {
    due: Instant,
    took: Duration,
    good: bool,
}

/// A part of the story.
struct Chapter {
    what: &'static str,
    began: Instant,
    ended: Instant,
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let coracle = Coracle::start()?;
    let app = App { replicas: REPLICAS, reuse: true, ..App::new("web", "hello") };
    let target = coracle.serve(&app)?;
    coracle.all_ready(&app, GLANCE, SETTLE_WAIT)?;
    let (stop, answers) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let chapters = std::thread::scope(|scope| {
        for seed in 0..CONNECTIONS {
            let (target, stop, answers) = (&target, &stop, &answers);
            scope.spawn(move || {
                let own = connection(target, u64::from(seed), stop);
                answers.lock().extend(own);
            });
        }
        let told = story(&coracle, &app);
        stop.store(true, Ordering::Relaxed);
        told
    })?;
    let answers = answers.into_inner();
    let rows: Vec<Vec<String>> = chapters.iter().map(|chapter| row(chapter, &answers)).collect();
    let failed = answers.iter().filter(|answer| !answer.good).count();
    let title = format!("{RATE} requests a second on {REPLICAS} replicas: {} requests, {failed} failed", answers.len());
    table::print(&title, &["while", "took", "requests", "failed", "p50", "p99", "slowest"], &rows);
    if failed > 0 {
        bail!("{failed} requests failed");
    }
    Ok(())
}

fn row(chapter: &Chapter, answers: &[Answer]) -> Vec<String> {
    let within = || answers.iter().filter(|answer| (chapter.began..chapter.ended).contains(&answer.due));
    let mut times: Vec<Duration> = within().map(|answer| answer.took).collect();
    let failed = within().filter(|answer| !answer.good).count();
    let slowest = times.iter().copied().max().unwrap_or_default();
    let shown = |time: Duration| format!("{:.2} ms", millis(time));
    vec![
        chapter.what.to_owned(),
        format!("{:.1} s", (chapter.ended - chapter.began).as_secs_f64()),
        times.len().to_string(),
        failed.to_string(),
        shown(percentile(&mut times, 0.5)),
        shown(percentile(&mut times, 0.99)),
        shown(slowest),
    ]
}

fn connection(target: &Target, seed: u64, stop: &AtomicBool) -> Vec<Answer> {
    let mut random = SmallRng::seed_from_u64(seed);
    let request = wire::request(&target.host, &target.path);
    let spacing = f64::from(CONNECTIONS) / RATE;
    let (mut stream, mut due) = (open::connect(target).ok(), Instant::now());
    let (mut buffer, mut answers) = (vec![0; 64 << 10], Vec::new());
    while !stop.load(Ordering::Relaxed) {
        due += Duration::from_secs_f64(-spacing * (1.0 - random.random::<f64>()).ln());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let status = stream.as_mut().and_then(|stream| open::exchange(stream, &request, &mut buffer).ok());
        if status.is_none() {
            stream = open::connect(target).ok();
        }
        answers.push(Answer { due, took: due.elapsed(), good: status == Some(200) });
    }
    answers
}

fn story(coracle: &Coracle, app: &App) -> anyhow::Result<Vec<Chapter>> {
    let greeting = |text: &str| {
        let env = json!([{ "name": "GREETING", "value": text }, { "name": "POD_NAME", "value": "bench" }]);
        let mut deployment = app.deployment();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = env;
        json!({ "spec": { "template": deployment["spec"]["template"] } })
    };
    let replicas = |count: u32| json!({ "spec": { "replicas": count } });
    let mut chapters = Vec::new();
    let calm = |what: &'static str, chapters: &mut Vec<Chapter>| {
        let began = Instant::now();
        std::thread::sleep(CALM);
        chapters.push(Chapter { what, began, ended: Instant::now() });
    };
    calm("nothing happens", &mut chapters);
    let steps = [
        ("a rollout", greeting("one")),
        ("a second", greeting("two")),
        ("a third", greeting("three")),
        ("a rollback", greeting("two")),
        ("a scale to 10", replicas(FEW)),
        ("a scale to 100", replicas(REPLICAS)),
    ];
    for (what, change) in steps {
        let began = Instant::now();
        coracle.api.patch(&path(app), &change)?;
        settle(coracle, app)?;
        chapters.push(Chapter { what, began, ended: Instant::now() });
        progress(&format!("rollout: {what}"));
        std::thread::sleep(CALM / 5);
    }
    let began = Instant::now();
    drain(coracle, app)?;
    settle(coracle, app)?;
    chapters.push(Chapter { what: "every pod is evicted", began, ended: Instant::now() });
    calm("nothing happens any more", &mut chapters);
    Ok(chapters)
}

fn path(app: &App) -> String {
    format!("/apis/apps/v1/namespaces/default/deployments/{}", app.name)
}

/// Waits until the newest template is all that there is, and no pod of another one goes on.
fn settle(coracle: &Coracle, app: &App) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < SETTLE_WAIT {
        let object = coracle.api.get(&path(app))?;
        let (wanted, status) = (object["spec"]["replicas"].as_i64(), &object["status"]);
        let counts = ["replicas", "updatedReplicas", "availableReplicas"];
        let seen = status["observedGeneration"] == object["metadata"]["generation"];
        if seen && counts.iter().all(|field| status[*field].as_i64() == wanted) && is_over(status) {
            return Ok(());
        }
        std::thread::sleep(GLANCE);
    }
    bail!("the rollout is not over after {SETTLE_WAIT:?}")
}

fn is_over(status: &Value) -> bool {
    status["terminatingReplicas"].as_i64().unwrap_or(0) == 0
}

/// Evicts all pods, as `kubectl drain` does, four at a time.
fn drain(coracle: &Coracle, app: &App) -> anyhow::Result<()> {
    let pods = "/api/v1/namespaces/default/pods";
    let list = coracle.api.get(&format!("{pods}?labelSelector=app%3D{}", app.name))?;
    let names: Vec<String> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect();
    for some in names.chunks(4) {
        for name in some {
            let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
            coracle.api.create(&format!("{pods}/{name}/eviction"), &eviction)?;
        }
        coracle.all_ready(app, GLANCE, SETTLE_WAIT)?;
    }
    Ok(())
}
