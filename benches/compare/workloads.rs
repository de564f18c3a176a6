//! `workloads`: how soon what controllers do has come about.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};

use crate::coracle::{Coracle, first_answer};
use crate::objects::App;
use crate::samples::{millis, percentile};
use crate::{open, progress, table, wire};

const WAIT: Duration = Duration::from_secs(180);
const GLANCE: Duration = Duration::from_millis(5);
const SOME: u32 = 500;
const MANY: u32 = 1000;
const MOST: u32 = 10_000;
const AT_ONCE: u32 = 100;
const FAILURES: usize = 20;
const WAKES: usize = 100;
const IDLE: Duration = Duration::from_secs(30);
const PODS: &str = "/api/v1/namespaces/default/pods";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

type Row = Vec<String>;

fn row(what: &str, measured: String, aim: &str) -> Row {
    vec![what.to_owned(), measured, aim.to_owned()]
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let mut rows = some()?;
    progress("workloads: 500 replicas");
    rows.push(update()?);
    progress("workloads: a rolling update of 1,000");
    rows.push(failures()?);
    progress("workloads: failures");
    rows.push(wakes()?);
    progress("workloads: wakes");
    rows.extend(most()?);
    rows.push(completions()?);
    table::print("workloads", &["what", "measured", "aim"], &rows);
    Ok(())
}

/// A Deployment without a probe: what is measured is the cluster, and not the period of a probe.
fn deployment(app: &App) -> Value {
    let mut deployment = app.deployment();
    if let Some(container) = deployment.pointer_mut("/spec/template/spec/containers/0").and_then(Value::as_object_mut) {
        container.remove("readinessProbe");
    }
    deployment
}

fn path(app: &App) -> String {
    format!("{DEPLOYMENTS}/{}", app.name)
}

/// Waits until a field of the Deployment's status is so many.
fn until(coracle: &Coracle, app: &App, field: &str, count: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < WAIT {
        let object = coracle.api.get(&path(app))?;
        if object["status"][field].as_u64() == Some(u64::from(count)) {
            return Ok(());
        }
        std::thread::sleep(GLANCE);
    }
    bail!("{field} is not {count} after {WAIT:?}")
}

fn some() -> anyhow::Result<Vec<Row>> {
    let coracle = Coracle::start()?;
    warm(&coracle)?;
    let app = App { replicas: SOME, ..App::new("some", "hello") };
    let began = Instant::now();
    coracle.api.create(DEPLOYMENTS, &deployment(&app))?;
    until(&coracle, &app, "replicas", SOME)?;
    let made = began.elapsed();
    until(&coracle, &app, "readyReplicas", SOME)?;
    let ready = began.elapsed();
    Ok(vec![
        row("a Deployment of 500: until its 500 pods exist", seconds(made), "0.15 s"),
        row("… until all are Ready", seconds(ready), "1 s"),
    ])
}

/// So that no compile is measured.
fn warm(coracle: &Coracle) -> anyhow::Result<()> {
    let app = App::new("warm", "hello");
    coracle.serve(&app)?;
    coracle.delete(&app)
}

fn update() -> anyhow::Result<Row> {
    let coracle = Coracle::start()?;
    let app = App { replicas: MANY, ..App::new("many", "hello") };
    coracle.api.create(DEPLOYMENTS, &deployment(&app))?;
    until(&coracle, &app, "readyReplicas", MANY)?;
    let mut next = deployment(&app);
    next["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "GREETING", "value": "next" }]);
    let began = Instant::now();
    coracle.api.patch(&path(&app), &json!({ "spec": { "template": next["spec"]["template"] } }))?;
    loop {
        let object = coracle.api.get(&path(&app))?;
        let status = &object["status"];
        let whole = ["replicas", "updatedReplicas", "availableReplicas"];
        let seen = status["observedGeneration"] == object["metadata"]["generation"];
        if seen && whole.iter().all(|field| status[*field].as_u64() == Some(u64::from(MANY))) {
            break;
        }
        if began.elapsed() > WAIT {
            bail!("the update is not over after {WAIT:?}: {status}");
        }
        std::thread::sleep(GLANCE);
    }
    Ok(row("a rolling update of 1,000 replicas, default surge", seconds(began.elapsed()), "5 s"))
}

/// The only pod of a Deployment is killed; how long nobody answers.
fn failures() -> anyhow::Result<Row> {
    let coracle = Coracle::start()?;
    let app = App::new("lone", "hello");
    let [(deployments, _), rest @ ..] = app.objects();
    coracle.api.create(deployments, &deployment(&app))?;
    for (path, object) in &rest {
        coracle.api.create(path, object)?;
    }
    let target = coracle.target(&app);
    first_answer(&target, Duration::from_millis(1))?;
    let mut times = Vec::new();
    for _ in 0..FAILURES {
        until(&coracle, &app, "readyReplicas", 1)?;
        let list = coracle.api.get(&format!("{PODS}?labelSelector=app%3Dlone"))?;
        let Some(name) = list["items"][0]["metadata"]["name"].as_str() else { continue };
        let began = Instant::now();
        coracle.api.delete(&format!("{PODS}/{name}?gracePeriodSeconds=0"))?;
        times.push(first_answer(&target, Duration::from_micros(200))? - began);
        std::thread::sleep(Duration::from_millis(200));
    }
    let (half, most) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let text = format!("p50 {:.1} ms, p99 {:.1} ms", millis(half), millis(most));
    Ok(row("the only pod is killed: until its replacement answers", text, "50 ms"))
}

/// A workload sleeps; how long the request waits that wakes it.
fn wakes() -> anyhow::Result<Row> {
    let coracle = Coracle::start()?;
    let app = App::new("sleepy", "hello");
    let [(deployments, _), rest @ ..] = app.objects();
    coracle.api.create(deployments, &deployment(&app))?;
    for (path, object) in &rest {
        coracle.api.create(path, object)?;
    }
    let target = coracle.target(&app);
    first_answer(&target, Duration::from_millis(1))?;
    let metric = json!({ "type": "Pods", "pods": { "metric": { "name": "http_requests_per_second" }, "target": { "type": "AverageValue", "averageValue": "1k" } } });
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "sleepy", "annotations": { "coracle.dev/idle-after": "1h" } },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "sleepy" },
            "minReplicas": 0, "maxReplicas": 3, "metrics": [metric],
        },
    });
    coracle.api.create("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", &scaler)?;
    let request = wire::request(&target.host, &target.path);
    let (mut times, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    for _ in 0..WAKES {
        coracle.api.patch(&path(&app), &json!({ "spec": { "replicas": 0 } }))?;
        gone(&coracle)?;
        let mut stream = open::connect(&target)?;
        let began = Instant::now();
        let status = open::exchange(&mut stream, &request, &mut buffer)?;
        times.push(began.elapsed());
        if status != 200 {
            bail!("the request that wakes is answered {status}");
        }
    }
    let (half, most) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let text = format!("p50 {:.1} ms, p99 {:.1} ms", millis(half), millis(most));
    Ok(row("scaled to nothing: a request until its answer", text, "10 ms at p99"))
}

fn gone(coracle: &Coracle) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < WAIT {
        let list = coracle.api.get(&format!("{PODS}?labelSelector=app%3Dsleepy"))?;
        if list["items"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        std::thread::sleep(GLANCE);
    }
    bail!("the pods are not gone after {WAIT:?}")
}

fn most() -> anyhow::Result<Vec<Row>> {
    let coracle = Coracle::start()?;
    warm(&coracle)?;
    let app = App { replicas: MOST, ..App::new("most", "hello") };
    let mut wanted = deployment(&app);
    wanted["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({ "limits": { "memory": "64Mi" }, "requests": { "memory": "1Mi", "cpu": "0" } });
    let began = Instant::now();
    coracle.api.create(DEPLOYMENTS, &wanted)?;
    until(&coracle, &app, "readyReplicas", MOST)?;
    let ready = began.elapsed();
    progress("workloads: 10,000 pods");
    std::thread::sleep(Duration::from_secs(20));
    let before = coracle.usage();
    std::thread::sleep(IDLE);
    let cpu = (coracle.usage().cpu - before.cpu).as_secs_f64() / IDLE.as_secs_f64();
    Ok(vec![
        row("10,000 pods Ready on one node", seconds(ready), "15 s"),
        row("CPU of 10,000 idle pods, whole process", format!("{:.2} % of a core", cpu * 100.0), "near zero"),
    ])
}

/// Runs a Job to its end, and looks whether each completion was counted once.
fn completions() -> anyhow::Result<Row> {
    let coracle = Coracle::start()?;
    let container = json!({
        "name": "main", "image": "coracle.local/batch", "imagePullPolicy": "IfNotPresent", "args": ["primes", "10"],
        "resources": { "requests": { "cpu": "1m", "memory": "1Mi" } },
    });
    let job = |name: &str, completions: u32| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
            "spec": {
                "completions": completions, "parallelism": AT_ONCE,
                "template": { "spec": { "restartPolicy": "Never", "containers": [container] } },
            },
        })
    };
    // So that no compile is measured.
    coracle.api.create(JOBS, &job("warm", 1))?;
    complete(&coracle, "warm", 1)?;
    let (before, began) = (coracle.usage().cpu, Instant::now());
    coracle.api.create(JOBS, &job("many", MOST))?;
    complete(&coracle, "many", MOST)?;
    let (took, cpu) = (began.elapsed(), coracle.usage().cpu - before);
    let held = coracle.api.get(&format!("{PODS}?labelSelector=job-name%3Dmany"))?;
    let held = held["items"].as_array().into_iter().flatten();
    let held = held.filter(|pod| !pod["metadata"]["finalizers"].is_null()).count();
    if held > 0 {
        bail!("{held} pods of a Job that is complete still have finalizers");
    }
    progress("workloads: a Job of 10,000");
    let text = format!("{}; {:.1} ms of CPU each", seconds(took), millis(cpu) / f64::from(MOST));
    Ok(row("a Job of 10,000 completions, 100 at once: until it is Complete", text, "each counted once"))
}

fn complete(coracle: &Coracle, name: &str, completions: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < 2 * WAIT {
        let job = coracle.api.get(&format!("{JOBS}/{name}"))?;
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        if conditions.into_iter().any(|condition| condition["type"] == "Complete" && condition["status"] == "True") {
            if job["status"]["succeeded"].as_u64() != Some(u64::from(completions)) {
                bail!("the Job {name} is complete with {}", job["status"]);
            }
            return Ok(());
        }
        std::thread::sleep(GLANCE * 4);
    }
    bail!("the Job {name} is not complete after {:?}", 2 * WAIT)
}
