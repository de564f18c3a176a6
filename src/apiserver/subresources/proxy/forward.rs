//! One request carried on, one answer carried back.

use api::Status;
use http::header::{HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Uri};
use hyper::upgrade::OnUpgrade;

use crate::forwarding::{host, is_upgrade, outgoing, strip, upgraded};
use crate::gateway::{PodTarget, ServiceTarget};
use crate::reply::Reply;
use crate::server::Call;

const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where to.
pub(super) enum Forward {
    /// A Service's port.
    Service(ServiceTarget),
    /// A pod's port.
    Pod(PodTarget),
}

pub(super) async fn send(call: &mut Call, to: &Forward, path: &str) -> Result<Reply, Status> {
    let prefix = prefix(call.uri.path());
    let host = host(call);
    let mut request = outgoing(call, path)?;
    let upgrade = is_upgrade(&call.headers);
    let forwarded = format!("{prefix}{path}");
    for (name, value) in [(FORWARDED_URI, forwarded.as_str()), (FORWARDED_HOST, &host), (FORWARDED_PROTO, "https")] {
        if let Ok(value) = HeaderValue::from_str(value) {
            request.headers_mut().insert(name, value);
        }
    }
    let client = call.extensions.remove::<OnUpgrade>();
    let transport = call.server.transport.read().clone();
    let response = match to {
        Forward::Service(target) => transport.call(target, request).await,
        Forward::Pod(target) => transport.call_pod(target, request).await,
    }?;
    if upgrade {
        return upgraded(response, client, call.ending.clone());
    }
    let mut response = response;
    strip(response.headers_mut());
    remove_cross_origin(response.headers_mut());
    if let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok())
        && let Some(rewritten) = relocated(location, &host, &prefix)
        && let Ok(rewritten) = HeaderValue::from_str(&rewritten)
    {
        response.headers_mut().insert(LOCATION, rewritten);
    }
    Ok(Reply::ready(response))
}

/// Everything up to `/proxy`.
fn prefix(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let at = if parts.get(3) == Some(&"namespaces") { 8 } else { 6 };
    parts.get(..at).map_or(path.to_owned(), |parts| parts.join("/"))
}

fn remove_cross_origin(headers: &mut HeaderMap) {
    for name in ["allow-credentials", "allow-headers", "allow-methods", "allow-origin", "expose-headers", "max-age"] {
        headers.remove(format!("access-control-{name}"));
    }
}

/// A redirect within the same host, so that it leads through the proxy again.
fn relocated(location: &str, host: &str, prefix: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let same_host = uri.authority().is_none_or(|authority| authority.as_str() == host);
    if !same_host || !uri.path().starts_with('/') || !location_has_path(location) || uri.path().starts_with(prefix) {
        return None;
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Some(if host.is_empty() { format!("{prefix}{path}") } else { format!("https://{host}{prefix}{path}") })
}

/// `Uri` reads a bare word as an authority.
fn location_has_path(location: &str) -> bool {
    location.starts_with('/') || location.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_through_the_proxy() {
        let prefix = "/api/v1/namespaces/a/services/s/proxy";
        for (location, wanted) in [
            ("/x?y=1", Some("https://h:1/api/v1/namespaces/a/services/s/proxy/x?y=1")),
            ("https://h:1/x", Some("https://h:1/api/v1/namespaces/a/services/s/proxy/x")),
            ("https://other/x", None),
            ("x", None),
            ("/api/v1/namespaces/a/services/s/proxy/x", None),
        ] {
            assert_eq!(relocated(location, "h:1", prefix).as_deref(), wanted, "{location}");
        }
    }
}
