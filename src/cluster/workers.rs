//! Every role but the api: clients of an API that may be here or on another machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use base::metrics::Metrics;
use client::informers::Informers;
use images::{Artifacts, ImageStore};
use network::{DataThreads, PodNetwork};
use node::{Node, OnReady};
use runtime::Runtime;
use tokio::runtime::Handle;
use tokio_util::context::TokioContext;

use crate::background::Background;
use crate::capacity;
use crate::config::Config;
use crate::control::Control;
use crate::control_plane;
use crate::gateway::LocalNode;
use crate::identity::{self, Upstream};
use crate::origin::ServerRegistry;
use crate::paths::Paths;
use crate::roles::Role;
use crate::running::StartError;
use crate::sandbox::WasmSandbox;
use crate::spare_core;
use crate::traffic::LocalTraffic;
use crate::usage::LocalUsage;

/// What the roles are made of.
pub(crate) struct Parts<'a> {
    pub config: &'a Config,
    pub paths: &'a Paths,
    pub upstream: &'a Upstream,
    pub images: ImageStore,
    pub network: PodNetwork,
    pub metrics: Metrics,
}

/// The roles that run here.
pub(crate) struct Workers {
    node: Option<Node>,
    ingress: Option<proxy::Running>,
    services: Option<proxy::Ready>,
    threads: Option<DataThreads>,
    _background: Background,
}

impl Workers {
    /// Starts the roles that `parts.config` names.
    pub async fn start(parts: Parts<'_>, control: Option<&Control>, tasks: &Tasks) -> Result<Self, StartError> {
        let roles = &parts.config.roles;
        let background = Background::start().map_err(StartError::Threads)?;
        let behind = background.handle();
        let mut workers = Self { node: None, ingress: None, services: None, threads: None, _background: background };
        let mut on_ready: Option<OnReady> = None;
        // One watch and one cache a kind for all of them: what is shared is what they read, not who they write as.
        let informers = Informers::new(parts.upstream.client(identity::informers()), tasks);
        if roles.has(Role::Controllers) {
            control_plane::start_controllers(&parts, &informers, control, tasks)?;
        }
        if roles.has(Role::Scheduler) {
            control_plane::start_scheduler(&parts, &informers, control, &tasks.on(&behind));
        }
        if roles.has(Role::Node) || roles.has(Role::Ingress) {
            let (ready, early) = proxy::services::keep(&informers, &parts.network, tasks);
            workers.services = Some(ready);
            on_ready = Some(Arc::new(move |pod, address| early.ready(pod, address)));
            proxy::activate(&informers, &parts.network, parts.upstream.client(identity::proxy()), tasks);
            if roles.has(Role::Ingress) {
                let threads = DataThreads::per_core().map_err(StartError::Threads)?;
                if parts.config.keep_cores_free {
                    spare_core::keep(threads.clone(), tasks);
                }
                workers.ingress = Some(start_ingress(&parts, &informers, threads.clone(), tasks).await?);
                workers.threads = Some(threads);
            }
        }
        if let Some(control) = control {
            let ingress = workers.ingress.as_ref().map(|ingress| ingress.traffic.clone());
            control.server.set_traffic_source(Arc::new(LocalTraffic { network: parts.network.clone(), ingress }));
        }
        if roles.has(Role::Node) {
            let tasks = tasks.on(&behind);
            let start = start_node(parts, &informers, control, (Handle::current(), on_ready), &tasks);
            workers.node = Some(TokioContext::new(start, behind).await?);
        }
        Ok(workers)
    }

    /// Waits until every role does its work.
    pub async fn ready(&self) {
        if let Some(services) = &self.services {
            services.ready().await;
        }
        if let Some(ingress) = &self.ingress {
            ingress.ready.ready().await;
        }
        if let Some(node) = &self.node {
            node.ready().await;
        }
    }

    /// Where the ingress listens.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.ingress.as_ref().map(|ingress| ingress.ingress_address)
    }

    /// Ends pods, while all that they need is still there.
    pub async fn drain(&self, grace: Duration) {
        if let Some(node) = &self.node {
            node.stop(grace).await;
        }
    }

    /// Ends the threads that requests ran on, once nothing listens any more.
    pub async fn finish(&self) {
        if let Some(threads) = &self.threads {
            threads.stop().await;
        }
    }
}

async fn start_ingress(
    parts: &Parts<'_>,
    informers: &Informers,
    threads: DataThreads,
    tasks: &Tasks,
) -> Result<proxy::Running, StartError> {
    let config =
        proxy::Config { listen: parts.config.ingress_listen, grace: parts.config.grace, ..proxy::Config::default() };
    let client = parts.upstream.client(identity::proxy());
    let network = parts.network.clone();
    Ok(proxy::start(config, client, informers, network, threads, &parts.metrics, tasks).await?)
}

/// `serving` is where the waits of guests end, whose requests are not the node's business; `on_ready` sends calls to pods.
async fn start_node(
    parts: Parts<'_>,
    informers: &Informers,
    control: Option<&Control>,
    (serving, on_ready): (Handle, Option<OnReady>),
    tasks: &Tasks,
) -> Result<Node, StartError> {
    let Parts { config, paths, upstream, images, network, metrics } = parts;
    let capacity = capacity::parse(&config.node_capacity)?;
    let folder = config.artifacts.clone().unwrap_or_else(|| paths.artifacts());
    let artifacts = Artifacts::open_with(&folder, config.compile_bounds)?;
    images.set_artifacts(artifacts.clone());
    let runtime = runtime::Config::new(serving, metrics);
    let runtime = Runtime::new(runtime::Config { stores: Some(paths.node().join("stores")), ..runtime });
    let sandbox =
        WasmSandbox::new(runtime, artifacts, images.clone(), config.compiler.clone(), network.clone(), tasks.clone());
    let name = config.node_name.clone().unwrap_or_else(|| node_name(&base::os::host().name));
    let client = upstream.client(identity::node(&name));
    if control.is_none() {
        images.set_origin(Arc::new(ServerRegistry(client.clone())));
    }
    let settings = node::Config {
        name,
        folder: paths.node(),
        capacity,
        allow_host_paths: config.allow_host_paths.clone(),
        image_limits: config.image_limits,
        ..node::Config::default()
    };
    // A node alone watches its own pods only, and as who it is.
    let of_all_pods = config.roles.has(Role::Controllers) || config.roles.has(Role::Scheduler);
    let informers = if of_all_pods { informers.clone() } else { Informers::new(client.clone(), tasks) };
    let knowledge = node::Knowledge { informers, of_all_pods, on_ready };
    let node = Node::start(settings, client, knowledge, Arc::new(sandbox), images, network.clone(), tasks).await?;
    if let Some(control) = control {
        let usage = LocalUsage { node: node.name().to_owned(), stats: node.stats() };
        control.server.set_metrics_source(Arc::new(usage));
        control.server.set_node_gateway(Arc::new(LocalNode::new(&node, network)));
    }
    Ok(node)
}

/// A host's name as a node's: lower case, and nothing but letters, digits, `-` and `.`.
fn node_name(host: &str) -> String {
    let lower = host.to_lowercase();
    let name: String = lower
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
