//! What changes on a message's head between the client and the component.

use std::net::SocketAddr;

use http::header::{CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What every request of one connection is told about its client.
pub(crate) struct Forwarded {
    client: HeaderValue,
    port: HeaderValue,
}

impl Forwarded {
    pub(crate) fn new(client: SocketAddr, local: SocketAddr) -> Self {
        let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { client: value(client.ip().to_canonical().to_string()), port: HeaderValue::from(local.port()) }
    }

    /// Makes a request's head what the component gets. What the client itself says about forwarding is replaced: nobody
    /// stands in front of this ingress who could be believed.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        strip_hop_by_hop(headers);
        headers.remove(EXPECT);
        if let Some(host) = headers.get(HOST).cloned() {
            headers.insert(FORWARDED_HOST, host);
        }
        headers.insert(FOR, self.client.clone());
        headers.insert(PROTO, HeaderValue::from_static("http"));
        headers.insert(PORT, self.port.clone());
    }
}

/// Takes out the headers that speak of one connection only, and those that `Connection` names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most heads have one such header at most; looking once is cheaper than removing nine times.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(may_be_named)
        .collect();
    let present: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in named.iter().chain(&present) {
        headers.remove(name);
    }
}

/// A client must not take out what the component relies on by naming it in `Connection`.
fn may_be_named(name: &HeaderName) -> bool {
    !matches!(name.as_str(), "host" | "content-length" | "content-type" | "authorization" | "cookie")
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// The protocol that the client asks to switch to, unless it is one that may be passed over in silence.
pub(crate) fn wanted_upgrade(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(UPGRADE)?.to_str().ok()?;
    let protocol = value.split(',').map(str::trim).find(|protocol| !protocol.is_empty())?;
    // A client that offers HTTP/2 goes on with HTTP/1.1 when the offer is not taken up.
    (!protocol.eq_ignore_ascii_case("h2c")).then_some(protocol)
}
