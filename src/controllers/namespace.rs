//! Empties a namespace that is being deleted, and then lets it go.
//!
//! *Guarantees*: nothing that the server's discovery names stays behind; what stays for a while, and why, stands in the
//! namespace's conditions. The namespace goes last, by taking `kubernetes` out of its finalizers.

use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};

use crate::Rig;
use crate::kinds::{DiscoveredKind, discover};
use crate::owners::is_deleting;

mod conditions;
#[cfg(test)]
mod tests;

use conditions::{Content, Remaining};

const FINALIZER: &str = "kubernetes";
const KINDS_AT_ONCE: usize = 8;

/// Whether objects may be made in the namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    !is_deleting(&namespace.metadata) && phase != Some("Terminating")
}

pub(crate) fn start(rig: Rig) {
    let namespaces = rig.informers.of::<Namespace>();
    let controller = Controller::new("namespace", &rig.metrics).each(&namespaces);
    controller.start(&rig.tasks, Namespaces { client: rig.client, namespaces });
}

struct Namespaces {
    client: Client,
    namespaces: Informer<Namespace>,
}

#[async_trait]
impl Reconcile for Namespaces {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(namespace) = self.namespaces.at(key).filter(|namespace| is_deleting(&namespace.metadata)) else {
            return Ok(Next::Done);
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Next::Done);
        }
        let content = self.empty(&key.name).await;
        let is_empty = content.is_gone();
        let version = self.publish(&namespace, &content).await?;
        if !is_empty {
            return Ok(Next::After(patience(&namespace, Timestamp::now())));
        }
        let rest = finalizers.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
        self.finalize(&namespace, version, rest).await?;
        Ok(Next::Done)
    }
}

impl Namespaces {
    /// Deletes what is there and says what remains.
    async fn empty(&self, namespace: &str) -> Content {
        let kinds = match discover(&self.client).await {
            Ok(kinds) => kinds,
            Err(error) => return Content::undiscovered(client::explain(&error)),
        };
        let kinds = kinds.into_iter().filter(|kind| kind.namespaced && kind.deletable);
        let outcomes = futures::stream::iter(kinds)
            .map(|kind| async move { (self.empty_kind(namespace, &kind).await, kind) })
            .buffer_unordered(KINDS_AT_ONCE);
        let mut content = Content::default();
        for (outcome, kind) in outcomes.collect::<Vec<_>>().await {
            let ApiResource { plural, group, .. } = &kind.resource;
            let resource = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
            match outcome {
                Ok(Some(remaining)) => content.remaining.push(Remaining { resource, ..remaining }),
                Ok(None) => {}
                Err(error) => content.failures.push(format!("{resource}: {}", client::explain(&error))),
            }
        }
        content.sort();
        content
    }

    /// Returns what remains of a kind after its deletion was asked for.
    async fn empty_kind(&self, namespace: &str, kind: &DiscoveredKind) -> Result<Option<Remaining>, kube::Error> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &kind.resource);
        let list = api.list_metadata(&ListParams::default()).await?;
        if list.items.is_empty() {
            return Ok(None);
        }
        if kind.collection_deletable {
            api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        } else {
            for object in list.items.iter().filter(|object| !is_deleting(&object.metadata)) {
                match api.delete(&object.name_any(), &DeleteParams::background()).await {
                    Err(error) if client::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        let rest = api.list_metadata(&ListParams::default()).await?;
        Ok(Remaining::of(rest.items.iter().map(|object| &object.metadata)))
    }

    /// Writes the conditions when they changed. Returns the namespace's version.
    async fn publish(&self, namespace: &Namespace, content: &Content) -> Result<Option<String>, kube::Error> {
        let seen = namespace.status.clone().unwrap_or_default();
        let conditions =
            conditions::conditions(seen.conditions.as_deref().unwrap_or_default(), content, Timestamp::now());
        let status = NamespaceStatus { phase: Some("Terminating".to_owned()), conditions: Some(conditions) };
        if status == seen {
            return Ok(namespace.resource_version());
        }
        let wanted = Namespace { status: Some(status), ..namespace.clone() };
        let api = Api::<Namespace>::all(self.client.clone());
        let written = api.replace_status(&namespace.name_any(), &PostParams::default(), &wanted).await?;
        Ok(written.resource_version())
    }

    async fn finalize(
        &self,
        namespace: &Namespace,
        version: Option<String>,
        finalizers: Vec<String>,
    ) -> Result<(), RunError> {
        let mut wanted = namespace.clone();
        wanted.metadata.resource_version = version;
        wanted.spec.get_or_insert_default().finalizers = Some(finalizers);
        let api = Api::<Namespace>::all(self.client.clone());
        let name = namespace.name_any();
        match api.replace_subresource("finalize", &name, &PostParams::default(), &wanted).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

/// Often at first, since most content goes at once; seldom for what hangs.
fn patience(namespace: &Namespace, now: Timestamp) -> Duration {
    let since = namespace.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (waited / 20).clamp(Duration::from_millis(50), Duration::from_secs(5))
}
