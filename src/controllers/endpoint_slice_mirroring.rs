//! Endpoints that people write by hand, as EndpointSlices, which is what is read.
//!
//! *Owns*: the slices of Services without a selector that have an Endpoints object.

use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::Rig;
use crate::owners::is_deleting;

mod plan;
#[cfg(test)]
mod tests;

const BY_SERVICE: &str = "mirrored by service";

pub(crate) fn start(rig: Rig) {
    let services = rig.informers.of::<Service>();
    let endpoints = rig.informers.of::<Endpoints>();
    let slices = rig.informers.of::<EndpointSlice>();
    slices.add_index(BY_SERVICE, |slice: &EndpointSlice| {
        plan::service_of(slice).map(|key| key.to_string()).into_iter().collect()
    });
    let controller = Controller::new("endpoint_slice_mirroring", &rig.metrics)
        .workers(4)
        .each(&endpoints)
        .watch(&services, |change| vec![change.key.clone()])
        .watch(&slices, |change| change.states().filter_map(|slice| plan::service_of(slice)).collect());
    let written = Expectations::default();
    controller.start(&rig.tasks, Mirror { client: rig.client, services, endpoints, slices, written });
}

struct Mirror {
    client: Client,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
    written: Expectations,
}

#[async_trait]
impl Reconcile for Mirror {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        if !self.written.met(key, &self.slices) {
            return Ok(Next::Done);
        }
        let has_no_selector = |service: &Arc<Service>| {
            let spec = service.spec.as_ref();
            spec.is_some_and(|spec| spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty))
        };
        let service = self.services.at(key).filter(|service| !is_deleting(&service.metadata));
        let wanted = service.filter(has_no_selector).and_then(|_| self.endpoints.at(key));
        let wanted = wanted.filter(|endpoints| !is_deleting(&endpoints.metadata) && plan::is_mirrored(endpoints));
        let seen = self.slices.indexed(BY_SERVICE, &key.to_string());
        if wanted.is_none() && seen.is_empty() {
            self.written.forget(key);
            return Ok(Next::Done);
        }
        plan::plan(wanted.as_deref(), &seen).carry_out(&self.client, key, &self.slices, &self.written).await?;
        Ok(Next::Done)
    }
}
