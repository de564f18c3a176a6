//! What a Service's Endpoints object says. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::endpoint_slice::targets::{self, Port};

const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const ADDRESSES_MAX: usize = 1000;

/// What a run writes.
#[derive(Debug)]
pub(super) enum Plan {
    Nothing,
    Create(Endpoints),
    Replace(Endpoints),
    /// The object with this uid.
    Delete(Option<String>),
}

/// Endpoints of a Service that is gone go too, when they were ours.
pub(super) fn without_service(seen: Option<&Endpoints>) -> Plan {
    match seen {
        Some(seen) if seen.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER) => Plan::Delete(seen.uid()),
        _ => Plan::Nothing,
    }
}

/// Compares the pods that the Service selects with what its Endpoints say.
pub(super) fn plan(service: &Service, pods: &[Arc<Pod>], seen: Option<&Endpoints>) -> Plan {
    let (subsets, truncated) = subsets(service, pods);
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS);
    if targets::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut endpoints = seen.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    endpoints.metadata.labels = Some(labels);
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    if truncated {
        let annotations = endpoints.metadata.annotations.get_or_insert_default();
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else if let Some(annotations) = &mut endpoints.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
    }
    match seen {
        None => Plan::Create(endpoints),
        Some(seen) if is_same(seen, &endpoints) => Plan::Nothing,
        Some(_) => Plan::Replace(endpoints),
    }
}

/// Whatever form "nothing" has been stored in.
fn is_same(seen: &Endpoints, wanted: &Endpoints) -> bool {
    let subsets = |endpoints: &Endpoints| endpoints.subsets.clone().unwrap_or_default();
    seen.labels() == wanted.labels() && seen.annotations() == wanted.annotations() && subsets(seen) == subsets(wanted)
}

#[derive(Default)]
struct Addresses {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let family = targets::families(service).into_iter().next().unwrap_or_default();
    let mut by_ports: BTreeMap<Vec<Port>, Addresses> = BTreeMap::new();
    for pod in pods {
        let (Some(standing), Some(ip)) = (targets::standing(service, pod), targets::address(pod, &family)) else {
            continue;
        };
        if standing.terminating && !targets::publishes_not_ready(service) {
            continue;
        }
        let ports = targets::ports(service, pod);
        if ports.is_empty() && !(targets::is_headless(service) && has_no_ports(service)) {
            continue;
        }
        let address = EndpointAddress {
            ip,
            hostname: targets::hostname(service, pod),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()),
            target_ref: Some(targets::reference(pod)),
        };
        let addresses = by_ports.entry(ports).or_default();
        if standing.ready { addresses.ready.push(address) } else { addresses.not_ready.push(address) }
    }
    let truncated = truncate(&mut by_ports);
    let subsets = by_ports.into_iter().map(|(ports, addresses)| EndpointSubset {
        addresses: listed(addresses.ready),
        not_ready_addresses: listed(addresses.not_ready),
        ports: listed(ports.into_iter().map(endpoint_port).collect()),
    });
    (subsets.filter(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some()).collect(), truncated)
}

fn has_no_ports(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty)
}

/// Ready addresses have precedence over others.
fn truncate(by_ports: &mut BTreeMap<Vec<Port>, Addresses>) -> bool {
    let mut room = ADDRESSES_MAX;
    let mut truncated = false;
    let mut cut = |addresses: &mut Vec<EndpointAddress>| {
        addresses.sort_by_key(|address| address.ip.parse::<IpAddr>().ok());
        truncated |= addresses.len() > room;
        addresses.truncate(room);
        room -= addresses.len();
    };
    by_ports.values_mut().for_each(|addresses| cut(&mut addresses.ready));
    by_ports.values_mut().for_each(|addresses| cut(&mut addresses.not_ready));
    truncated
}

fn listed<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn endpoint_port(port: Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name).filter(|name| !name.is_empty()),
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
        port: port.number,
    }
}
