//! Starting the ingress.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::Tasks;
use base::metrics::Metrics;
use client::Client;
use client::informers::{Informer, Informers};
use k8s_openapi::api::networking::v1::{Ingress as IngressObject, IngressClass};
use network::{DataThreads, PodNetwork};
use thiserror::Error;
use tokio::sync::watch;

use crate::ingress::{Ingress, Limits};
use crate::measure::Measures;
use crate::routes::build;
use crate::traffic::IngressTraffic;
use crate::{class, routes, status};

/// What is given.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// How long requests in flight may take to end at shutdown.
    pub grace: Duration,
    /// What a client may ask of a connection.
    pub limits: Limits,
    /// The address that Ingresses get into their status, where it is not the one that is listened on.
    pub public_ip: Option<IpAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            grace: Duration::from_secs(30),
            limits: Limits::default(),
            public_ip: None,
        }
    }
}

/// Why the ingress did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address} for the ingress ({}); choose another address with --ingress-listen",
        reason(source)
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface has this address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// An ingress that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it listens.
    pub ingress_address: SocketAddr,
    /// Ready once the first route table is in force.
    pub ready: Ready,
    /// What passes through each Ingress.
    pub traffic: IngressTraffic,
}

/// Says when the first table is in force.
#[derive(Clone, Debug)]
pub struct Ready {
    is_ready: watch::Receiver<bool>,
}

impl Ready {
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, is_ready) = watch::channel(false);
        (sender, Self { is_ready })
    }

    /// Whether it is.
    pub fn is_ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    /// Waits until it is; for ever when the room stops before.
    pub async fn ready(&self) {
        if self.is_ready.clone().wait_for(|ready| *ready).await.is_err() && !self.is_ready() {
            std::future::pending().await
        }
    }
}

/// Listens, and serves Ingresses until `tasks` are told to stop. Clients are answered from the start: until the first
/// table is there, every host is one that no Ingress names.
pub async fn start(
    config: Config,
    client: Client,
    informers: &Informers,
    network: PodNetwork,
    threads: DataThreads,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<Running, StartError> {
    let Config { listen, grace, limits, public_ip } = config;
    let (listener, ingress_address) = bind(listen).map_err(|source| StartError::Listen { address: listen, source })?;
    let (measures, traffic) = (Measures::register(metrics), IngressTraffic::default());
    let ingress = Arc::new(Ingress { routes: ArcSwap::default(), network, measures, limits, traffic: traffic.clone() });
    let shutdown = tasks.shutdown();
    tasks.service("ingress", Arc::clone(&ingress).serve(listener, threads, shutdown.clone(), grace));

    let (sender, ready) = Ready::new();
    let (publish, served) = watch::channel(Vec::new());
    let routes = Routes { ingresses: informers.of(), classes: informers.of(), ingress, publish };
    tasks.service("ingress routes", {
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                () = routes.keep(sender) => {}
                () = shutdown.cancelled() => {}
            }
        }
    });
    tasks.job("ingress class", class::ensure(client.clone()));
    let reached = SocketAddr::new(public_ip.unwrap_or_else(|| reachable(ingress_address)), ingress_address.port());
    tasks.job("ingress status", status::keep(client, reached, served));
    Ok(Running { ingress_address, ready, traffic })
}

/// The address under which somebody on this machine reaches a listener.
fn reachable(address: SocketAddr) -> IpAddr {
    if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() }
}

fn bind(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // Elsewhere than on Windows this lets a restarted ingress have its port back at once; there it would let two share it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(1024)?.into_std()?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Keeps the route table as the API has it.
pub(crate) struct Routes {
    pub(crate) ingresses: Informer<IngressObject>,
    pub(crate) classes: Informer<IngressClass>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) publish: watch::Sender<Vec<Arc<IngressObject>>>,
}

impl Routes {
    pub(crate) async fn keep(self, ready: watch::Sender<bool>) {
        let (mut ingresses, mut classes) = (self.ingresses.changed(), self.classes.changed());
        self.ingresses.synced().await;
        self.classes.synced().await;
        loop {
            ingresses.mark_unchanged();
            classes.mark_unchanged();
            let built = build(&self.ingresses.list(), &self.classes.list());
            self.ingress.traffic.set(built.served.iter().map(|ingress| routes::key_of(ingress)));
            self.ingress.routes.store(Arc::new(built.table));
            self.publish.send_replace(built.served);
            ready.send_replace(true);
            tokio::select! {
                changed = ingresses.changed() => if changed.is_err() { return },
                changed = classes.changed() => if changed.is_err() { return },
            }
        }
    }
}
