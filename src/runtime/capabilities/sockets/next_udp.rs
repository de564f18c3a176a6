//! 0.3's UDP: part of an interface that is offered, and denied from the first call on.

use wasmtime::component::{Accessor, Resource};
use wasmtime_wasi::p3::sockets::SocketResult;
use world::next::sockets::types::{
    ErrorCode, HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress, UdpSocket,
};

use super::PodSockets;
use crate::guest::Guest;

/// Nobody has a socket to do anything with.
fn denied<T>() -> SocketResult<T> {
    Err(ErrorCode::AccessDenied.into())
}

impl HostUdpSocketWithStore<Guest> for PodSockets {
    async fn send(
        _store: &Accessor<Guest, Self>,
        _socket: Resource<UdpSocket>,
        _data: Vec<u8>,
        _to: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        denied()
    }

    async fn receive(
        _store: &Accessor<Guest, Self>,
        _socket: Resource<UdpSocket>,
    ) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        denied()
    }
}

impl HostUdpSocket for Guest {
    async fn create(&mut self, _family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        denied()
    }
    async fn bind(&mut self, _socket: Resource<UdpSocket>, _address: IpSocketAddress) -> SocketResult<()> {
        denied()
    }
    async fn connect(&mut self, _socket: Resource<UdpSocket>, _address: IpSocketAddress) -> SocketResult<()> {
        denied()
    }
    fn disconnect(&mut self, _socket: Resource<UdpSocket>) -> SocketResult<()> {
        denied()
    }
    fn get_local_address(&mut self, _socket: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        denied()
    }
    fn get_remote_address(&mut self, _socket: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        denied()
    }
    fn get_address_family(&mut self, _socket: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(IpAddressFamily::Ipv4)
    }
    fn get_unicast_hop_limit(&mut self, _socket: Resource<UdpSocket>) -> SocketResult<u8> {
        denied()
    }
    fn set_unicast_hop_limit(&mut self, _socket: Resource<UdpSocket>, _value: u8) -> SocketResult<()> {
        denied()
    }
    fn get_receive_buffer_size(&mut self, _socket: Resource<UdpSocket>) -> SocketResult<u64> {
        denied()
    }
    fn set_receive_buffer_size(&mut self, _socket: Resource<UdpSocket>, _value: u64) -> SocketResult<()> {
        denied()
    }
    fn get_send_buffer_size(&mut self, _socket: Resource<UdpSocket>) -> SocketResult<u64> {
        denied()
    }
    fn set_send_buffer_size(&mut self, _socket: Resource<UdpSocket>, _value: u64) -> SocketResult<()> {
        denied()
    }
    fn drop(&mut self, _socket: Resource<UdpSocket>) -> wasmtime::Result<()> {
        Ok(())
    }
}
