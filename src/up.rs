//! `coracle up`: a cluster, or a part of one, until it is told to stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use base::os::{Urgency, set_thread_urgency};
use cli::connection::Call;
use cli::{Connection, ControlPlaneArgs, UpArgs, apply, terminal};
use cluster::{Cluster, Config, ControlPlane, Modes, NodeSettings, Role, Roles, SchedulerConfig, StartError, Timing};
use serde_json::Value;

use crate::available::available;

/// The exit code for a command line that asks for what cannot be.
const USAGE: u8 = 2;
/// The exit code after a second Ctrl-C, as a shell has it for a program that the signal ended.
const INTERRUPTED: i32 = 130;
/// How long pods get to end at Ctrl-C.
const GRACE: Duration = Duration::from_secs(30);
/// Threads for the API, controllers and node; guests and connections have threads of their own.
const CONTROL_THREADS_MAX: usize = 4;

/// Runs until Ctrl-C, SIGTERM, or a failure.
pub fn run(args: UpArgs) -> ExitCode {
    if let Err(error) = base::logs::start(&args.log) {
        terminal::complain(&format!("coracle: {}", base::report(&error)));
        return ExitCode::from(USAGE);
    }
    let config = match config(&args) {
        Ok(config) => config,
        Err(error) => {
            terminal::complain(&format!("coracle: {error:#}"));
            return ExitCode::from(USAGE);
        }
    };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, CONTROL_THREADS_MAX))
        .thread_name("control")
        .on_thread_start(|| set_thread_urgency(Urgency::Control))
        .enable_all()
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(serve(args, config));
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("coracle: {}", base::report(error.as_ref())));
            let usage = error.downcast_ref::<StartError>().is_some_and(StartError::is_usage);
            if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn config(args: &UpArgs) -> anyhow::Result<Config> {
    let roles = Roles::parse(&args.roles)?;
    if !roles.has(Role::Api) && args.server_kubeconfig.is_none() {
        bail!("without the api role this process needs a server to join: add --server-kubeconfig FILE");
    }
    if roles.has(Role::Api) && args.server_kubeconfig.is_some() {
        bail!("with the api role this process is the server: drop --server-kubeconfig, or leave api out of --roles");
    }
    if args.manifests.iter().chain(&args.load).any(|path| !path.exists()) {
        let missing = args.manifests.iter().chain(&args.load).find(|path| !path.exists());
        bail!("there is no {}", missing.map(|path| path.display().to_string()).unwrap_or_default());
    }
    let data_dir = (!args.ephemeral).then(|| args.data_dir.clone().unwrap_or_else(cli::args::default_data_dir));
    // What is printed is pasted in another terminal, which may be in another folder.
    let data_dir = data_dir.map(std::path::absolute).transpose()?;
    Ok(Config {
        roles,
        data_dir,
        server_kubeconfig: args.server_kubeconfig.clone(),
        controllers: args.controllers.clone(),
        control_plane: control_plane(&args.control_plane)?,
        node_capacity: args.node_capacity.clone(),
        allow_host_paths: args.allow_host_path.iter().map(std::path::absolute).collect::<Result<_, _>>()?,
        tls_san: args.tls_san.clone(),
        api_listen: args.api_listen,
        ingress_listen: args.ingress_listen,
        kubeconfig: args.kubeconfig.clone(),
        node_name: args.node_name.clone(),
        token_auth_file: args.token_auth_file.clone(),
        authorization_mode: Modes::parse(&args.authorization_mode)?,
        grace: GRACE,
        artifacts: None,
        compiler: std::env::current_exe().ok(),
        keep_cores_free: true,
        compile_bounds: bounds(&args.compile_limits)?,
        registries: registries(args)?,
        image_limits: args.image_gc,
    })
}

fn control_plane(args: &ControlPlaneArgs) -> anyhow::Result<ControlPlane> {
    let timing = Timing {
        lease: args.leader_elect_lease_duration,
        renew: args.leader_elect_renew_deadline,
        retry: args.leader_elect_retry_period,
    };
    if timing.lease <= timing.renew || timing.renew <= timing.retry {
        bail!("of the --leader-elect times the lease must be longest and the retry period shortest");
    }
    if timing.lease < Duration::from_secs(1) {
        bail!("--leader-elect-lease-duration must be at least a second");
    }
    let rates = [args.node_eviction_rate, args.secondary_node_eviction_rate, args.unhealthy_zone_threshold];
    if !rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0) {
        bail!("rates and thresholds of nodes are numbers from 0 on");
    }
    let scheduler = match &args.scheduler_config {
        None => SchedulerConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            SchedulerConfig::parse(&text).with_context(|| format!("--scheduler-config {}", path.display()))?
        }
    };
    Ok(ControlPlane {
        leader_election: args.leader_elect.then_some(timing),
        scheduler,
        nodes: NodeSettings {
            monitor_period: args.node_monitor_period,
            monitor_grace: args.node_monitor_grace_period,
            startup_grace: args.node_startup_grace_period,
            eviction_rate: args.node_eviction_rate,
            secondary_eviction_rate: args.secondary_node_eviction_rate,
            large_zone: args.large_cluster_size_threshold,
            unhealthy_zone: args.unhealthy_zone_threshold,
        },
        terminated_pods: Some(args.terminated_pod_gc_threshold),
    })
}

fn bounds(settings: &[String]) -> anyhow::Result<images::Bounds> {
    let mut bounds = images::Bounds::default();
    settings.iter().try_for_each(|setting| bounds.set(setting)).context("--compile-limits")?;
    Ok(bounds)
}

fn registries(args: &UpArgs) -> anyhow::Result<images::Registries> {
    let mut registries = images::Registries { insecure: args.insecure_registry.clone(), ..Default::default() };
    args.registry_mirror.iter().try_for_each(|mirror| registries.add_mirror(mirror)).context("--registry-mirror")?;
    if let Some(pulls) = args.max_parallel_image_pulls {
        registries.pulls_max = pulls;
    }
    Ok(registries)
}

async fn serve(args: UpArgs, config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let cluster = tokio::select! {
        started = Cluster::start(config) => started?,
        () = signals.next() => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = furnish_and_wait(&args, &cluster) => outcome,
        () = signals.next() => Ok(()),
    };
    tokio::select! {
        () = cluster.stop() => outcome,
        () = signals.next() => stop_at_once(cluster.temporary_folder()),
    }
}

/// A second signal leaves no time for destructors: everything acknowledged is on disk.
#[allow(clippy::disallowed_methods)]
fn stop_at_once(temporary: Option<&Path>) -> ! {
    if let Some(folder) = temporary {
        let _ = std::fs::remove_dir_all(folder);
    }
    std::process::exit(INTERRUPTED)
}

async fn furnish_and_wait(args: &UpArgs, cluster: &Cluster) -> anyhow::Result<()> {
    let connection = Connection::over(cluster.admin_client(), cluster.server_url());
    load(&connection, &args.load).await?;
    if !args.manifests.is_empty() {
        let files = apply::as_arguments(&args.manifests);
        cli::apply_files(&connection, &files, apply::Again::Leave, |applied| {
            terminal::line(&format!("{} {}", applied.name, applied.outcome.word()));
        })
        .await?;
        available(&connection).await?;
    }
    print_table(&connection, cluster).await?;
    bail!("{}; see the log for why", cluster.failed().await)
}

/// Pushes each `.wasm` of each folder under its file's name.
async fn load(connection: &Connection, paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths {
        for file in components(path)? {
            let name = cli::image_name(&file);
            cli::push_file(connection, &file, &name).await?;
        }
    }
    Ok(())
}

fn components(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "wasm"));
    files.sort();
    if files.is_empty() {
        bail!("there is no .wasm file in {}", path.display());
    }
    Ok(files)
}

async fn print_table(connection: &Connection, cluster: &Cluster) -> anyhow::Result<()> {
    let mut rows = vec![vec!["API".to_owned(), cluster.server_url()]];
    if let Some(address) = cluster.ingress_address() {
        rows.push(vec!["Ingress".to_owned(), format!("http://{address}")]);
        for url in ingress_urls(connection, address.port()).await? {
            rows.push(vec![String::new(), url]);
        }
    }
    if let Some(path) = cluster.kubeconfig() {
        rows.push(vec!["Kubeconfig".to_owned(), path.display().to_string()]);
    }
    let mut text = terminal::columns(&rows);
    if let Some(path) = cluster.kubeconfig() {
        text.push_str(&format!("\nexport KUBECONFIG={}\n", path.display()));
    }
    terminal::raw(text.as_bytes());
    Ok(())
}

async fn ingress_urls(connection: &Connection, port: u16) -> anyhow::Result<Vec<String>> {
    let list = connection.json(Call::get("/apis/networking.k8s.io/v1/ingresses")).await?;
    let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rules = items.iter().filter_map(|item| item.pointer("/spec/rules")?.as_array()).flatten();
    let hosts = rules.filter_map(|rule| rule.get("host")?.as_str());
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let mut urls: Vec<String> = hosts.map(|host| format!("http://{host}{port}/")).collect();
    urls.sort();
    urls.dedup();
    Ok(urls)
}

/// What asks a process to stop. Heard from the start to the end, so that none is lost between two waits.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn new() -> anyhow::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
