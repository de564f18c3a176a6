//! Distributing a Service's endpoints over slices with few writes. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::targets::{self, Port};
use super::{MANAGED_BY, MANAGER, SERVICE_NAME};
use crate::owners::{controlled_by, is_deleting, name};
use crate::slices::Changes;
use crate::suffix;

const ENDPOINTS_MAX: usize = 100;
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Compares the pods that the Service selects with the slices that there are.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    slices: &[Arc<EndpointSlice>],
    zone_of: &dyn Fn(&str) -> Option<String>,
) -> Changes {
    let mut plan = Changes::default();
    let mut names: HashSet<String> = slices.iter().map(|slice| slice.name_any()).collect();
    let families = targets::families(service);
    for family in &families {
        let present: Vec<_> = slices
            .iter()
            .filter(|slice| &slice.address_type == family && !is_deleting(&slice.metadata))
            .cloned()
            .collect();
        let wanted = wanted(service, pods, family, zone_of);
        place(service, family, wanted, present, &mut names, &mut plan);
    }
    plan.delete.extend(slices.iter().filter(|slice| !families.contains(&slice.address_type)).cloned());
    plan
}

/// The endpoints of one family, by the ports that they serve.
fn wanted(
    service: &Service,
    pods: &[Arc<Pod>],
    family: &str,
    zone_of: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<Vec<Port>, Vec<Endpoint>> {
    let mut wanted: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods {
        let (Some(standing), Some(address)) = (targets::standing(service, pod), targets::address(pod, family)) else {
            continue;
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty());
        let zone = node.as_deref().and_then(zone_of);
        let endpoint = Endpoint {
            addresses: vec![address],
            conditions: Some(EndpointConditions {
                ready: Some(standing.ready),
                serving: Some(standing.serving),
                terminating: Some(standing.terminating),
            }),
            hostname: targets::hostname(service, pod),
            hints: targets::hints(service, standing, node.as_deref(), zone.as_deref()),
            node_name: node,
            zone,
            target_ref: Some(targets::reference(pod)),
            ..Endpoint::default()
        };
        wanted.entry(targets::ports(service, pod)).or_default().push(endpoint);
    }
    wanted
}

/// A slice that is being filled: one that is there, or a new one.
struct Draft {
    seen: Option<Arc<EndpointSlice>>,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

fn place(
    service: &Service,
    family: &str,
    mut wanted: BTreeMap<Vec<Port>, Vec<Endpoint>>,
    present: Vec<Arc<EndpointSlice>>,
    names: &mut HashSet<String>,
    plan: &mut Changes,
) {
    // With no endpoint at all one empty slice says so.
    if wanted.is_empty() {
        wanted.insert(Vec::new(), Vec::new());
    }
    let (mut fitting, mut free): (Vec<_>, Vec<_>) =
        present.into_iter().partition(|slice| wanted.contains_key(&ports_of(slice)));
    for (ports, endpoints) in wanted {
        let (mine, rest) = fitting.into_iter().partition(|slice| ports_of(slice) == ports);
        fitting = rest;
        for draft in fill(endpoints, mine, &mut free) {
            match draft.seen.or_else(|| free.pop()) {
                Some(seen) => plan.update.extend(updated(service, &seen, &ports, draft.endpoints)),
                None => plan.create.push(created(service, family, &ports, draft.endpoints, names)),
            }
        }
    }
    plan.delete.extend(free);
}

/// Puts `endpoints` into `slices`: each stays where it is, and new ones go where a write is due anyway, then into the
/// fullest slice that has room for all of them, then into new ones. Slices that end up empty become `free`.
fn fill(endpoints: Vec<Endpoint>, slices: Vec<Arc<EndpointSlice>>, free: &mut Vec<Arc<EndpointSlice>>) -> Vec<Draft> {
    let order: Vec<Identity> = endpoints.iter().map(identity).collect();
    let mut rest: HashMap<Identity, Endpoint> = order.iter().cloned().zip(endpoints).collect();
    let mut drafts: Vec<Draft> = slices
        .into_iter()
        .map(|slice| {
            let kept: Vec<Endpoint> =
                endpoints_of(&slice).iter().filter_map(|endpoint| rest.remove(&identity(endpoint))).collect();
            Draft { changed: kept != endpoints_of(&slice), seen: Some(slice), endpoints: kept }
        })
        .collect();
    let mut rest: Vec<Endpoint> = order.iter().filter_map(|identity| rest.remove(identity)).collect();
    rest.reverse();
    drafts.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
    for draft in drafts.iter_mut().filter(|draft| draft.changed) {
        take(draft, &mut rest);
    }
    while !rest.is_empty() {
        let has_room = |draft: &&mut Draft| draft.endpoints.len() + rest.len() <= ENDPOINTS_MAX;
        if let Some(draft) = drafts.iter_mut().find(has_room) {
            take(draft, &mut rest);
        } else {
            let mut draft = Draft { seen: None, endpoints: Vec::new(), changed: true };
            take(&mut draft, &mut rest);
            drafts.push(draft);
        }
    }
    // One stays, though empty, when there is nothing to hold.
    let (mut kept, empty): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|draft| !draft.endpoints.is_empty());
    let mut empty = empty.into_iter();
    if kept.is_empty() {
        kept.push(empty.next().unwrap_or(Draft { seen: None, endpoints: Vec::new(), changed: true }));
    }
    free.extend(empty.filter_map(|draft| draft.seen));
    kept
}

/// Moves from the end of `rest` what still fits.
fn take(draft: &mut Draft, rest: &mut Vec<Endpoint>) {
    while draft.endpoints.len() < ENDPOINTS_MAX
        && let Some(endpoint) = rest.pop()
    {
        draft.endpoints.push(endpoint);
    }
}

/// What stays the same when an endpoint's conditions change.
type Identity = (Vec<String>, Option<String>);

fn identity(endpoint: &Endpoint) -> Identity {
    (endpoint.addresses.clone(), endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()))
}

fn endpoints_of(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let mut ports: Vec<Port> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone(),
            number: port.port.unwrap_or(0),
        })
        .collect();
    ports.sort();
    ports
}

/// The slice with other content; None when it is as it should be.
fn updated(
    service: &Service,
    seen: &Arc<EndpointSlice>,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
) -> Option<EndpointSlice> {
    let (labels, owners) = (labels(service), vec![controlled_by(service)]);
    let same = endpoints_of(seen) == endpoints
        && ports_of(seen) == ports
        && seen.metadata.labels.as_ref() == Some(&labels)
        && seen.metadata.owner_references.as_ref() == Some(&owners);
    if same {
        return None;
    }
    let mut slice = seen.as_ref().clone();
    slice.metadata.labels = Some(labels);
    slice.metadata.owner_references = Some(owners);
    slice.endpoints = Some(endpoints);
    slice.ports = Some(slice_ports(ports));
    Some(slice)
}

fn created(
    service: &Service,
    family: &str,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
    names: &mut HashSet<String>,
) -> EndpointSlice {
    let name = (0..).map(|ordinal| slice_name(service, family, ordinal)).find(|name| !names.contains(name));
    let name = name.unwrap_or_default();
    names.insert(name.clone());
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controlled_by(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(slice_ports(ports)),
    }
}

/// Follows from the Service and a number, so that it cannot be made twice.
fn slice_name(service: &Service, family: &str, ordinal: u32) -> String {
    let seed = format!("{}/{family}/{ordinal}", service.metadata.uid.as_deref().unwrap_or_default());
    let hash = suffix::hash(seed.as_bytes()) as usize;
    let end: String = (0..5).map(|place| suffix::letter(hash / suffix::LETTERS.pow(place))).collect();
    format!("{}-{end}", name(&service.metadata))
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS);
    if targets::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn slice_ports(ports: &[Port]) -> Vec<EndpointPort> {
    ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(port.protocol.clone()),
            port: Some(port.number),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |verb: &str, slice: &EndpointSlice| {
            let ports = ports_of(slice).iter().map(|port| format!("{}:{}", port.name, port.number)).collect::<Vec<_>>();
            writeln!(f, "{verb} {} [{}]", slice.address_type, ports.join(" "))?;
            for endpoint in endpoints_of(slice).iter().take(5) {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let mark = |set: Option<bool>, word: &'static str| if set == Some(true) { word } else { "" };
                let marks = [
                    mark(conditions.ready, " ready"),
                    mark(conditions.serving, " serving"),
                    mark(conditions.terminating, " terminating"),
                ];
                writeln!(f, "  {}{}", endpoint.addresses.join(","), marks.concat())?;
            }
            if endpoints_of(slice).len() > 5 {
                writeln!(f, "  … {} in all", endpoints_of(slice).len())?;
            }
            Ok(())
        };
        self.create.iter().try_for_each(|slice| line("create", slice))?;
        self.update.iter().try_for_each(|slice| line("update", slice))?;
        self.delete.iter().try_for_each(|slice| line("delete", slice))
    }
}
