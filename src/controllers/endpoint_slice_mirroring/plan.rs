//! Which slices say what an Endpoints object says. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use client::informers::Key;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::owners::controlled_by;
use crate::slices::Changes;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Endpoints that another controller made of pods already have their slices.
const MADE_BY: &str = "endpoints.kubernetes.io/managed-by";
/// What `kubectl apply` keeps of what it sent is about the Endpoints, not about the slices.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of one subset that are mirrored.
const ADDRESSES_MAX: usize = 1000;

/// The Service of a slice that is a mirror.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.labels();
    (labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER))
        .then(|| labels.get(SERVICE_NAME))
        .flatten()
        .map(|service| Key::new(slice.namespace().unwrap_or_default(), service.clone()))
}

/// Whether the object is to be mirrored at all.
pub(super) fn is_mirrored(endpoints: &Endpoints) -> bool {
    let labels = endpoints.labels();
    labels.get(SKIP).map(String::as_str) != Some("true")
        && !labels.contains_key(MADE_BY)
        && !endpoints.annotations().contains_key(LEADER)
}

pub(super) fn plan(endpoints: Option<&Endpoints>, seen: &[Arc<EndpointSlice>]) -> Changes {
    let mut wanted = endpoints.map(slices).unwrap_or_default();
    let mut plan = Changes::default();
    for held in seen {
        // A slice keeps its ports and its family for life.
        let at = wanted.iter().position(|slice| slice.address_type == held.address_type && ports(slice) == ports(held));
        let Some(at) = at else {
            plan.delete.push(Arc::clone(held));
            continue;
        };
        let slice = wanted.swap_remove(at);
        let mut next = held.as_ref().clone();
        next.endpoints = slice.endpoints;
        next.metadata.labels = slice.metadata.labels;
        next.metadata.annotations = slice.metadata.annotations;
        next.metadata.owner_references = slice.metadata.owner_references;
        if differs(held, &next) {
            plan.update.push(next);
        }
    }
    plan.create = wanted;
    plan
}

fn ports(slice: &EndpointSlice) -> Vec<EndpointPort> {
    slice.ports.clone().unwrap_or_default()
}

/// Whatever form "nothing" has been stored in.
fn differs(held: &EndpointSlice, next: &EndpointSlice) -> bool {
    held.endpoints != next.endpoints || held.labels() != next.labels() || held.annotations() != next.annotations()
}

/// All slices of an Endpoints object: one for each set of ports and each family of addresses.
fn slices(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut all: BTreeMap<String, EndpointSlice> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports_of(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, is_ready) in ready.chain(not_ready).take(ADDRESSES_MAX) {
            let Some(family) = family(&address.ip) else { continue };
            let key = format!("{family} {}", serde_json::to_string(&ports).unwrap_or_default());
            let slice = all.entry(key).or_insert_with(|| empty(endpoints, family, &ports));
            slice.endpoints.get_or_insert_default().push(endpoint(address, is_ready));
        }
    }
    all.into_values().collect()
}

fn family(ip: &str) -> Option<&'static str> {
    match ip.parse().ok()? {
        IpAddr::V4(_) => Some("IPv4"),
        IpAddr::V6(_) => Some("IPv6"),
    }
}

fn ports_of(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let each = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    });
    each.collect()
}

fn endpoint(address: &EndpointAddress, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(is_ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn empty(endpoints: &Endpoints, family: &str, ports: &[EndpointPort]) -> EndpointSlice {
    let name = endpoints.name_any();
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.annotations().clone();
    annotations.remove(LAST_APPLIED);
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: endpoints.namespace(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controlled_by(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(Vec::new()),
        ports: Some(ports.to_vec()),
    }
}
