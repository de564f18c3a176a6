//! What is to become of a Service's EndpointSlices, and doing it.

use std::sync::Arc;

use client::Client;
use client::controller::Expectations;
use client::informers::{Informer, Key};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use crate::owners::name;

/// What one run changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub create: Vec<EndpointSlice>,
    /// Whole slices with the resourceVersion that was seen.
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

impl Changes {
    /// Writes them for the Service at `key`, and remembers in `written` what the cache does not show yet.
    pub async fn carry_out(
        self,
        client: &Client,
        key: &Key,
        cache: &Informer<EndpointSlice>,
        written: &Expectations,
    ) -> Result<(), kube::Error> {
        let api = Api::<EndpointSlice>::namespaced(client.clone(), &key.namespace);
        for slice in &self.update {
            let updated = api.replace(name(&slice.metadata), &PostParams::default(), slice).await?;
            written.wrote(key, &updated.metadata, cache);
        }
        for slice in &self.create {
            let created = api.create(&PostParams::default(), slice).await?;
            written.created(key, &created.metadata, cache);
        }
        for slice in &self.delete {
            let preconditions = Preconditions { uid: slice.metadata.uid.clone(), resource_version: None };
            match api.delete(name(&slice.metadata), &DeleteParams::default().preconditions(preconditions)).await {
                Err(error) if client::is_not_found(&error) => {}
                other => {
                    other?;
                    written.deleted(key, &slice.metadata);
                }
            }
        }
        Ok(())
    }
}
