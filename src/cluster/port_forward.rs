//! A byte stream into a pod, for one who forwards a port: as from inside of the pod, so that what listens on its loopback
//! address alone is reached too.

use std::net::SocketAddr;

use network::{CallError, PodNetwork, Stream};

/// Opens a connection to whoever listens at `address`: to sockets as it is, to an HTTP component as HTTP.
///
/// # Errors
/// When nobody listens there.
pub async fn connect(network: &PodNetwork, address: SocketAddr) -> Result<Stream, CallError> {
    network.connect(address, address.ip()).await
}
