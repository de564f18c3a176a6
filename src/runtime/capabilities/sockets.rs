//! `wasi:sockets`: TCP on the pod network, in 0.2 and 0.3. UDP links, and creating such a socket is denied.
//!
//! A socket is no socket of the host: [`Sockets`] says where it leads, and the bytes stay in this process unless that lets
//! them out. All of a container's sockets are counted, and what it has under way is on its memory account.

use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
use network::{AddressInUse, CallError, Stream, TcpListener, TcpOptions};
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use world::next::sockets as next_sockets;
use world::sockets::{
    instance_network, ip_name_lookup, network as wasi_network, tcp, tcp_create_socket, udp, udp_create_socket,
};

use super::{Capability, Grant};
use crate::guest::Guest;

mod first;
mod next;
mod next_udp;
mod socket;
mod streams;

pub(super) const ROW: Capability = Capability {
    name: "sockets",
    interfaces: &["wasi:sockets/"],
    grant: Grant::Always,
    link,
    link_next: Some(link_next),
};

/// One container's way onto the network by sockets: who listens, who is reached, what names mean, and what is denied.
pub trait Sockets: Send + Sync + 'static {
    /// Listens at one of the container's own addresses.
    ///
    /// # Errors
    /// When somebody else does.
    fn listen(&self, address: SocketAddr, options: TcpOptions) -> Result<TcpListener, AddressInUse>;

    /// Whether somebody listens at one of the container's own addresses.
    fn is_bound(&self, address: SocketAddr) -> bool;

    /// A port for a container that does not choose one.
    fn free_port(&self) -> Option<u16>;

    /// Opens a connection. What policy does not allow is refused like an address where nobody listens.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, Result<Stream, CallError>>;

    /// The addresses of a name.
    fn lookup(&self, name: String) -> BoxFuture<'static, Result<Vec<IpAddr>, CallError>>;
}

/// The interfaces' side of a guest.
struct PodSockets;

impl HasData for PodSockets {
    type Data<'a> = &'a mut Guest;
}

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    instance_network::add_to_linker::<Guest, PodSockets>(linker, |guest| guest)?;
    let options = wasi_network::LinkOptions::default();
    wasi_network::add_to_linker::<Guest, PodSockets>(linker, &options, |guest| guest)?;
    ip_name_lookup::add_to_linker::<Guest, PodSockets>(linker, |guest| guest)?;
    tcp::add_to_linker::<Guest, PodSockets>(linker, |guest| guest)?;
    tcp_create_socket::add_to_linker::<Guest, PodSockets>(linker, |guest| guest)?;
    // The context denies these.
    udp::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    udp_create_socket::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)
}

fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    next_sockets::ip_name_lookup::add_to_linker::<Guest, PodSockets>(linker, |guest| guest)?;
    next_sockets::types::add_to_linker::<Guest, PodSockets>(linker, |guest| guest)
}
