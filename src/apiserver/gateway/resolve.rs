//! Which addresses a Service's port leads to, as the API knows it at this moment.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::{Kind, Status};
use objects::{ListOptions, Objects, Revisions};
use serde_json::Value;

use super::{ServiceTarget, TargetPort};

/// A Service's port with what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The Service's own port.
    pub number: u16,
    /// The port's name, which may be empty.
    pub name: String,
    /// Whether the Service stands for a name outside of the cluster.
    pub external: bool,
    /// The ready endpoints; where none is ready, those that end but still serve.
    pub addresses: Vec<SocketAddr>,
}

/// Finds the Service and the ready endpoints of its port.
///
/// # Errors
/// 404 when there is no such Service, 503 when it has no such port.
pub async fn resolve(objects: &Objects, target: &ServiceTarget) -> Result<Resolved, Status> {
    let kinds = objects.kinds();
    let kind = |group: &str, plural: &str| -> Result<Arc<Kind>, Status> {
        kinds.by_resource(group, "v1", plural).cloned().ok_or_else(Status::no_such_path)
    };
    let namespace = Some(target.namespace.as_str());
    let any = Revisions::default();
    let (services, slice_kind, endpoints_kind) =
        (kind("", "services")?, kind("discovery.k8s.io", "endpointslices")?, kind("", "endpoints")?);
    let service = objects.get(&services, namespace, &target.name, &any).await?.value();
    let external = service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
    let (number, name) = port(&service, target)?;
    let selector = format!("kubernetes.io/service-name={}", target.name);
    let label_selector = selector.parse().map_err(|_| Status::internal("a Service's name is no label"))?;
    let options = ListOptions { label_selector, ..ListOptions::default() };
    let slices = objects.list(&slice_kind, namespace, &options).await?;
    let mut found = Vec::new();
    for slice in &slices.items {
        found.extend(of_slice(&slice.value(), &name));
    }
    if slices.items.is_empty()
        && let Ok(endpoints) = objects.get(&endpoints_kind, namespace, &target.name, &any).await
    {
        found.extend(of_endpoints(&endpoints.value(), &name));
    }
    let ready = found.iter().any(|(_, ready)| *ready);
    let mut addresses: Vec<SocketAddr> =
        found.into_iter().filter(|(_, is)| *is || !ready).map(|(address, _)| address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(Resolved { number, name, external, addresses })
}

fn port(service: &Value, target: &ServiceTarget) -> Result<(u16, String), Status> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |port: &Value| port.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = ports.iter().find(|port| match &target.port {
        TargetPort::Number(wanted) => number(port) == Some(*wanted),
        TargetPort::Name(wanted) => name(port) == *wanted,
    });
    if let Some(port) = found {
        return Ok((number(port).unwrap_or_default(), name(port)));
    }
    let name = &target.name;
    Err(Status::unavailable(match &target.port {
        TargetPort::Number(number) => format!("no service port {number} found for service {name:?}"),
        TargetPort::Name(port) if port.is_empty() => format!("no endpoints available for service {name:?}"),
        TargetPort::Name(port) => format!("no endpoints available for service \"{name}:{port}\""),
    }))
}

/// The addresses of a list of ports and addresses, with whether each is ready.
fn of_slice(slice: &Value, port_name: &str) -> Vec<(SocketAddr, bool)> {
    let Some(port) = named(slice.get("ports"), port_name) else { return Vec::new() };
    let endpoints = slice.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    endpoints
        .filter_map(|endpoint| {
            let flag = |name: &str| endpoint.pointer(&format!("/conditions/{name}")).and_then(Value::as_bool);
            let ready = flag("ready").unwrap_or(true);
            let leaving = flag("terminating").unwrap_or(false);
            if !ready && (!leaving || !flag("serving").unwrap_or(false)) {
                return None;
            }
            let ip: IpAddr = endpoint.pointer("/addresses/0")?.as_str()?.parse().ok()?;
            Some((SocketAddr::new(ip, port), ready))
        })
        .collect()
}

fn of_endpoints(endpoints: &Value, port_name: &str) -> Vec<(SocketAddr, bool)> {
    let mut found = Vec::new();
    for subset in endpoints.get("subsets").and_then(Value::as_array).into_iter().flatten() {
        let Some(port) = named(subset.get("ports"), port_name) else { continue };
        let addresses = subset.get("addresses").and_then(Value::as_array).into_iter().flatten();
        let ips = addresses.filter_map(|address| address.get("ip")?.as_str()?.parse::<IpAddr>().ok());
        found.extend(ips.map(|ip| (SocketAddr::new(ip, port), true)));
    }
    found
}

fn named(ports: Option<&Value>, name: &str) -> Option<u16> {
    let ports = ports?.as_array()?;
    let found = ports.iter().find(|port| port.get("name").and_then(Value::as_str).unwrap_or_default() == name)?;
    u16::try_from(found.get("port")?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_endpoints_of_the_port_are_found() {
        let slice = json!({
            "ports": [{ "name": "web", "port": 80 }, { "name": "", "port": 81 }],
            "endpoints": [
                { "addresses": ["10.0.0.1"], "conditions": {} },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false } },
                { "addresses": ["10.0.0.3"], "conditions": { "ready": false, "serving": true, "terminating": true } },
            ],
        });
        let found = of_slice(&slice, "web");
        assert_eq!(found, [("10.0.0.1:80".parse().unwrap(), true), ("10.0.0.3:80".parse().unwrap(), false)]);
        assert_eq!(of_slice(&slice, "")[0].0.port(), 81);
        assert!(of_slice(&slice, "other").is_empty());
        let endpoints = json!({ "subsets": [{ "addresses": [{ "ip": "127.0.0.1" }], "ports": [{ "port": 8443 }] }] });
        assert_eq!(of_endpoints(&endpoints, ""), [("127.0.0.1:8443".parse().unwrap(), true)]);
    }

    #[test]
    fn a_port_is_named_or_numbered() {
        let service = json!({ "spec": { "ports": [{ "name": "web", "port": 80 }] } });
        let target = |port: TargetPort| ServiceTarget {
            namespace: "n".into(),
            name: "s".into(),
            port,
            scheme: super::super::Scheme::Http,
        };
        for (asked, wanted) in [
            (TargetPort::Number(80), "80 web"),
            (TargetPort::Name("web".into()), "80 web"),
            (TargetPort::Number(81), "no service port 81 found for service \"s\""),
            (TargetPort::Name("x".into()), "no endpoints available for service \"s:x\""),
        ] {
            let found = port(&service, &target(asked)).map(|(number, name)| format!("{number} {name}"));
            assert_eq!(found.unwrap_or_else(|status| status.message), wanted);
        }
    }
}
