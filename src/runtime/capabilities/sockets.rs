//! `wasi:sockets`: links, and refuses every address and name.

use wasmtime::component::Linker;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use world::sockets::{instance_network, ip_name_lookup, network, tcp, tcp_create_socket, udp, udp_create_socket};

use super::{Capability, Grant};
use crate::guest::Guest;

pub(super) const ROW: Capability =
    Capability { name: "sockets", interfaces: &["wasi:sockets/"], grant: Grant::Always, link };

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    instance_network::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    let options = network::LinkOptions::default();
    network::add_to_linker::<Guest, WasiSockets>(linker, &options, Guest::sockets)?;
    ip_name_lookup::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    tcp::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    tcp_create_socket::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    udp::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    udp_create_socket::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    wasmtime_wasi::p3::sockets::add_to_linker(linker)
}
