//! The api role: store, objects, API server, certificates, and what every cluster has from the start.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apiserver::authentication::{ClientCertificate, StaticTokens};
use apiserver::authorization::{Escalation, NodeRestriction, Rbac};
use apiserver::certificates::{Authority, CertificateRequests};
use apiserver::tokens::{BootstrapTokens, ServiceAccountTokens, TokenIssuer};
use apiserver::{ApiServer, Authenticator, Authorizer, HealthCheck};
use base::Tasks;
use base::metrics::Metrics;
use images::ImageStore;
use objects::{Objects, WriteOptions};
use store::{SharedStore, Store};

use crate::bootstrap::{self, Facts};
use crate::config::Config;
use crate::keys::ClusterKeys;
use crate::paths::Paths;
use crate::running::StartError;
use crate::{identity, kubeconfig};

/// The API of this process.
pub(crate) struct Control {
    pub server: ApiServer,
    pub store: SharedStore,
    pub address: SocketAddr,
    pub kubeconfig: PathBuf,
    pub ca_certificate: String,
    pub keys: Arc<ClusterKeys>,
    /// Set once every role of this process does its work: `/readyz` is about all of them.
    pub ready: Arc<AtomicBool>,
}

/// Starts the API and answers once it serves and every cluster's objects exist. `endpoint` is where it is to be reached
/// on the pod network.
pub(crate) async fn start(
    config: &Config,
    paths: &Paths,
    images: &ImageStore,
    endpoint: SocketAddr,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<Control, StartError> {
    // Before anything is written: a port that is taken is the most likely failure.
    let listener = listen(config.api_listen)?;
    let address = listener.local_addr().map_err(|source| listen_error(config.api_listen, source))?;
    let authority = Arc::new(Authority::load_or_create(&paths.pki())?);
    let front_proxy = Authority::load_or_create(&paths.pki().join("front-proxy"))?;
    let issuer = Arc::new(TokenIssuer::load_or_create(&paths.pki())?);
    let mut authenticators = authenticators(config)?;

    let store = open_store(config, paths).await?;
    let objects = Objects::open(Arc::clone(&store), api::kinds::builtin(), objects::Config::default(), tasks).await?;
    apiserver::admission::install(&objects);
    authenticators.push(Arc::new(ServiceAccountTokens::new(Arc::clone(&issuer), &objects)));
    authenticators.push(Arc::new(BootstrapTokens::new(&objects)));
    let rbac = Rbac::new(&objects);
    let authorizer: Arc<dyn Authorizer> = Arc::new(config.authorization_mode.union(&objects, &rbac));
    objects.add_admission(Arc::new(NodeRestriction::new(&objects)));
    objects.add_admission(Arc::new(CertificateRequests::new(Arc::clone(&authorizer))));
    objects.add_admission(Arc::new(Escalation::new(rbac, Arc::clone(&authorizer))));
    let server = ApiServer::new(
        objects.clone(),
        apiserver::Config {
            authenticators,
            authorizer,
            issuer: Some(Arc::clone(&issuer)),
            images: Some(images::router(images.clone())),
            metrics: metrics.clone(),
            ..apiserver::Config::default()
        },
    );

    // Before anybody can ask.
    let (ready, bootstrapped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    server.add_check(check("poststarthook/rbac/bootstrap-roles", &bootstrapped));
    server.add_check(check("roles", &ready));
    let tls = authority.server_tls(&authority.server_certificate(&names(config, address))?)?;
    let serving = server.clone();
    let own = tasks.clone();
    tasks.service("api listener", async move {
        if let Err(error) = serving.serve(listener, tls, &own).await {
            tracing::error!(%error, "the API listener failed");
        }
    });
    let facts = Facts {
        endpoint,
        server_url: kubeconfig::server_url(address),
        ca_certificate: authority.certificate_pem().to_owned(),
        front_proxy_ca: front_proxy.certificate_pem().to_owned(),
    };
    bootstrap::run(&objects, identity::bootstrap(), &facts).await?;
    bootstrapped.store(true, Ordering::Release);
    let proxy = front_proxy.client_certificate("front-proxy-client", &[])?;
    server.set_proxy_identity(proxy.certificate_pem, proxy.key_pem);
    server.keep_api_services(tasks);
    let checker = identity::controller("validatingadmissionpolicy-status-controller");
    let checked = apiserver::admission::keep_policy_status(objects.clone(), WriteOptions::by(checker));
    tasks.job("status of admission policies", checked);

    let path = config.kubeconfig.clone().unwrap_or_else(|| paths.kubeconfig());
    let admin = authority.admin_certificate()?;
    kubeconfig::write(&path, address, &authority, &admin)
        .map_err(|source| StartError::Kubeconfig { path: path.clone(), source })?;
    let ca_certificate = authority.certificate_pem().to_owned();
    let keys = Arc::new(ClusterKeys { authority, issuer });
    Ok(Control { server, store, address, kubeconfig: path, ca_certificate, keys, ready })
}

/// A line of `/readyz` that is fine once `done` is set.
fn check(name: &str, done: &Arc<AtomicBool>) -> HealthCheck {
    let done = Arc::clone(done);
    HealthCheck::ready(name, move || {
        if done.load(Ordering::Acquire) { Ok(()) } else { Err("this process is still starting".to_owned()) }
    })
}

async fn open_store(config: &Config, paths: &Paths) -> Result<SharedStore, StartError> {
    if config.data_dir.is_none() {
        return Ok(Arc::new(store::Memory::new()));
    }
    let folder = paths.store();
    let opened = tokio::task::spawn_blocking(move || store::Embedded::open(&folder)).await;
    let embedded: Arc<dyn Store> = match opened {
        Ok(opened) => Arc::new(opened?),
        Err(error) => return Err(StartError::Panicked(error.to_string())),
    };
    Ok(embedded)
}

fn authenticators(config: &Config) -> Result<Vec<Arc<dyn Authenticator>>, StartError> {
    let mut found: Vec<Arc<dyn Authenticator>> = vec![Arc::new(ClientCertificate)];
    if let Some(path) = &config.token_auth_file {
        found.push(Arc::new(StaticTokens::load(path)?));
    }
    Ok(found)
}

/// What the server's certificate is for, beyond what every one is for.
fn names(config: &Config, address: SocketAddr) -> Vec<String> {
    let mut names = config.tls_san.clone();
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| listen_error(address, source))
}

fn listen_error(address: SocketAddr, source: io::Error) -> StartError {
    StartError::ApiListen { address, why: source }
}
