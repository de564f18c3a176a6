//! The kinds that the server has, from its discovery.

use client::Client;
use kube::Discovery;
use kube::api::ApiResource;
use kube::core::discovery::{Scope, verbs};

/// One kind, in the version that the server prefers.
#[derive(Clone, Debug)]
pub(crate) struct DiscoveredKind {
    pub resource: ApiResource,
    pub namespaced: bool,
    pub watchable: bool,
    pub deletable: bool,
    pub collection_deletable: bool,
}

/// Every kind that can be listed.
pub(crate) async fn discover(client: &Client) -> Result<Vec<DiscoveredKind>, kube::Error> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        Err(error) => {
            tracing::debug!(error = client::explain(&error), "no aggregated discovery; asking group by group");
            Discovery::new(client.clone()).run().await?
        }
    };
    let kinds = discovery.groups().flat_map(|group| group.recommended_resources());
    let kinds = kinds.filter(|(_, can)| can.supports_operation(verbs::LIST)).map(|(resource, can)| DiscoveredKind {
        namespaced: can.scope == Scope::Namespaced,
        watchable: can.supports_operation(verbs::WATCH),
        deletable: can.supports_operation(verbs::DELETE),
        collection_deletable: can.supports_operation(verbs::DELETE_COLLECTION),
        resource,
    });
    Ok(kinds.collect())
}
