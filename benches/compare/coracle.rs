//! Coracle as a child process, with a fresh data folder and the samples loaded.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::api::Api;
use crate::closed::Target;
use crate::objects::App;
use crate::open;
use crate::process::{Process, Usage, root};
use crate::wire;

/// How long an application may take until it answers.
const SERVES_WAIT: Duration = Duration::from_secs(60);

/// A running cluster.
pub struct Coracle {
    process: Process,
    /// A client.
    pub api: Api,
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    ingress: SocketAddr,
    /// From starting the process until `/readyz` answered `ok`.
    pub ready_after: Duration,
    folder: TempDir,
}

impl Coracle {
    /// Starts `coracle up` and waits for its table.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("data/kubeconfig");
        let errors = std::fs::File::create(folder.path().join("stderr"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command.args(["up", "--api-listen", "127.0.0.1:0", "--ingress-listen", "127.0.0.1:0", "--log", "warn"]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.arg("--load").arg(root().join("workloads/prebuilt"));
        // Nobody runs a server with it, and it makes every error a hundred times as dear.
        command.env_remove("RUST_BACKTRACE");
        command.env_remove("KUBECONFIG").env_remove("CORACLE_LOG").env("XDG_CACHE_HOME", root().join("target/compare"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let began = Instant::now();
        let mut process = Process::start(&mut command)?;
        let output = process.output().context("coracle has no stdout")?;
        let (api, ready_after) = ready(&mut process, &kubeconfig, began).with_context(|| errors_of(&folder))?;
        let ingress = ingress_address(BufReader::new(output)).with_context(|| errors_of(&folder))?;
        Ok(Self { process, api, kubeconfig, ingress, ready_after, folder })
    }

    /// What it uses.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// A folder that goes with it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Where an application answers.
    pub fn target(&self, app: &App) -> Target {
        Target::new(self.ingress, &app.host())
    }

    /// Creates an application's objects.
    pub fn create(&self, app: &App) -> anyhow::Result<()> {
        app.objects().iter().try_for_each(|(path, object)| self.api.create(path, object))
    }

    /// Deletes them again.
    pub fn delete(&self, app: &App) -> anyhow::Result<()> {
        app.objects().iter().rev().try_for_each(|(path, _)| self.api.delete(&format!("{path}/{}", app.name)))
    }

    /// Creates an application and waits until it answers 200.
    pub fn serve(&self, app: &App) -> anyhow::Result<Target> {
        self.create(app)?;
        let target = self.target(app);
        first_answer(&target, Duration::from_millis(1)).with_context(|| errors_of(&self.folder))?;
        Ok(target)
    }

    /// Waits until all pods of an application are ready; the time between two looks is `glance`.
    pub fn all_ready(&self, app: &App, glance: Duration, wait: Duration) -> anyhow::Result<()> {
        let path = format!("/apis/apps/v1/namespaces/default/deployments/{}", app.name);
        let began = Instant::now();
        loop {
            let ready = self.api.get(&path)?.pointer("/status/readyReplicas").and_then(serde_json::Value::as_u64);
            if ready == Some(u64::from(app.replicas)) {
                return Ok(());
            }
            if began.elapsed() > wait {
                bail!("{} of {} pods of {} are ready after {wait:?}", ready.unwrap_or(0), app.replicas, app.name);
            }
            std::thread::sleep(glance);
        }
    }
}

/// Asks until the answer is 200, and returns when that was.
pub fn first_answer(target: &Target, pause: Duration) -> anyhow::Result<Instant> {
    let request = wire::request(&target.host, &target.path);
    let mut buffer = vec![0; 64 << 10];
    let began = Instant::now();
    let (mut stream, mut last) = (open::connect(target)?, 0);
    while began.elapsed() < SERVES_WAIT {
        match open::exchange(&mut stream, &request, &mut buffer) {
            Ok(200) => return Ok(Instant::now()),
            Ok(status) => last = status,
            Err(_) => stream = open::connect(target)?,
        }
        std::thread::sleep(pause);
    }
    bail!("{} answers {last} and not 200 after {SERVES_WAIT:?}", target.host)
}

fn ready(process: &mut Process, kubeconfig: &std::path::Path, began: Instant) -> anyhow::Result<(Api, Duration)> {
    while !kubeconfig.exists() {
        if let Some(status) = process.ended()? {
            bail!("coracle up ended with {status}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let api = Api::open(kubeconfig)?;
    while began.elapsed() < SERVES_WAIT {
        if api.text("/readyz").is_ok_and(|text| text == "ok") {
            return Ok((api, began.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("/readyz does not answer ok after {SERVES_WAIT:?}")
}

/// Reads the table that `up` prints, and lets a thread read whatever may follow.
fn ingress_address(mut output: impl BufRead + Send + 'static) -> anyhow::Result<SocketAddr> {
    let mut line = String::new();
    let mut found = None;
    while output.read_line(&mut line)? > 0 {
        if let Some(rest) = line.strip_prefix("Ingress") {
            found = Some(rest.trim().trim_start_matches("http://").parse()?);
        }
        if line.starts_with("Kubeconfig") {
            break;
        }
        line.clear();
    }
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    found.context("coracle up printed no ingress address")
}

fn errors_of(folder: &TempDir) -> String {
    let text = std::fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("coracle up said: {}", lines[lines.len().saturating_sub(10)..].join("\n"))
}
