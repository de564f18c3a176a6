//! Writes down behind which addresses a Service is: EndpointSlices.
//!
//! *Owns*: the slices that are labelled as managed by `endpointslice-controller.k8s.io`.
//!
//! *Guarantees*: as few slices as need be are written for a change, none has more than 100 endpoints, and a cache that
//! lags cannot make one twice, since their names follow from the Service and a number.
//!
//! *Never*: touches slices of a Service without a selector, or of other managers.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::informers::{Change, Informer, Key};
use client::services::selects;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Resource, ResourceExt};

use crate::Rig;
use crate::owners::is_deleting;

mod plan;
pub(crate) mod targets;
#[cfg(test)]
mod tests;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";
const BY_SERVICE: &str = "managed slices by service";

pub(crate) fn start(rig: Rig) {
    let services = rig.informers.of::<Service>();
    let pods = rig.informers.of::<Pod>();
    let slices = rig.informers.of::<EndpointSlice>();
    slices.add_index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
    let nodes = rig.informers.of::<Node>();
    let (selecting, placed) = (services.clone(), pods.clone());
    let moved = services.clone();
    let controller = Controller::new("endpoint_slice", &rig.metrics)
        .each(&services)
        .watch(&pods, move |change| services_of_pod(&selecting, change))
        .watch(&nodes, move |change| {
            // Where a node is stands beside each of its pods.
            let zone = |node: Option<&Arc<Node>>| node.and_then(|node| node.labels().get(ZONE).cloned());
            if zone(change.old.as_ref()) == zone(change.new.as_ref()) {
                return Vec::new();
            }
            let pods = placed.on_node(&change.key.name);
            let behind = pods.iter().flat_map(|pod| {
                let here = moved.in_namespace(&pod.namespace().unwrap_or_default());
                here.into_iter().filter(|service| selects(service, pod.labels()))
            });
            behind.map(|service| Key::of(service.as_ref())).collect::<BTreeSet<_>>().into_iter().collect()
        })
        .watch(&slices, |change| {
            let mut keys: Vec<Key> = change.states().filter_map(|slice| service_of(slice)).collect();
            keys.dedup();
            keys
        });
    controller.start(
        &rig.tasks,
        EndpointSlices { client: rig.client, services, pods, nodes, slices, written: Expectations::default() },
    );
}

/// The Services whose selector picks, or picked, the pod.
pub(crate) fn services_of_pod(services: &Informer<Service>, change: &Change<Pod>) -> Vec<Key> {
    let is_behind = |service: &Service| change.states().any(|pod| selects(service, pod.labels()));
    services
        .in_namespace(&change.key.namespace)
        .iter()
        .filter(|service| is_behind(service))
        .map(|service| Key::of(service.as_ref()))
        .collect()
}

/// The Service of a slice that is ours.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.labels();
    (labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER))
        .then(|| labels.get(SERVICE_NAME))
        .flatten()
        .map(|service| Key::new(slice.namespace().unwrap_or_default(), service.clone()))
}

struct EndpointSlices {
    client: Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    written: Expectations,
}

#[async_trait]
impl Reconcile for EndpointSlices {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(service) = self.services.at(key) else {
            self.written.forget(key);
            return Ok(Next::Done);
        };
        if !self.written.met(key, &self.slices) {
            return Ok(Next::Done);
        }
        // A Service that goes takes its slices along through their owner references.
        if is_deleting(service.meta()) || !targets::has_selector(&service) {
            return Ok(Next::Done);
        }
        let pods: Vec<_> =
            self.pods.in_namespace(&key.namespace).into_iter().filter(|pod| selects(&service, pod.labels())).collect();
        let slices = self.slices.indexed(BY_SERVICE, &key.to_string());
        let zone_of = |node: &str| self.nodes.get("", node)?.labels().get(ZONE).cloned();
        plan::plan(&service, &pods, &slices, &zone_of)
            .carry_out(&self.client, key, &self.slices, &self.written)
            .await?;
        Ok(Next::Done)
    }
}
