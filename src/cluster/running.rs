//! A process that is (a part of) a cluster: start, readiness, stop.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use apiserver::certificates::CertificateError;
use base::Tasks;
use base::files::{Claim, ClaimError, claim};
use base::metrics::Metrics;
use client::Client;
use images::ImageStore;
use network::{PodAddress, PodNetwork};
use thiserror::Error;

use crate::capacity::CapacityError;
use crate::config::Config;
use crate::control::{self, Control};
use crate::identity::{self, Upstream};
use crate::kubernetes_service::KubernetesService;
use crate::paths::Paths;
use crate::roles::Role;
use crate::transport::Transport;
use crate::webhooks::Webhooks;
use crate::workers::Workers;
use crate::{kubeconfig, workers};

/// The port that the API has on the pod network.
const API_PORT: u16 = 6443;
/// How long tasks may take to end once the pods have.
const LAST_TASKS: Duration = Duration::from_secs(5);

/// Why a process did not become what it was told to be.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("cannot make a temporary folder")]
    Temporary(#[source] io::Error),
    #[error("cannot listen on {address} for the API ({why}); choose another address with --api-listen")]
    ApiListen { address: SocketAddr, why: io::Error },
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    #[error(transparent)]
    Tokens(#[from] apiserver::authentication::TokenFileError),
    #[error(transparent)]
    TokenKey(#[from] apiserver::tokens::TokenKeyError),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error(transparent)]
    Objects(#[from] objects::OpenError),
    #[error("cannot write the kubeconfig {}", path.display())]
    Kubeconfig { path: PathBuf, source: io::Error },
    #[error("the API refused what every cluster has")]
    Bootstrap(#[from] api::Status),
    #[error(transparent)]
    Images(#[from] images::OpenError),
    #[error(transparent)]
    Artifacts(#[from] images::ArtifactError),
    #[error(transparent)]
    Controllers(#[from] controllers::SelectionError),
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    #[error(transparent)]
    Node(#[from] node::RegisterError),
    #[error(transparent)]
    Ingress(#[from] proxy::StartError),
    #[error(transparent)]
    Connect(#[from] client::ConnectError),
    #[error("no address is left on the pod network")]
    Address(#[from] network::AddressError),
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    #[error("without the api role a server is needed: name its kubeconfig with --server-kubeconfig FILE")]
    NoServer,
    #[error("--node-name {name:?} cannot name a node: {why}")]
    NodeName { name: String, why: String },
    #[error("a part of the start failed: {0}")]
    Panicked(String),
}

impl StartError {
    /// Whether the configuration asks for what cannot be, on any machine.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Controllers(_) | Self::Capacity(_) | Self::NoServer | Self::NodeName { .. } => true,
            Self::Certificates(error) => matches!(error, CertificateError::Name { .. }),
            _ => false,
        }
    }
}

/// A running process.
pub struct Cluster {
    tasks: Tasks,
    grace: Duration,
    upstream: Upstream,
    control: Option<Control>,
    workers: Workers,
    server_url: String,
    _api_address: PodAddress,
    /// Held until the end: nobody else may use the data folder.
    _claim: Claim,
    temporary: Option<tempfile::TempDir>,
}

impl Cluster {
    /// Starts everything that `config` names, and answers once all of it is ready.
    ///
    /// # Errors
    /// The first failure, as a sentence for the person who started it. What had started is stopped.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tasks = Tasks::new();
        let started = Self::build(config, &tasks).await;
        if started.is_err() {
            tasks.stop(LAST_TASKS).await;
        }
        started
    }

    async fn build(config: Config, tasks: &Tasks) -> Result<Self, StartError> {
        check(&config)?;
        let temporary = match config.data_dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(StartError::Temporary)?),
        };
        let folder = temporary.as_ref().map(|folder| folder.path().to_owned()).or_else(|| config.data_dir.clone());
        let paths = Paths::new(&folder.unwrap_or_default());
        let claim = claim(&paths.data)?;
        let metrics = Metrics::default();
        let images = ImageStore::open_with(&paths.images(), config.registries.clone())?;
        let network = PodNetwork::new(network::Config::default());
        // The first address of the network is the API's, so that it is the same at each start.
        let api_address = network.allocate()?;

        let control = if config.roles.has(Role::Api) {
            let endpoint = SocketAddr::new(api_address.ip(), API_PORT);
            Some(control::start(&config, &paths, &images, endpoint, &metrics, tasks).await?)
        } else {
            None
        };
        if control.is_some() && !config.roles.has(Role::Node) {
            crate::registry_sweep::start(images.clone(), tasks);
        }
        let upstream = upstream(&config, control.as_ref()).await?;
        let server_url = match &control {
            Some(control) => kubeconfig::server_url(control.address),
            None => config.server_kubeconfig.as_deref().map(joined_server).unwrap_or_default(),
        };
        if let Some(control) = &control {
            serve_kubernetes(control, &network, api_address.ip(), tasks);
            let transport = Arc::new(Transport::new(control.server.objects().clone(), network.clone()));
            control.server.objects().set_webhook_caller(Arc::new(Webhooks::new(transport.clone())));
            control.server.set_transport(transport);
        }
        let parts = workers::Parts { config: &config, paths: &paths, upstream: &upstream, images, network, metrics };
        let workers = Workers::start(parts, control.as_ref(), tasks).await?;
        tokio::select! {
            () = workers.ready() => {}
            failure = tasks.first_failure() => return Err(StartError::Panicked(failure)),
        }
        if let Some(control) = &control {
            control.ready.store(true, Ordering::Release);
        }
        Ok(Self {
            tasks: tasks.clone(),
            grace: config.grace,
            upstream,
            control,
            workers,
            server_url,
            _api_address: api_address,
            _claim: claim,
            temporary,
        })
    }

    /// A client with the administrator's rights, without a socket where the API is here.
    pub fn admin_client(&self) -> Client {
        self.upstream.client(identity::bootstrap())
    }

    /// `https://127.0.0.1:6443`, here or of the server that was joined.
    pub fn server_url(&self) -> String {
        self.server_url.clone()
    }

    /// The administrator's kubeconfig, where the API is here.
    pub fn kubeconfig(&self) -> Option<&Path> {
        self.control.as_ref().map(|control| control.kubeconfig.as_path())
    }

    /// The folder that goes with the cluster, for a process that ends without dropping it.
    pub fn temporary_folder(&self) -> Option<&Path> {
        self.temporary.as_ref().map(tempfile::TempDir::path)
    }

    /// Where the ingress listens, if it does here.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.workers.ingress_address()
    }

    /// Waits for the first part that ends although it should not, and says which.
    pub async fn failed(&self) -> String {
        self.tasks.first_failure().await
    }

    /// Drains pods, stops everything in reverse order of its start, and leaves the store with a checked copy.
    pub async fn stop(&self) {
        self.workers.drain(self.grace).await;
        if !self.tasks.stop(LAST_TASKS).await {
            tracing::warn!("some tasks did not end in time");
        }
        self.workers.finish().await;
        if let Some(control) = &self.control {
            control.store.close().await;
        }
    }
}

/// What can be refused before anything is made.
fn check(config: &Config) -> Result<(), StartError> {
    controllers::Selection::parse(&config.controllers.join(","))?;
    crate::capacity::parse(&config.node_capacity)?;
    let name = config.node_name.as_deref().unwrap_or("localhost");
    match api::names::dns_subdomain_errors(name).into_iter().next() {
        Some(why) => Err(StartError::NodeName { name: name.to_owned(), why }),
        None => Ok(()),
    }
}

async fn upstream(config: &Config, control: Option<&Control>) -> Result<Upstream, StartError> {
    match (control, &config.server_kubeconfig) {
        (Some(control), _) => Ok(Upstream::Here(control.server.clone())),
        (None, Some(path)) => Ok(Upstream::There(client::from_kubeconfig(Some(path), None).await?)),
        (None, None) => Err(StartError::NoServer),
    }
}

/// The server that a kubeconfig names; its path when it says so in a way of its own.
fn joined_server(path: &Path) -> String {
    let found = kube::config::Kubeconfig::read_from(path).ok().and_then(|kubeconfig| {
        let current = kubeconfig.current_context?;
        let context = kubeconfig.contexts.into_iter().find(|context| context.name == current)?.context?;
        let cluster = kubeconfig.clusters.into_iter().find(|cluster| cluster.name == context.cluster)?;
        cluster.cluster?.server
    });
    found.unwrap_or_else(|| path.display().to_string())
}

/// Lets pods reach the API through the `kubernetes` Service.
fn serve_kubernetes(control: &Control, network: &PodNetwork, ip: IpAddr, tasks: &Tasks) {
    let endpoint = Arc::new(KubernetesService::new(&control.server));
    match network.listen_http(SocketAddr::new(ip, API_PORT), endpoint) {
        Ok(listener) => {
            let shutdown = tasks.shutdown();
            tasks.service("kubernetes service", async move {
                shutdown.cancelled().await;
                drop(listener);
            });
        }
        Err(error) => tracing::error!(%error, "pods cannot reach the API"),
    }
}
