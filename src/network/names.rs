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

/// Finds what `host` means to a caller in `namespace`. In full it is `NAME.NAMESPACE.svc.cluster.local`,
/// `HOSTNAME.NAME.NAMESPACE.svc.cluster.local` for one pod of a Service, or `10-128-0-1.NAMESPACE.pod.cluster.local`; what
/// the search list of a pod completes may be left out, as in `NAME`, `HOSTNAME.NAME` and `NAME.NAMESPACE`. Besides there are
/// `localhost` and literal addresses.
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
    if local.is_some() {
        return in_full(table, &labels);
    }
    // A pod's own namespace is searched first: `web-0.web` is a pod of the Service `web` before it is a Service `web-0` of
    // another namespace.
    [&[namespace, "svc"][..], &["svc"], &[]].iter().find_map(|rest| in_full(table, &[&labels[..], rest].concat()))
}

/// What a name means that is complete but for the cluster's domain.
fn in_full(table: &ServiceTable, labels: &[&str]) -> Option<Target> {
    let service = |name: &str, namespace: &str| table.get(&format!("{namespace}/{name}")).cloned();
    match labels {
        [name, namespace, "svc"] => service(name, namespace).map(|found| match &found.external_name {
            Some(name) => Target::Outside(name.clone()),
            None => Target::Service(found),
        }),
        [hostname, name, namespace, "svc"] => service(name, namespace)?.pod_by_hostname(hostname).map(Target::Address),
        [dashed, _, "pod"] => dashed.replace('-', ".").parse().ok().map(Target::Address),
        _ => None,
    }
}
