//! Making and deleting pods for an owner, with its events, and remembering what the cache does not show yet.

use std::sync::Arc;

use base::tasks::apart;
use client::Client;
use client::controller::Expectations;
use client::events::Recorder;
use client::informers::{Informer, Key};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use crate::Rig;
use crate::owners::{controlled_by, name, namespace};

const DELETIONS_AT_ONCE: usize = 64;

/// Writes pods in the name of one controller.
pub(crate) struct PodControl {
    client: Client,
    pods: Informer<Pod>,
    /// Pods made and deleted.
    expectations: Expectations,
    pub events: Recorder,
    words: Words,
}

/// How a controller speaks of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Usual,
    StatefulSet,
}

impl Words {
    fn made(self, owner: &str, pod: &str) -> String {
        match self {
            Self::Usual => format!("Created pod: {pod}"),
            Self::StatefulSet => format!("create Pod {pod} in StatefulSet {owner} successful"),
        }
    }

    fn gone(self, owner: &str, pod: &str) -> String {
        match self {
            Self::Usual => format!("Deleted pod: {pod}"),
            Self::StatefulSet => format!("delete Pod {pod} in StatefulSet {owner} successful"),
        }
    }

    fn failed(self, verb: &str, owner: &str, pod: &str, why: &str) -> String {
        match self {
            Self::Usual => format!("Error {}ing: {why}", verb.trim_end_matches('e')),
            Self::StatefulSet => format!("{verb} Pod {pod} in StatefulSet {owner} failed error: {why}"),
        }
    }
}

impl PodControl {
    pub fn new(rig: &Rig, pods: &Informer<Pod>, component: &str) -> Self {
        let events = rig.recorder(component);
        Self {
            client: rig.client.clone(),
            pods: pods.clone(),
            expectations: Expectations::default(),
            events,
            words: Words::Usual,
        }
    }

    /// With the words of Kubernetes' StatefulSet controller.
    #[must_use]
    pub fn of_stateful_sets(self) -> Self {
        Self { words: Words::StatefulSet, ..self }
    }

    /// Whether the cache shows what was written for the owner. Counting pods before that would count wrong.
    pub fn settled(&self, owner: &Key) -> bool {
        self.expectations.met(owner, &self.pods)
    }

    /// Forgets an owner that is gone.
    pub fn forget(&self, owner: &Key) {
        self.expectations.forget(owner);
    }

    pub async fn create<O>(&self, key: &Key, owner: &O, pod: Arc<Pod>) -> Result<Pod, kube::Error>
    where
        O: Resource<DynamicType = ()>,
    {
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let wanted = Arc::clone(&pod);
        match apart(async move { api.create(&PostParams::default(), &wanted).await }).await {
            Ok(created) => {
                self.expectations.created(key, &created.metadata, &self.pods);
                let message = self.words.made(name(owner.meta()), name(&created.metadata));
                self.events.normal(owner, "SuccessfulCreate", message);
                Ok(created)
            }
            Err(error) if client::is_namespace_terminating(&error) => Err(error),
            Err(error) => {
                let (owned_by, own, why) = (name(owner.meta()), name(&pod.metadata), client::explain(&error));
                self.events.warning(owner, "FailedCreate", self.words.failed("create", owned_by, own, &why));
                Err(error)
            }
        }
    }

    pub async fn delete<O>(&self, key: &Key, owner: &O, pod: &Pod) -> Result<(), kube::Error>
    where
        O: Resource<DynamicType = ()>,
    {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace(&pod.metadata));
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        let condemned = name(&pod.metadata).to_owned();
        match apart(async move { api.delete(&condemned, &params).await }).await {
            Ok(_) => {
                self.expectations.deleted(key, &pod.metadata);
                let message = self.words.gone(name(owner.meta()), name(&pod.metadata));
                self.events.normal(owner, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if client::is_not_found(&error) => Ok(()),
            Err(error) => {
                let (owned_by, own, why) = (name(owner.meta()), name(&pod.metadata), client::explain(&error));
                self.events.warning(owner, "FailedDelete", self.words.failed("delete", owned_by, own, &why));
                Err(error)
            }
        }
    }

    /// Deletes them side by side; the last failure, if there was one.
    pub async fn delete_all<O>(&self, key: &Key, owner: &O, pods: &[Arc<Pod>]) -> Option<kube::Error>
    where
        O: Resource<DynamicType = ()>,
    {
        let deletions: Vec<_> = pods.iter().map(|pod| self.delete(key, owner, pod)).collect();
        let outcomes = futures::stream::iter(deletions).buffer_unordered(DELETIONS_AT_ONCE);
        outcomes.filter_map(|outcome| std::future::ready(outcome.err())).collect::<Vec<_>>().await.pop()
    }
}

/// A pod of a template, controlled by `owner`; the server completes its name.
pub(crate) fn of_template<O: Resource<DynamicType = ()>>(owner: &O, template: Option<&PodTemplateSpec>) -> Pod {
    let template = template.cloned().unwrap_or_default();
    let given = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(owner.meta()))),
            namespace: owner.meta().namespace.clone(),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![controlled_by(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
