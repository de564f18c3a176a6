//! The administrator's way in.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use apiserver::certificates::{Authority, Pair};
use base::files::{Access, write_atomically};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The URL of a listener for somebody on this machine.
pub fn server_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("https://{}", SocketAddr::new(ip, address.port()))
}

/// Writes a kubeconfig that only this user may read. JSON is YAML, and every client reads it.
pub fn write(path: &Path, address: SocketAddr, authority: &Authority, admin: &Pair) -> std::io::Result<()> {
    let encode = |text: &str| STANDARD.encode(text);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "coracle",
        "clusters": [{ "name": "coracle", "cluster": {
            "server": server_url(address),
            "certificate-authority-data": encode(authority.certificate_pem()),
        } }],
        "users": [{ "name": "coracle-admin", "user": {
            "client-certificate-data": encode(&admin.certificate_pem),
            "client-key-data": encode(&admin.key_pem),
        } }],
        "contexts": [{ "name": "coracle", "context": { "cluster": "coracle", "user": "coracle-admin" } }],
    });
    write_atomically(path, api::yaml::to_string(&document).as_bytes(), Access::Private)
}
