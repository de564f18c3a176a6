//! The `proxy` subresources: a client's own HTTP, carried on to a pod, a Service or a node.

mod forward;
mod node;

use std::net::IpAddr;

use api::Status;
use http::Method;
use http::header::LOCATION;
use objects::{Revisions, Sub};
use serde_json::{Value, json};

use super::pods;
use crate::forwarding::is_upgrade;
use crate::gateway::{PodTarget, Scheme, ServiceTarget, TargetPort, TlsOptions};
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::Target;
use forward::Forward;

/// Where HTTP goes when nothing says where.
const HTTP_PORT: u16 = 80;

pub(super) async fn answer(mut call: Call, target: Target) -> Result<Reply, Status> {
    let plural = target.kind.plural.clone();
    let (options, what) = match plural.as_str() {
        "pods" => ("PodProxyOptions", "pod"),
        "services" => ("ServiceProxyOptions", "service"),
        _ => ("NodeProxyOptions", "node"),
    };
    let id = target.name().to_owned();
    let place = Place::parse(&id).ok_or_else(|| Status::bad_request(format!("invalid {what} request {id:?}")))?;
    let path = rest(call.uri.path());
    let asked = json!({ "kind": options, "apiVersion": "v1", "path": path.clone().unwrap_or_default() });
    pods::admit(&call, &target, Sub::Named("proxy"), asked).await?;
    let upgrade = is_upgrade(&call.headers);
    let Some(path) = path.or_else(|| upgrade.then(|| "/".to_owned())) else {
        if call.method == Method::GET || call.method == Method::HEAD {
            return Ok(with_slash(&call));
        }
        return carry(&mut call, &target, place, &plural, "/").await;
    };
    carry(&mut call, &target, place, &plural, &path).await
}

async fn carry(call: &mut Call, target: &Target, place: Place, plural: &str, path: &str) -> Result<Reply, Status> {
    let objects = &call.server.objects;
    let found =
        |name: String| async move { objects.get(&target.kind, target.namespace(), &name, &Revisions::default()).await };
    let namespace = target.namespace().unwrap_or_default().to_owned();
    let to = match plural {
        "services" => {
            let port = match place.port.parse() {
                Ok(number) => TargetPort::Number(number),
                Err(_) => TargetPort::Name(place.port.clone()),
            };
            Forward::Service(ServiceTarget { namespace, name: place.name.clone(), port, scheme: place.scheme() })
        }
        "pods" => {
            let pod = found(place.name.clone()).await?.value();
            let port = if place.port.is_empty() { Ok(first_port(&pod)) } else { place.port.parse() };
            let port = port.map_err(|_| unreachable_port(&place.port))?;
            let ip = pod.pointer("/status/podIP").and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok());
            let ip = ip.filter(|ip| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast());
            let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
            Forward::Pod(PodTarget { namespace, name: place.name.clone(), ip, port, scheme: place.scheme() })
        }
        _ => {
            let node = found(place.name.clone()).await?.value();
            return node::answer(call, &node, path).await;
        }
    };
    forward::send(call, &to, path).await
}

/// What `[scheme:]name[:port]` means.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    https: bool,
    name: String,
    port: String,
}

impl Place {
    fn parse(id: &str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let https = match scheme {
            "" | "http" => false,
            "https" => true,
            _ => return None,
        };
        (!name.is_empty()).then(|| Self { https, name: name.to_owned(), port: port.to_owned() })
    }

    /// Nobody said which certificate is to be expected, so any is taken, as in Kubernetes.
    fn scheme(&self) -> Scheme {
        if self.https { Scheme::Https(TlsOptions::default()) } else { Scheme::Http }
    }
}

fn first_port(pod: &Value) -> u16 {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let mut ports = containers.filter_map(|container| container.pointer("/ports/0/containerPort")?.as_u64());
    ports.next().and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTP_PORT)
}

fn unreachable_port(port: &str) -> Status {
    Status::unavailable(format!("error trying to reach service: dial tcp: lookup tcp/{port}: unknown port"))
}

/// What follows `/proxy` in a path, with `.` and `..` resolved; nothing when there is not even a slash.
fn rest(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let at = if parts.get(3) == Some(&"namespaces") { 8 } else { 6 };
    let rest = parts.get(at..).filter(|rest| !rest.is_empty())?;
    let mut kept: Vec<&str> = Vec::new();
    for part in rest {
        match *part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let slash = if kept.is_empty() || !rest.ends_with(&[""]) { "" } else { "/" };
    Some(format!("/{}{slash}", kept.join("/")))
}

/// Relative links of a page only lead where they should below a slash.
fn with_slash(call: &Call) -> Reply {
    let query = call.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/{query}", call.uri.path());
    let reply = Reply::bytes(301, "text/plain; charset=utf-8", "");
    match location.parse() {
        Ok(location) => reply.header(LOCATION, location),
        Err(_) => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (id, wanted) in [
            ("web", Some((false, "web", ""))),
            ("web:80", Some((false, "web", "80"))),
            ("web:http", Some((false, "web", "http"))),
            ("https:web:", Some((true, "web", ""))),
            ("https:web:443", Some((true, "web", "443"))),
            ("ftp:web:21", None),
            (":80", None),
            ("a:b:c:d", None),
        ] {
            let wanted = wanted.map(|(https, name, port)| Place { https, name: name.into(), port: port.into() });
            assert_eq!(Place::parse(id), wanted, "{id}");
        }
    }

    #[test]
    fn the_rest_of_a_path_is_carried_on() {
        for (path, wanted) in [
            ("/api/v1/namespaces/a/pods/p/proxy", None),
            ("/api/v1/namespaces/a/pods/p/proxy/", Some("/")),
            ("/api/v1/namespaces/a/pods/p/proxy/x/y/", Some("/x/y/")),
            ("/api/v1/namespaces/a/services/s:80/proxy/a%2Fb", Some("/a%2Fb")),
            ("/api/v1/namespaces/a/pods/p/proxy/../../x", Some("/x")),
            ("/api/v1/nodes/n/proxy/pods", Some("/pods")),
            ("/api/v1/nodes/n/proxy", None),
        ] {
            assert_eq!(rest(path).as_deref(), wanted, "{path}");
        }
    }
}
