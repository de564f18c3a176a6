//! Names to addresses, by wasi:sockets itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddress};
use wstd::runtime::AsyncPollable;

/// Every address of `host`.
pub async fn look_up(host: &str) -> Result<Vec<IpAddr>, ErrorCode> {
    let network = instance_network();
    let stream = resolve_addresses(&network, host)?;
    let pollable = AsyncPollable::new(stream.subscribe());
    let mut addresses = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => addresses.push(plain(address)),
            Ok(None) => break,
            Err(ErrorCode::WouldBlock) => pollable.wait_for().await,
            Err(error) => return Err(error),
        }
    }
    // A child goes before its parent.
    drop(pollable);
    Ok(addresses)
}

fn plain(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(a, b, c, d, e, f, g, h).into(),
    }
}
