//! Connections: the network's second door, beside calls. Addresses, names and Services mean what they mean to calls.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::http_over_tcp::OverTcp;
use crate::listener::InFlight;
use crate::tcp::{Acceptor, TcpListener, TcpOptions, ephemeral};
use crate::{AddressInUse, CallError, Connection, PodNetwork, PortRef, Stream, Target, tcp_to_http};

/// How many ports are looked at for one that is free.
const PORTS_TRIED: u32 = 28_232;

impl PodNetwork {
    /// Listens for connections at `address`. Calls are let in too: they arrive as HTTP/1.1, each on a connection of its own.
    ///
    /// # Errors
    /// When somebody listens there already.
    pub fn listen_tcp(&self, address: SocketAddr, options: TcpOptions) -> Result<TcpListener, AddressInUse> {
        let (acceptor, queue) = Acceptor::new(address, options);
        let acceptor = Arc::new(acceptor);
        let endpoint = Arc::new(OverTcp(Arc::clone(&acceptor)));
        let listener = self.listeners().bind(address, endpoint, Some(acceptor))?;
        self.changed().notify_waiters();
        Ok(TcpListener::new(listener, queue))
    }

    /// Opens a connection from `source` to whoever listens at `address`: a pod, or a Service by its cluster address. The
    /// loopback addresses and the unspecified one are the caller's own pod.
    ///
    /// # Errors
    /// [`CallError::Refused`] when nobody listens there, and what a call would say.
    pub async fn connect(&self, address: SocketAddr, source: IpAddr) -> Result<Stream, CallError> {
        let own = address.ip().is_loopback() || address.ip().is_unspecified();
        let address = if own { SocketAddr::new(source, address.port()) } else { address };
        match self.listeners().enter(address) {
            Ok(call) => open(call, address, source).await,
            Err(refused) => {
                let service = self.services().by_address(address.ip()).cloned();
                let Some(service) = service else { return Err(refused) };
                self.connect_service(&service.key, &PortRef::Number(address.port()), source).await
            }
        }
    }

    /// The same to `host`, as a caller in `namespace` means it.
    ///
    /// # Errors
    /// [`CallError::NoSuchHost`] when nothing in the cluster has that name, and what [`PodNetwork::connect`] says.
    pub async fn connect_host(
        &self,
        host: &str,
        port: u16,
        namespace: &str,
        source: IpAddr,
    ) -> Result<Stream, CallError> {
        match self.resolve(host, namespace) {
            Target::Service(service) => self.connect_service(&service.key, &PortRef::Number(port), source).await,
            Target::Address(address) => self.connect(SocketAddr::new(address, port), source).await,
            Target::Own => self.connect(SocketAddr::new(source, port), source).await,
            Target::Outside(host) => Err(CallError::NoSuchHost { host }),
        }
    }

    /// The same to one of the endpoints of the Service `namespace/name`; one that does not listen is passed over.
    ///
    /// # Errors
    /// What a call of the Service would say.
    pub async fn connect_service(&self, key: &str, port: &PortRef, source: IpAddr) -> Result<Stream, CallError> {
        let connection = Connection { source, ..Connection::default() };
        let call = self.enter_service_settled(key, port, &connection).await?;
        let address = call.address();
        open(call, address, source).await
    }

    /// Whether an address belongs to this network: to its pods or to its Services.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        let in_ranges = match address {
            IpAddr::V4(address) => {
                let config = self.config();
                config.pod_cidr.contains(&address) || config.service_cidr.contains(&address)
            }
            IpAddr::V6(_) => false,
        };
        in_ranges || address.is_loopback() || address.is_unspecified() || self.services().by_address(address).is_some()
    }

    /// A port of `address` at which nobody listens, for those who do not choose one.
    pub fn free_port(&self, address: IpAddr) -> Option<u16> {
        (0..PORTS_TRIED).map(|_| next_port()).find(|port| !self.listeners().is_bound(SocketAddr::new(address, *port)))
    }

    /// Whether somebody has bound `address`, if only for its own pod.
    pub fn is_bound(&self, address: SocketAddr) -> bool {
        self.listeners().is_bound(address)
    }
}

/// Ports are given out in turn, so that a new connection does not look like the one before.
fn next_port() -> u16 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    ephemeral(TURN.fetch_add(1, Ordering::Relaxed))
}

async fn open(call: InFlight, address: SocketAddr, source: IpAddr) -> Result<Stream, CallError> {
    let source = SocketAddr::new(source, next_port());
    match call.acceptor() {
        Some(acceptor) => acceptor.dial(source, Some(call)).await,
        // Requests are counted one by one; a connection that is kept open must not hold up the listener's end.
        None => Ok(tcp_to_http::dial(call.into_binding(), source, address)),
    }
}
