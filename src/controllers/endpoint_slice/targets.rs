//! Which pods a Service selects, and under which addresses and ports they serve it.

use std::net::IpAddr;

use client::services::{protocol, target_port};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{EndpointHints, ForNode, ForZone};

use crate::owners::{is_deleting, name};
use crate::pods;

/// Whether the Service says which pods it is for; others are somebody else's to fill.
pub(crate) fn has_selector(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.as_ref());
    let is_name = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    !is_name && selector.is_some_and(|selector| !selector.is_empty())
}

pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The address families that the Service has, as EndpointSlices name them.
pub(crate) fn families(service: &Service) -> Vec<String> {
    let spec = service.spec.as_ref();
    let families = spec.and_then(|spec| spec.ip_families.clone()).filter(|families| !families.is_empty());
    families.unwrap_or_else(|| {
        let address = spec.and_then(|spec| spec.cluster_ip.as_deref()).and_then(|text| text.parse::<IpAddr>().ok());
        vec![if address.is_some_and(|address| address.is_ipv6()) { "IPv6" } else { "IPv4" }.to_owned()]
    })
}

/// The pod's address of a family, when it has one.
pub(crate) fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|entry| entry.ip.as_str()).chain(status.pod_ip.as_deref());
    let is_of_family = |text: &&str| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    all.into_iter().find(is_of_family).map(str::to_owned)
}

/// How the pod stands to the Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}

/// None for a pod that is finished and will never serve again.
pub(crate) fn standing(service: &Service, pod: &Pod) -> Option<Standing> {
    if pods::is_finished(pod) {
        return None;
    }
    let (serving, terminating) = (pods::is_ready(pod), is_deleting(&pod.metadata));
    let ready = publishes_not_ready(service) || (serving && !terminating);
    Some(Standing { ready, serving, terminating })
}

/// Whose requests an endpoint is for, where the Service says that they had better stay near.
pub(super) fn hints(
    service: &Service,
    standing: Standing,
    node: Option<&str>,
    zone: Option<&str>,
) -> Option<EndpointHints> {
    let near = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let by_node = match near {
        "PreferClose" | "PreferSameZone" => false,
        "PreferSameNode" => true,
        _ => return None,
    };
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    let for_nodes = node.filter(|_| by_node).map(|node| vec![ForNode { name: node.to_owned() }]);
    (standing.ready && (for_zones.is_some() || for_nodes.is_some())).then_some(EndpointHints { for_nodes, for_zones })
}

/// The hostname that the pod has in the Service's domain.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain.as_deref() == Some(name(&service.metadata))).then_some(hostname)
}

pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// A Service's port as one pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub name: String,
    pub protocol: String,
    pub app_protocol: Option<String>,
    pub number: i32,
}

/// The Service's ports in the pod. A port whose name the pod does not have is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let wanted = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut ports: Vec<Port> = wanted
        .filter_map(|wanted| {
            Some(Port {
                name: wanted.name.clone().unwrap_or_default(),
                protocol: protocol(wanted).to_owned(),
                app_protocol: wanted.app_protocol.clone(),
                number: target_port(wanted, pod)?,
            })
        })
        .collect();
    ports.sort();
    ports
}
