//! Telling the server: where a pod goes, why it goes nowhere, and who gives way.

use std::sync::Arc;
use std::time::Duration;

use client::Client;
use client::events::{Recorder, Severity, reference};
use client::informers::Key;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use serde_json::{Value, json};

use crate::ask::Ask;
use crate::volumes::{SELECTED_NODE, Step, Volumes, is_bound};

/// How long volumes may take to be there.
const VOLUMES_WAIT: Duration = Duration::from_secs(600);

/// How a binding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The pod has its node.
    Yes,
    /// The pod is gone, or somebody else bound it.
    Moot,
    /// It is to be tried again.
    Failed,
}

/// Where room is kept for a pod.
pub(crate) enum Nomination {
    /// Where it was, if anywhere.
    Stays,
    /// On this node, from now on.
    Is(String),
    /// Nowhere any more.
    Ends,
}

/// What is said about a pod that has no node yet.
pub(crate) struct Word {
    pub message: String,
    pub nomination: Nomination,
}

#[derive(Clone)]
pub(crate) struct Binder {
    client: Client,
    /// By profile: each speaks in its own name.
    events: Arc<[(String, Recorder)]>,
}

impl Binder {
    /// `events` are by the names of the profiles.
    pub(crate) fn new(client: Client, events: Vec<(String, Recorder)>) -> Self {
        Self { client, events: events.into() }
    }

    /// Says something about `about` in the name of the scheduler of `pod`.
    fn say(&self, pod: &Pod, about: &Pod, severity: Severity, reason: &str, message: impl Into<String>) {
        let name = scheduler_of(pod);
        if let Some((_, events)) = self.events.iter().find(|(profile, _)| profile == name) {
            events.event(reference(about), severity, reason, message);
        }
    }

    fn api(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    pub(crate) async fn bind(&self, ask: &Ask, node: &str) -> Bound {
        let key = &ask.key;
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: ask.pod.uid(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let params = PostParams { field_manager: Some(scheduler_of(&ask.pod).to_owned()), ..PostParams::default() };
        let bound: Result<Status, _> = self.api(key).create_subresource("binding", &key.name, &params, &binding).await;
        match bound {
            Ok(_) => {
                let message = format!("Successfully assigned {key} to {node}");
                self.say(&ask.pod, &ask.pod, Severity::Normal, "Scheduled", message);
                Bound::Yes
            }
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => {
                tracing::debug!(pod = %key, %error, "binding is moot");
                Bound::Moot
            }
            Err(error) => {
                tracing::warn!(pod = %key, node, error = client::explain(&error), "binding failed");
                let message = format!("binding rejected: {}", client::explain(&error));
                self.say(&ask.pod, &ask.pod, Severity::Warning, "FailedScheduling", message);
                Bound::Failed
            }
        }
    }

    /// Sees to the volumes of a pod and waits until they are its own; then binds it.
    pub(crate) async fn bind_with_volumes(&self, ask: &Ask, node: &str, steps: &[Step], volumes: &Volumes) -> Bound {
        let done = async {
            for step in steps {
                self.take(step, node).await?;
            }
            wait_for(steps, volumes).await
        };
        let outcome = tokio::time::timeout(VOLUMES_WAIT, done).await;
        let why = match outcome {
            Ok(Ok(())) => return self.bind(ask, node).await,
            Ok(Err(why)) => why,
            Err(_) => "context deadline exceeded".to_owned(),
        };
        tracing::info!(pod = %ask.key, node, why, "volumes are not there");
        let message = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
        self.say(&ask.pod, &ask.pod, Severity::Warning, "FailedScheduling", message);
        Bound::Failed
    }

    async fn take(&self, step: &Step, node: &str) -> Result<(), String> {
        let explain = |error: kube::Error| client::explain(&error);
        match step {
            Step::Provision(claim) => {
                if claim.annotations().get(SELECTED_NODE).is_some_and(|selected| selected == node) {
                    return Ok(());
                }
                let patch = json!({"metadata": {
                    "uid": claim.metadata.uid,
                    "annotations": {SELECTED_NODE: node},
                }});
                let claims = Api::<PersistentVolumeClaim>::namespaced(
                    self.client.clone(),
                    claim.metadata.namespace.as_deref().unwrap_or_default(),
                );
                let patched = claims.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
                patched.map(drop).map_err(explain)
            }
            Step::Give(volume, claim) => {
                let reference = reference(claim.as_ref());
                let patch = json!({
                    "metadata": {
                        "resourceVersion": volume.metadata.resource_version,
                        "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"},
                    },
                    "spec": {"claimRef": reference},
                });
                let volumes = Api::<PersistentVolume>::all(self.client.clone());
                let patched = volumes.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
                patched.map(drop).map_err(explain)
            }
        }
    }

    /// Says why a pod fits nowhere: an event each time, the condition when it changes.
    pub(crate) async fn tell(&self, ask: &Ask, word: Word) {
        let Word { message: why, nomination } = word;
        let pod = ask.pod.as_ref();
        self.say(pod, pod, Severity::Warning, "FailedScheduling", why.as_str());
        let seen = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let seen = seen.into_iter().find(|condition| condition.type_ == "PodScheduled");
        let told = seen.is_some_and(|seen| seen.status == "False" && seen.message.as_ref() == Some(&why));
        if told && matches!(nomination, Nomination::Stays) {
            return;
        }
        let since = seen.filter(|seen| seen.status == "False").and_then(|seen| seen.last_transition_time.clone());
        let mut condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": why,
            "lastTransitionTime": since.unwrap_or_else(|| Time(jiff::Timestamp::now())),
        });
        if let Some(generation) = pod.metadata.generation {
            condition["observedGeneration"] = json!(generation);
        }
        let mut status = json!({ "conditions": [condition] });
        match nomination {
            Nomination::Stays => {}
            Nomination::Is(node) => status["nominatedNodeName"] = json!(node),
            Nomination::Ends => status["nominatedNodeName"] = Value::Null,
        }
        self.patch_status(&ask.key, &ask.uid, status).await;
    }

    async fn patch_status(&self, key: &Key, uid: &str, status: Value) -> bool {
        let patch = json!({ "metadata": { "uid": uid }, "status": status });
        let patched = self.api(key).patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        if let Err(error) = &patched {
            tracing::debug!(pod = %key, error = client::explain(error), "status not written");
        }
        patched.is_ok()
    }

    /// Takes back that room is kept for a pod.
    pub(crate) async fn withdraw(&self, ask: &Ask) {
        self.patch_status(&ask.key, &ask.uid, json!({ "nominatedNodeName": null })).await;
    }

    /// Removes a pod in favour of another. Returns whether it is on its way out.
    pub(crate) async fn evict(&self, victim: &Ask, ask: &Ask, node: &str) -> bool {
        let scheduler = scheduler_of(&ask.pod);
        let mut condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": Time(jiff::Timestamp::now()),
        });
        if let Some(generation) = victim.pod.metadata.generation {
            condition["observedGeneration"] = json!(generation);
        }
        if !victim.leaving {
            self.patch_status(&victim.key, &victim.uid, json!({ "conditions": [condition] })).await;
        }
        let preconditions = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        match self.api(&victim.key).delete(&victim.key.name, &params).await {
            Err(error) if !client::is_not_found(&error) => {
                tracing::warn!(pod = %victim.key, error = client::explain(&error), "cannot preempt");
                false
            }
            _ => {
                let message = format!("Preempted by pod {} on node {node}", ask.uid);
                self.say(&ask.pod, &victim.pod, Severity::Normal, "Preempted", message);
                true
            }
        }
    }
}

/// The scheduler that a pod names.
pub(crate) fn scheduler_of(pod: &Pod) -> &str {
    let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    name.filter(|name| !name.is_empty()).unwrap_or("default-scheduler")
}

/// Waits until every claim is bound, as the cache shows it.
async fn wait_for(steps: &[Step], volumes: &Volumes) -> Result<(), String> {
    let mut changed = volumes.claims.changed();
    let mut marked = vec![false; steps.len()];
    loop {
        changed.mark_unchanged();
        let mut open = false;
        for (step, marked) in steps.iter().zip(&mut marked) {
            let (key, before) = (Key::of(step.claim().as_ref()), step.claim());
            let claim = volumes.claims.at(&key).filter(|claim| claim.metadata.uid == before.metadata.uid);
            let Some(claim) = claim else { return Err(format!("persistentvolumeclaim {:?} not found", key.name)) };
            let selected = claim.annotations().contains_key(SELECTED_NODE);
            if matches!(step, Step::Provision(_)) && *marked && !selected && !is_bound(&claim) {
                // Whoever makes volumes takes the mark away when it cannot make one there.
                return Err(format!("provisioning failed for PVC {:?}", key.name));
            }
            *marked |= selected;
            open |= !is_bound(&claim);
        }
        if !open {
            return Ok(());
        }
        if changed.changed().await.is_err() {
            return Err("the watch of claims ended".to_owned());
        }
    }
}
