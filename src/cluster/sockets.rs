//! A container's sockets on the pod network, and out of it for those who may.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use network::{AddressInUse, CallError, PodNetwork, Stream, TcpListener, TcpOptions};

use crate::egress::{Egress, Reach, leave, reach};

/// One container's sockets.
pub struct PodSockets {
    network: PodNetwork,
    namespace: Arc<str>,
    address: IpAddr,
    egress: Egress,
}

impl PodSockets {
    /// For a container of the pod at `address`, which looks short names up in `namespace`.
    pub fn new(network: PodNetwork, namespace: &str, address: IpAddr, egress: Egress) -> Self {
        Self { network, namespace: namespace.into(), address, egress }
    }
}

impl runtime::Sockets for PodSockets {
    fn listen(&self, address: SocketAddr, options: TcpOptions) -> Result<TcpListener, AddressInUse> {
        self.network.listen_tcp(address, options)
    }

    fn is_bound(&self, address: SocketAddr) -> bool {
        self.network.is_bound(address)
    }

    fn free_port(&self) -> Option<u16> {
        self.network.free_port(self.address)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, Result<Stream, CallError>> {
        let (network, source, egress) = (self.network.clone(), self.address, self.egress.clone());
        async move {
            if network.is_inside(address.ip()) {
                return network.connect(address, source).await;
            }
            egress.check(&address.to_string())?;
            leave(address, source).await
        }
        .boxed()
    }

    fn lookup(&self, name: String) -> BoxFuture<'static, Result<Vec<IpAddr>, CallError>> {
        let (network, namespace) = (self.network.clone(), Arc::clone(&self.namespace));
        let (address, egress) = (self.address, self.egress.clone());
        async move {
            let unknown = || CallError::NoSuchHost { host: name.clone() };
            match reach(&network, &name, &namespace) {
                Reach::Inside => Ok(network.lookup(&name, &namespace, address)),
                Reach::Nowhere => Err(unknown()),
                Reach::Outside(outside) => {
                    egress.check(&outside)?;
                    let found = tokio::net::lookup_host((outside.as_str(), 0)).await.map_err(|_| unknown())?;
                    let mut addresses: Vec<IpAddr> = found.map(|found| found.ip()).collect();
                    addresses.dedup();
                    Ok(addresses)
                }
            }
        }
        .boxed()
    }
}
