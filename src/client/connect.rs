//! Making a [`Client`].

use std::path::{Path, PathBuf};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use thiserror::Error;
use tower::{BoxError, Service};

/// Why no client could be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The file cannot be read or is no kubeconfig.
    #[error("cannot read the kubeconfig {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// No file was named, and none was found where kubectl looks.
    #[error("no kubeconfig was found; name one with --kubeconfig FILE or set KUBECONFIG")]
    Missing {
        /// What was tried.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig does not say how to reach a cluster.
    #[error("the kubeconfig cannot be used")]
    Use {
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The TLS or authentication settings are wrong.
    #[error("cannot set up the connection to {server}")]
    Setup {
        /// The server's address.
        server: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// A client that calls `service` directly, with no socket. Must be called inside a tokio runtime. Whoever makes the
/// service decides which user the calls are made as.
pub fn in_process<S, B>(service: S, default_namespace: &str) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, default_namespace)
}

/// A client for the server that a kubeconfig names: the file at `path`, else the one that kubectl would take.
///
/// # Errors
/// [`ConnectError`] when the file, the context or its credentials cannot be used. The server is not called.
pub async fn from_kubeconfig(path: Option<&Path>, context: Option<&str>) -> Result<Client, ConnectError> {
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path)
            .map_err(|source| ConnectError::Read { path: path.to_owned(), source: Box::new(source) })?,
        None => Kubeconfig::read().map_err(|source| ConnectError::Missing { source: Box::new(source) })?,
    };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|source| ConnectError::Use { source: Box::new(source) })?;
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ConnectError::Setup { server, source: Box::new(source) })
}
