//! The older form of EndpointSlices: one Endpoints object a Service, for clients that still read it.
//!
//! *Owns*: the Endpoints of Services with a selector.
//!
//! *Guarantees*: at most 1,000 addresses, ready ones first, as the API promises.

use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use client::services::selects;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use crate::Rig;
use crate::endpoint_slice::{services_of_pod, targets};
use crate::owners::{is_deleting, name};

mod plan;
#[cfg(test)]
mod tests;

use plan::Plan;

pub(crate) fn start(rig: Rig) {
    let services = rig.informers.of::<Service>();
    let pods = rig.informers.of::<Pod>();
    let endpoints = rig.informers.of::<Endpoints>();
    let selecting = services.clone();
    let controller = Controller::new("endpoints", &rig.metrics)
        .each(&services)
        .watch(&pods, move |change| services_of_pod(&selecting, change))
        .each(&endpoints);
    controller.start(
        &rig.tasks,
        EndpointsController { client: rig.client, services, pods, endpoints, written: Expectations::default() },
    );
}

struct EndpointsController {
    client: Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    written: Expectations,
}

#[async_trait]
impl Reconcile for EndpointsController {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        if !self.written.met(key, &self.endpoints) {
            return Ok(Next::Done);
        }
        let seen = self.endpoints.at(key);
        let service = self.services.at(key).filter(|service| !is_deleting(&service.metadata));
        let api = Api::<Endpoints>::namespaced(self.client.clone(), &key.namespace);
        match self.plan(key, service.as_deref(), seen.as_deref()) {
            Plan::Nothing => {}
            Plan::Create(endpoints) => {
                let created = api.create(&PostParams::default(), &endpoints).await?;
                self.written.created(key, &created.metadata, &self.endpoints);
            }
            Plan::Replace(endpoints) => {
                let written = api.replace(&key.name, &PostParams::default(), &endpoints).await?;
                self.written.wrote(key, &written.metadata, &self.endpoints);
            }
            Plan::Delete(uid) => {
                let params = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
                match api.delete(&key.name, &params).await {
                    Err(error) if client::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        Ok(Next::Done)
    }
}

impl EndpointsController {
    fn plan(&self, key: &Key, service: Option<&Service>, seen: Option<&Endpoints>) -> Plan {
        let Some(service) = service else { return plan::without_service(seen) };
        if !targets::has_selector(service) {
            return Plan::Nothing;
        }
        let pods: Vec<Arc<Pod>> =
            self.pods.in_namespace(&key.namespace).into_iter().filter(|pod| selects(service, pod.labels())).collect();
        debug_assert_eq!(name(&service.metadata), key.name);
        plan::plan(service, &pods, seen)
    }
}
