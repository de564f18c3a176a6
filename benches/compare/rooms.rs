//! `rooms`: runtime and network alone, driven through their doors: how dense pods are, and what an instance costs.
//!
//! Each measure is a process of its own, so that its memory is its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use network::{Connection, HttpEndpoint, Listener, PodAddress, PodNetwork};
use runtime::{Common, Form, Program, RunSpec, Running, Runtime, ServeSpec, Server};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::process::root;
use crate::samples::{micros, percentile};
use crate::{progress, table};

/// The argument that makes this program measure one thing.
pub const ROLE: &str = "room";

const MIB: f64 = 1024.0 * 1024.0;
const ROUNDS: usize = 2000;
const STARTS: usize = 1000;
/// How often the JavaScript sample is loaded.
const LOADS: usize = 7;

type Row = Vec<String>;
type Measure = (&'static str, fn(&Room) -> anyhow::Result<Vec<Row>>);

const MEASURES: [Measure; 5] = [
    ("idle-10000", |room| room.idle_pods(10_000, "≤ 20 KiB each")),
    ("idle-100000", |room| room.idle_pods(100_000, "≤ 4 GiB in all")),
    ("commands", Room::commands),
    ("requests", Room::requests),
    ("javascript", Room::javascript),
];

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (name, _) in MEASURES {
        progress(&format!("rooms: {name}"));
        let own = std::env::current_exe().context("cannot find this program")?;
        let output =
            Command::new(own).args([ROLE, name]).env_remove("RUST_BACKTRACE").stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("the measure {name} ended with {}", output.status);
        }
        let text = String::from_utf8(output.stdout)?;
        rows.extend(text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Row>()));
    }
    table::print("runtime and network alone", &["what", "measured", "aim"], &rows);
    Ok(())
}

/// Measures one thing, in the process that was started for it.
pub fn measure(name: &str) -> anyhow::Result<()> {
    let (_, measure) = MEASURES.iter().find(|(known, _)| *known == name).context("no such measure")?;
    let control = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let config = runtime::Config::new(control.handle().clone(), base::metrics::Metrics::default());
    let room = Room { runtime: Runtime::new(config), network: PodNetwork::new(network::Config::default()), control };
    for row in measure(&room)? {
        println!("{}", row.join("\t"));
    }
    Ok(())
}

struct Room {
    runtime: Runtime,
    network: PodNetwork,
    control: tokio::runtime::Runtime,
}

/// An idle HTTP pod: what serves it, where, and its address.
struct Pod {
    _server: Arc<Server>,
    _listener: Listener,
    address: PodAddress,
}

fn row(what: &str, measured: String, aim: &str) -> Row {
    vec![what.to_owned(), measured, aim.to_owned()]
}

fn prebuilt(name: &str) -> PathBuf {
    root().join(format!("workloads/prebuilt/{name}.wasm"))
}

impl Room {
    /// Where a component's artifact lies; compiles when no earlier run has.
    fn artifact(&self, component: &Path) -> anyhow::Result<PathBuf> {
        let form = Form::default();
        let bytes = std::fs::read(component).with_context(|| component.display().to_string())?;
        let folder = root().join("target/compare/rooms");
        std::fs::create_dir_all(&folder)?;
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
        let path = folder.join(format!("{}-{}.cwasm", hex::encode(digest), self.runtime.engine_key(form)?));
        if !path.exists() {
            std::fs::write(&path, self.runtime.compile(&bytes, form)?)?;
        }
        Ok(path)
    }

    fn program(&self, component: &Path) -> anyhow::Result<Program> {
        Ok(self.runtime.load(&self.artifact(component)?, Form::default())?)
    }

    fn pod(&self, program: &Program, number: usize) -> anyhow::Result<Pod> {
        let address = self.network.allocate()?;
        let common = Common {
            name: format!("default/hello-{number}/main"),
            env: vec![("POD_NAME".to_owned(), format!("hello-{number}"))],
            address: address.ip(),
            memory_bytes: Some(64 << 20),
            ..Common::default()
        };
        let server = Arc::new(self.runtime.serve(program, ServeSpec { common, ..ServeSpec::default() })?);
        let endpoint = Arc::clone(&server) as Arc<dyn HttpEndpoint>;
        let listener = self.network.listen_http(SocketAddr::new(address.ip(), 80), endpoint)?;
        Ok(Pod { _server: server, _listener: listener, address })
    }

    /// One request over the pod network, to the end of its body.
    fn get(&self, pod: &Pod) -> anyhow::Result<Duration> {
        let request = ::http::Request::builder().uri("/").header("host", "hello").body(network::body::empty())?;
        let (address, began) = (SocketAddr::new(pod.address.ip(), 80), Instant::now());
        self.control.block_on(async {
            let response = self.network.call(address, request, Connection::default()).await?;
            anyhow::ensure!(response.status().is_success(), "{}", response.status());
            response.into_body().collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
            anyhow::Ok(began.elapsed())
        })
    }

    fn idle_pods(&self, count: usize, aim: &str) -> anyhow::Result<Vec<Row>> {
        let program = self.program(&prebuilt("hello"))?;
        let first = self.pod(&program, 0)?;
        self.get(&first)?;
        let before = resident();
        let began = Instant::now();
        let pods: Vec<Pod> = (1..=count).map(|number| self.pod(&program, number)).collect::<anyhow::Result<_>>()?;
        let took = began.elapsed();
        let bytes = resident().saturating_sub(before) as f64;
        self.get(&pods[count / 2])?;
        let text = format!(
            "{:.1} KiB each, {:.0} MiB in all; {:.0} µs each to start",
            bytes / 1024.0 / count as f64,
            bytes / MIB,
            micros(took) / count as f64
        );
        Ok(vec![row(&format!("{count} idle HTTP pods"), text, aim)])
    }

    fn commands(&self) -> anyhow::Result<Vec<Row>> {
        const COUNT: usize = 5000;
        let program = self.program(&prebuilt("batch"))?;
        let before = resident();
        let began = Instant::now();
        let running: Vec<Running> = (0..COUNT)
            .map(|number| {
                let args = ["batch", "sleep", "3600"].map(str::to_owned).to_vec();
                let common = Common { name: format!("default/sleep-{number}/main"), args, ..Common::default() };
                Ok(self.runtime.run(&program, RunSpec { common, ..RunSpec::default() })?)
            })
            .collect::<anyhow::Result<_>>()?;
        let live = |running: &[Running]| running.iter().filter(|command| command.stats().memory_bytes > 0).count();
        while live(&running) < COUNT {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "{} of {COUNT} commands live", live(&running));
            std::thread::sleep(Duration::from_millis(10));
        }
        let (took, bytes) = (began.elapsed(), resident().saturating_sub(before) as f64);
        let text = format!("{:.0} KiB each, all live after {:.2} s", bytes / 1024.0 / COUNT as f64, took.as_secs_f64());
        Ok(vec![row(&format!("{COUNT} live commands that sleep"), text, "they run")])
    }

    fn requests(&self) -> anyhow::Result<Vec<Row>> {
        let program = self.program(&prebuilt("hello"))?;
        let mut starts = Vec::new();
        for number in 0..STARTS {
            let began = Instant::now();
            let pod = self.pod(&program, number)?;
            self.get(&pod)?;
            starts.push(began.elapsed());
        }
        let fresh = self.pod(&program, STARTS)?;
        let address = self.network.allocate()?;
        let common = Common { address: address.ip(), ..Common::default() };
        let spec = ServeSpec { common, reuse: true, ..ServeSpec::default() };
        let server = Arc::new(self.runtime.serve(&program, spec)?);
        let listener = self
            .network
            .listen_http(SocketAddr::new(address.ip(), 80), Arc::clone(&server) as Arc<dyn HttpEndpoint>)?;
        let reused = Pod { _server: server, _listener: listener, address };
        let (mut of_fresh, mut of_reused) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            of_fresh.push(self.get(&fresh)?);
            of_reused.push(self.get(&reused)?);
        }
        let (fresh, reused) = (micros(percentile(&mut of_fresh, 0.5)), micros(percentile(&mut of_reused, 0.5)));
        let text =
            format!("{:.0} µs: {fresh:.0} µs, of which the same on a used instance {reused:.0} µs", fresh - reused);
        Ok(vec![
            row(
                "a pod's start until its first answer, p50",
                format!("{:.0} µs", micros(percentile(&mut starts, 0.5))),
                "≤ 1 ms",
            ),
            row("a fresh instance for a request, p50", text, "≤ 15 µs"),
        ])
    }

    fn javascript(&self) -> anyhow::Result<Vec<Row>> {
        let component = root().join("target/guests/javascript.wasm");
        if !component.is_file() {
            let text = "left out: workloads/languages/build.sh makes target/guests/javascript.wasm".to_owned();
            return Ok(vec![row("JavaScript", text, "≤ 5 ms; ≤ 0.4 ms")]);
        }
        let artifact = self.artifact(&component)?;
        let (mut firsts, mut pods) = (Vec::new(), Vec::new());
        for number in 0..LOADS {
            // What is loaded already is not loaded again.
            let copy = artifact.with_file_name(format!("copy-{number}"));
            std::fs::copy(&artifact, &copy)?;
            let began = Instant::now();
            let program = self.runtime.load(&copy, Form::default())?;
            let pod = self.pod(&program, number)?;
            self.get(&pod)?;
            firsts.push(began.elapsed());
            pods.push(pod);
        }
        let first = micros(percentile(&mut firsts, 0.5)) / 1e3;
        let Some(pod) = pods.pop() else { return Ok(Vec::new()) };
        let mut times: Vec<Duration> = (0..200).map(|_| self.get(&pod)).collect::<anyhow::Result<_>>()?;
        let each = micros(percentile(&mut times, 0.5)) / 1e3;
        Ok(vec![
            row("JavaScript (13 MB): from the disk cache to the first answer, p50", format!("{first:.1} ms"), "≤ 5 ms"),
            row("JavaScript: a request to a fresh instance, p50", format!("{each:.2} ms"), "≤ 0.4 ms"),
        ])
    }
}

fn resident() -> u64 {
    let own = Pid::from_u32(std::process::id());
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[own]),
        true,
        ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(own).map_or(0, sysinfo::Process::memory)
}
