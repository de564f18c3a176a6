//! Looking at the live object, asking after its owners, and carrying out the plan.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Next, Reconcile, RunError};
use client::informers::{Key, Metadata};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Kinds;
use super::graph::{Entry, Graph};
use super::plan::{self, Dependent, FOREGROUND, ORPHAN, Owner, Plan, Propagation, has_finalizer};
use crate::kinds::DiscoveredKind;
use crate::owners::is_deleting;

/// How many owners are remembered as gone, so that a thousand dependents ask once.
const GONE_MAX: usize = 1000;

/// How long to wait for a kind that nobody knows.
const UNKNOWN_KIND: Duration = Duration::from_secs(30);

pub(super) struct Collector {
    client: Client,
    kinds: Arc<Kinds>,
    graph: Arc<Graph>,
    gone: Mutex<Gone>,
}

#[derive(Default)]
struct Gone {
    uids: HashSet<String>,
    order: VecDeque<String>,
}

#[async_trait]
impl Reconcile for Collector {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let uid = key.name.as_str();
        let Some(entry) = self.graph.get(uid) else { return Ok(Next::Done) };
        let api = self.api(&entry.kind, &entry.key.namespace);
        let live = api.get_metadata_opt(&entry.key.name).await?.map(|object| object.metadata);
        let Some(meta) = live.filter(|meta| meta.uid.as_deref() == Some(uid)) else {
            // The watch will say so too; what it owned need not wait.
            self.look_at(self.graph.remove(uid));
            return Ok(Next::Done);
        };
        let Some(owners) = self.owners(&meta, &entry).await? else { return Ok(Next::After(UNKNOWN_KIND)) };
        let dependents: Vec<_> = self
            .graph
            .dependents(uid)
            .into_iter()
            .map(|(dependent, entry)| dependent_of(uid, dependent, &entry))
            .collect();
        let plan = plan::plan(&meta, &owners, &dependents);
        if plan != Plan::Nothing {
            tracing::debug!(object = %entry.key, kind = entry.kind.resource.kind, ?plan, "collecting");
        }
        self.act(&api, &meta, &entry, plan).await?;
        Ok(Next::Done)
    }
}

fn dependent_of(owner: &str, uid: String, entry: &Entry) -> Dependent {
    Dependent {
        blocks: entry.owners.iter().any(|(reference, blocks)| reference == owner && *blocks),
        waiting: entry.waiting,
        deleting: entry.deleting,
        uid,
    }
}

impl Collector {
    pub(super) fn new(client: Client, kinds: Arc<Kinds>, graph: Arc<Graph>) -> Self {
        Self { client, kinds, graph, gone: Mutex::default() }
    }

    fn api(&self, kind: &DiscoveredKind, namespace: &str) -> Api<kube::api::DynamicObject> {
        if kind.namespaced {
            Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
        } else {
            Api::all_with(self.client.clone(), &kind.resource)
        }
    }

    fn look_at(&self, uids: Vec<String>) {
        if let Some(queue) = self.graph.queue() {
            uids.into_iter().for_each(|uid| queue.add(Key::new("", uid)));
        }
    }

    /// How each owner stands; None when one is of a kind that is not known.
    async fn owners(&self, meta: &ObjectMeta, entry: &Entry) -> Result<Option<Vec<Owner>>, RunError> {
        let mut owners = Vec::new();
        if is_deleting(meta) {
            return Ok(Some(owners));
        }
        for reference in meta.owner_references.iter().flatten() {
            match self.owner(reference, &entry.key.namespace).await? {
                Some(owner) => owners.push(owner),
                None => return Ok(None),
            }
        }
        Ok(Some(owners))
    }

    async fn owner(&self, reference: &OwnerReference, namespace: &str) -> Result<Option<Owner>, RunError> {
        if let Some(seen) = self.graph.get(&reference.uid) {
            // An owner in another namespace is no owner.
            let reachable = seen.key.namespace.is_empty() || seen.key.namespace == namespace;
            return Ok(Some(match (reachable, seen.waiting) {
                (false, _) => Owner::Gone,
                (true, true) => Owner::Waiting,
                (true, false) => Owner::Solid,
            }));
        }
        if self.gone.lock().uids.contains(&reference.uid) {
            return Ok(Some(Owner::Gone));
        }
        let Some(kind) = self.kinds.resolve(&reference.api_version, &reference.kind) else {
            tracing::debug!(kind = reference.kind, api_version = reference.api_version, "an owner of an unknown kind");
            return Ok(None);
        };
        if kind.namespaced && namespace.is_empty() {
            // A cluster-scoped object cannot be owned by a namespaced one: the reference can never be followed.
            return Ok(None);
        }
        let live = self.api(&kind, namespace).get_metadata_opt(&reference.name).await?;
        let live = live.filter(|live| live.metadata.uid.as_deref() == Some(reference.uid.as_str()));
        Ok(Some(match live {
            None => {
                self.gone.lock().add(reference.uid.clone());
                Owner::Gone
            }
            Some(live) if is_waiting(&live) => Owner::Waiting,
            Some(_) => Owner::Solid,
        }))
    }

    async fn act(
        &self,
        api: &Api<kube::api::DynamicObject>,
        meta: &ObjectMeta,
        entry: &Entry,
        plan: Plan,
    ) -> Result<(), RunError> {
        let uid = meta.uid.as_deref().unwrap_or_default();
        match plan {
            Plan::Nothing => {}
            Plan::Await(dependents) => self.look_at(dependents),
            Plan::Release => without_finalizer(api, meta, FOREGROUND).await?,
            Plan::Orphan => {
                for (dependent, of) in self.graph.dependents(uid) {
                    self.forget_owner(&dependent, &of, uid).await?;
                }
                without_finalizer(api, meta, ORPHAN).await?;
            }
            Plan::Keep(references) => patch(api, meta, json!({"ownerReferences": references})).await?,
            Plan::Delete { propagation, unblock } => {
                for dependent in unblock {
                    self.stop_blocking(&dependent, uid).await?;
                }
                let params = match propagation {
                    Propagation::Background => DeleteParams::background(),
                    Propagation::Foreground => DeleteParams::foreground(),
                    Propagation::Orphan => DeleteParams::orphan(),
                };
                // The version too: an owner that was added meanwhile is another look worth.
                let preconditions =
                    Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
                match api.delete(&entry.key.name, &params.preconditions(preconditions)).await {
                    Err(error) if client::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }

    async fn forget_owner(&self, dependent: &str, entry: &Entry, owner: &str) -> Result<(), RunError> {
        self.change_owners(dependent, entry, |references| references.retain(|reference| reference.uid != owner)).await
    }

    async fn stop_blocking(&self, dependent: &str, owner: &str) -> Result<(), RunError> {
        let Some(entry) = self.graph.get(dependent) else { return Ok(()) };
        let unblock = |references: &mut Vec<OwnerReference>| {
            for reference in references.iter_mut().filter(|reference| reference.uid == owner) {
                reference.block_owner_deletion = Some(false);
            }
        };
        self.change_owners(dependent, &entry, unblock).await
    }

    async fn change_owners(
        &self,
        uid: &str,
        entry: &Entry,
        change: impl Fn(&mut Vec<OwnerReference>),
    ) -> Result<(), RunError> {
        let api = self.api(&entry.kind, &entry.key.namespace);
        let Some(live) = api.get_metadata_opt(&entry.key.name).await? else { return Ok(()) };
        if live.metadata.uid.as_deref() != Some(uid) {
            return Ok(());
        }
        let before = live.metadata.owner_references.clone().unwrap_or_default();
        let mut references = before.clone();
        change(&mut references);
        if references == before {
            return Ok(());
        }
        Ok(patch(&api, &live.metadata, json!({"ownerReferences": references})).await?)
    }
}

impl Gone {
    fn add(&mut self, uid: String) {
        if self.uids.insert(uid.clone()) {
            self.order.push_back(uid);
        }
        if self.order.len() > GONE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }
}

fn is_waiting(object: &Metadata) -> bool {
    is_deleting(&object.metadata) && has_finalizer(&object.metadata, FOREGROUND)
}

async fn without_finalizer(
    api: &Api<kube::api::DynamicObject>,
    meta: &ObjectMeta,
    finalizer: &str,
) -> Result<(), kube::Error> {
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    finalizers.retain(|name| name != finalizer);
    patch(api, meta, json!({"finalizers": finalizers})).await
}

/// Merges into the metadata of the object as it was seen; a conflict brings it back.
async fn patch(api: &Api<kube::api::DynamicObject>, meta: &ObjectMeta, mut metadata: Value) -> Result<(), kube::Error> {
    metadata["uid"] = json!(meta.uid);
    metadata["resourceVersion"] = json!(meta.resource_version);
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let name = meta.name.as_deref().unwrap_or_default();
    match api.patch_metadata(name, &PatchParams::default(), &patch).await {
        Err(error) if client::is_not_found(&error) => Ok(()),
        other => other.map(drop),
    }
}
