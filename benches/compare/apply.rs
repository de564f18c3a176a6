//! `apply`: from applying Deployment, Service and Ingress to the first 200 through the ingress.
//!
//! The image was compiled before, and the pod has the sample's readiness probe. Each round has a name of its own; the one
//! before is deleted first. `kubectl` is a second table column's own process: what it costs is the client's, not Coracle's.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;

use crate::coracle::{Coracle, first_answer};
use crate::objects::App;
use crate::samples::{millis, percentile};
use crate::{progress, rivals, table};

const ROUNDS: usize = 50;
const KUBECTL_ROUNDS: usize = 15;
/// Often enough to be exact, seldom enough to leave the processor to the server.
const PAUSE: Duration = Duration::from_micros(500);
/// Between two rounds, so that the deletion of the one before is over.
const REST: Duration = Duration::from_millis(100);

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let coracle = Coracle::start()?;
    let warm = App::new("warm", "hello");
    coracle.serve(&warm)?;
    let mut rows = vec![over_https(&coracle)?];
    if let Some(program) = rivals::present("kubectl") {
        rows.extend(with_kubectl(&coracle, &program)?);
    }
    let columns = ["step", "p50 ms", "p99 ms", "rounds"];
    table::print("apply → first 200 (aim: p50 under 50 ms of Coracle's own time)", &columns, &rows);
    Ok(())
}

fn row(name: &str, samples: &mut [Duration]) -> Vec<String> {
    let (p50, p99) = (millis(percentile(samples, 0.5)), millis(percentile(samples, 0.99)));
    vec![name.to_owned(), format!("{p50:.1}"), format!("{p99:.1}"), samples.len().to_string()]
}

fn over_https(coracle: &Coracle) -> anyhow::Result<Vec<String>> {
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        let app = App::new(&format!("apply-{round}"), "hello");
        let target = coracle.target(&app);
        let began = Instant::now();
        coracle.create(&app)?;
        samples.push(first_answer(&target, PAUSE)? - began);
        coracle.delete(&app)?;
        std::thread::sleep(REST);
    }
    progress(&format!("apply: {ROUNDS} rounds over HTTPS"));
    Ok(row("three creates over HTTPS → first 200", &mut samples))
}

fn with_kubectl(coracle: &Coracle, program: &std::path::Path) -> anyhow::Result<[Vec<String>; 2]> {
    let (mut totals, mut own) = (Vec::new(), Vec::new());
    for round in 0..=KUBECTL_ROUNDS {
        let app = App::new(&format!("kubectl-{round}"), "hello");
        let file = coracle.folder().join(format!("{}.json", app.name));
        let items = app.objects().map(|(_, object)| object);
        std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
        let mut command = Command::new(program);
        command.arg("apply").arg("-f").arg(&file).arg("--kubeconfig").arg(&coracle.kubeconfig);
        command.arg("--cache-dir").arg(coracle.folder().join("kubectl"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let mut kubectl = command.spawn()?;
        let waits = std::thread::spawn(move || kubectl.wait().map(|status| (status, Instant::now())));
        let answered = first_answer(&coracle.target(&app), PAUSE);
        let Ok(ended) = waits.join() else { bail!("the thread that waits for kubectl panicked") };
        let (status, ended) = ended?;
        if !status.success() {
            bail!("kubectl apply ended with {status}");
        }
        // The first round fills kubectl's cache of the API.
        if round > 0 {
            totals.push(answered? - began);
            own.push(ended - began);
        }
        coracle.delete(&app)?;
        std::thread::sleep(REST);
    }
    progress(&format!("apply: {KUBECTL_ROUNDS} rounds with kubectl"));
    Ok([
        row("`kubectl apply` → first 200", &mut totals),
        row("of that: the kubectl process from start to end", &mut own),
    ])
}
