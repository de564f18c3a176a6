//! What a host name means inside the cluster.

use std::net::IpAddr;
use std::sync::Arc;

use crate::services::{Service, ServiceTable};

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Service, by its name or its address.
    Service(Arc<Service>),
    /// An address of the pod network, or another that was written literally.
    Address(IpAddr),
    /// The caller's own pod.
    Own,
    /// Another name, which nothing in the cluster answers to.
    Outside(String),
}

const CLUSTER_DOMAIN: &str = "cluster.local";

/// Finds what `host` means to a caller in `namespace`. Accepted are `NAME`, `NAME.NAMESPACE`, `NAME.NAMESPACE.svc`,
/// each with or without `cluster.local`, `HOSTNAME.NAME.NAMESPACE.svc…` for one pod of a Service,
/// `10-128-0-1.NAMESPACE.pod…`, `localhost` and literal addresses.
pub(crate) fn resolve(table: &ServiceTable, host: &str, namespace: &str) -> Target {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return match table.by_address(address) {
            Some(service) => Target::Service(Arc::clone(service)),
            None if address.is_loopback() => Target::Own,
            None => Target::Address(address),
        };
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return Target::Own;
    }
    in_cluster(table, &host, namespace).unwrap_or(Target::Outside(host))
}

fn in_cluster(table: &ServiceTable, host: &str, namespace: &str) -> Option<Target> {
    let local = host.strip_suffix(CLUSTER_DOMAIN).and_then(|rest| rest.strip_suffix('.'));
    let labels: Vec<&str> = local.unwrap_or(host).split('.').collect();
    let service = |name: &str, namespace: &str| table.get(&format!("{namespace}/{name}")).cloned();
    let whole = |found: Arc<Service>| match &found.external_name {
        Some(name) => Target::Outside(name.clone()),
        None => Target::Service(found),
    };
    match labels[..] {
        [name] if local.is_none() => service(name, namespace).map(whole),
        [name, namespace] if local.is_none() => service(name, namespace).map(whole),
        [name, namespace, "svc"] => service(name, namespace).map(whole),
        [hostname, name, namespace, "svc"] => service(name, namespace)?.pod_by_hostname(hostname).map(Target::Address),
        [dashed, _, "pod"] => dashed.replace('-', ".").parse().ok().map(Target::Address),
        _ => None,
    }
}
