//! Keeps the status of PodDisruptionBudgets: how many of the pods that they guard may go now.
//!
//! *Owns*: the status of every budget, apart from what an eviction takes from it at the moment in which it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Change, Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{GroupVersionKind, Selector, SelectorExt};
use kube::{Resource, ResourceExt};

use crate::Rig;
use crate::owners::{controller_of, is_deleting};
use crate::selector_text::shown;

mod plan;
#[cfg(test)]
mod tests;

use plan::{Failure, Scale};

pub(crate) fn start(rig: Rig) {
    let budgets = rig.informers.of::<PodDisruptionBudget>();
    let pods = rig.informers.of::<Pod>();
    let owners = Owners {
        client: rig.client.clone(),
        sets: rig.informers.of::<ReplicaSet>(),
        deployments: rig.informers.of::<Deployment>(),
        stateful: rig.informers.of::<StatefulSet>(),
        controllers: rig.informers.of::<ReplicationController>(),
    };
    let guarding = budgets.clone();
    let controller = Controller::new("disruption", &rig.metrics)
        .workers(4)
        .each(&budgets)
        .watch(&pods, move |change| guards(&guarding, change));
    let controller = wake(controller, &owners.sets, &budgets);
    let controller = wake(controller, &owners.deployments, &budgets);
    let controller = wake(controller, &owners.stateful, &budgets);
    let controller = wake(controller, &owners.controllers, &budgets);
    let events = rig.recorder("controllermanager");
    controller.start(&rig.tasks, Budgets { client: rig.client, budgets, pods, owners, events });
}

/// Looks at a namespace's budgets again when an owner of pods wants another number of them.
fn wake<K: Resource + Send + Sync + 'static>(
    controller: Controller,
    owners: &Informer<K>,
    budgets: &Informer<PodDisruptionBudget>,
) -> Controller {
    let budgets = budgets.clone();
    controller.watch(owners, move |change| {
        let generation = |object: Option<&Arc<K>>| object.and_then(|object| object.meta().generation);
        // The status of an owner says nothing that its pods do not say.
        if budgets.is_empty() || generation(change.old.as_ref()) == generation(change.new.as_ref()) {
            return Vec::new();
        }
        budgets.in_namespace(&change.key.namespace).iter().map(|budget| Key::of(budget.as_ref())).collect()
    })
}

/// The budgets that guard the pod, or guarded it.
fn guards(budgets: &Informer<PodDisruptionBudget>, change: &Change<Pod>) -> Vec<Key> {
    if budgets.is_empty() {
        return Vec::new();
    }
    budgets
        .in_namespace(&change.key.namespace)
        .iter()
        .filter(|budget| {
            let selector = selector_of(budget);
            selector.is_some_and(|selector| change.states().any(|pod| selector.matches(pod.labels())))
        })
        .map(|budget| Key::of(budget.as_ref()))
        .collect()
}

/// A budget without a selector guards nothing; one with an empty selector guards the whole namespace.
fn selector_of(budget: &PodDisruptionBudget) -> Option<Selector> {
    Selector::try_from(budget.spec.as_ref()?.selector.clone()?).ok()
}

/// Nobody says how many there should be of pods that nobody controls.
fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = shown(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
         \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

struct Budgets {
    client: Client,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    owners: Owners,
    events: Recorder,
}

#[async_trait]
impl Reconcile for Budgets {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(budget) = self.budgets.at(key).filter(|budget| !is_deleting(&budget.metadata)) else {
            return Ok(Next::Done);
        };
        let selector = selector_of(&budget);
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selector.as_ref().is_some_and(|selector| selector.matches(pod.labels())));
        if pods.is_empty() {
            self.events.normal(budget.as_ref(), "NoPods", "No matching pods found");
        }
        let now = Timestamp::now();
        let scales = if plan::needs_scales(&budget) { self.owners.scales(&pods).await } else { Ok(Vec::new()) };
        let scales = match scales {
            Err(LookupError::Api(error)) => return Err(error.into()),
            Err(LookupError::Failed(why)) => Err(why),
            Ok(scales) => Ok(scales),
        };
        if plan::needs_scales(&budget)
            && scales.is_ok()
            && pods.iter().any(|pod| controller_of(&pod.metadata).is_none())
        {
            self.events.warning(budget.as_ref(), "UnmanagedPods", unmanaged(&budget));
        }
        let outcome = scales.and_then(|scales| plan::expected(&budget, &pods, &scales));
        let (status, next) = match outcome {
            Ok(expected) => plan::status(&budget, &pods, expected, now),
            Err(Failure(why)) => {
                let text = format!("Failed to calculate the number of expected pods: {why}");
                self.events.warning(budget.as_ref(), "CalculateExpectedPodCountFailed", text);
                (plan::failed(&budget, &why, now), Some(Duration::from_secs(10)))
            }
        };
        self.publish(key, &budget, status).await?;
        Ok(next.map_or(Next::Done, Next::After))
    }
}

impl Budgets {
    async fn publish(
        &self,
        key: &Key,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), kube::Error> {
        if budget.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let wanted = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        let api = Api::<PodDisruptionBudget>::namespaced(self.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Why nobody can say how many pods there should be.
enum LookupError {
    /// The server did not answer; the next run asks again.
    Api(kube::Error),
    Failed(Failure),
}

impl From<kube::Error> for LookupError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// What controls pods, and how many of them it wants.
struct Owners {
    client: Client,
    sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    stateful: Informer<StatefulSet>,
    controllers: Informer<ReplicationController>,
}

impl Owners {
    /// The scale of whatever controls the pods, each once.
    async fn scales(&self, pods: &[Arc<Pod>]) -> Result<Vec<Scale>, LookupError> {
        let mut found: BTreeMap<String, Scale> = BTreeMap::new();
        for pod in pods {
            // Pods that nobody controls belong to no scale.
            let Some(owner) = controller_of(&pod.metadata) else { continue };
            if found.contains_key(&owner.uid) {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            match self.scale(namespace, owner).await? {
                Some(scale) => found.insert(owner.uid.clone(), scale),
                None => {
                    let why = format!("found no controllers for pod {:?}", pod.name_any());
                    return Err(LookupError::Failed(Failure(why)));
                }
            };
        }
        let mut all: Vec<Scale> = found.into_values().collect();
        all.sort_by(|left, right| left.uid.cmp(&right.uid));
        all.dedup_by(|left, right| left.uid == right.uid);
        Ok(all)
    }

    async fn scale(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<Scale>, LookupError> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let scale = |uid: Option<String>, replicas: Option<i32>| Scale {
            uid: uid.unwrap_or_default(),
            replicas: replicas.unwrap_or(1),
        };
        let found = match (group, owner.kind.as_str()) {
            ("apps", "ReplicaSet") => {
                let set = self.sets.get(namespace, &owner.name).filter(|set| is_it(set.as_ref(), owner));
                let Some(set) = set else { return Ok(None) };
                if let Some(above) = controller_of(&set.metadata).filter(|above| above.kind == "Deployment") {
                    let deployment =
                        self.deployments.get(namespace, &above.name).filter(|found| is_it(found.as_ref(), above));
                    return Ok(deployment.map(|found| {
                        scale(found.metadata.uid.clone(), found.spec.as_ref().and_then(|spec| spec.replicas))
                    }));
                }
                Some(scale(set.metadata.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas)))
            }
            ("apps", "StatefulSet") => {
                let found = self.stateful.get(namespace, &owner.name).filter(|found| is_it(found.as_ref(), owner));
                found.map(|found| scale(found.metadata.uid.clone(), found.spec.as_ref().and_then(|spec| spec.replicas)))
            }
            ("", "ReplicationController") => {
                let found = self.controllers.get(namespace, &owner.name).filter(|found| is_it(found.as_ref(), owner));
                found.map(|found| scale(found.metadata.uid.clone(), found.spec.as_ref().and_then(|spec| spec.replicas)))
            }
            _ => self.served(namespace, owner).await?,
        };
        Ok(found)
    }

    /// The scale of any other kind, from its subresource.
    async fn served(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<Scale>, LookupError> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let kind = GroupVersionKind::gvk(group, version, &owner.kind);
        let Ok((resource, can)) = kube::discovery::oneshot::pinned_kind(&self.client, &kind).await else {
            return Ok(None);
        };
        if !can.subresources.iter().any(|(subresource, _)| subresource.plural == "scale") {
            let name = if group.is_empty() { resource.plural } else { format!("{}.{group}", resource.plural) };
            return Err(LookupError::Failed(Failure(format!("{name} does not implement the scale subresource"))));
        }
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        match api.get_scale(&owner.name).await {
            Err(error) if client::is_not_found(&error) => Ok(None),
            other => {
                let found = other?;
                let uid = found.metadata.uid.clone().unwrap_or_default();
                let replicas = found.spec.and_then(|spec| spec.replicas).unwrap_or_default();
                Ok((uid == owner.uid).then_some(Scale { uid, replicas }))
            }
        }
    }
}

fn is_it<K: Resource>(object: &K, owner: &OwnerReference) -> bool {
    object.meta().uid.as_deref() == Some(&owner.uid)
}
