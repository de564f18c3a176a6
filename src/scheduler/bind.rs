//! Telling the server: where a pod goes, or why it goes nowhere.

use std::sync::Arc;

use client::Client;
use client::events::Recorder;
use client::informers::Key;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::Status;

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

#[derive(Clone)]
pub(crate) struct Binder {
    client: Client,
    events: Recorder,
    scheduler: String,
}

impl Binder {
    pub(crate) fn new(client: Client, events: Recorder, scheduler: String) -> Self {
        Self { client, events, scheduler }
    }

    fn api(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    pub(crate) async fn bind(&self, key: &Key, pod: &Arc<Pod>, node: &str) -> Bound {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: pod.uid(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let params = PostParams { field_manager: Some(self.scheduler.clone()), ..PostParams::default() };
        let bound: Result<Status, _> = self.api(key).create_subresource("binding", &key.name, &params, &binding).await;
        match bound {
            Ok(_) => {
                let message = format!("Successfully assigned {key} to {node}");
                self.events.normal(pod.as_ref(), "Scheduled", message);
                Bound::Yes
            }
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => {
                tracing::debug!(pod = %key, %error, "binding is moot");
                Bound::Moot
            }
            Err(error) => {
                tracing::warn!(pod = %key, node, error = client::explain(&error), "binding failed");
                let message = format!("binding rejected: {}", client::explain(&error));
                self.events.warning(pod.as_ref(), "FailedScheduling", message);
                Bound::Failed
            }
        }
    }

    /// Says why a pod fits nowhere: an event each time, the condition when it changes.
    pub(crate) async fn tell(&self, key: &Key, pod: &Arc<Pod>, why: String) {
        self.events.warning(pod.as_ref(), "FailedScheduling", why.as_str());
        let seen = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let seen = seen.into_iter().find(|condition| condition.type_ == "PodScheduled");
        if seen.is_some_and(|seen| seen.status == "False" && seen.message.as_ref() == Some(&why)) {
            return;
        }
        let since = seen.filter(|seen| seen.status == "False").and_then(|seen| seen.last_transition_time.clone());
        let patch = serde_json::json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": why,
            "lastTransitionTime": since.unwrap_or_else(|| Time(jiff::Timestamp::now())),
        }]}});
        let patched = self.api(key).patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        if let Err(error) = patched {
            tracing::debug!(pod = %key, error = client::explain(&error), "condition not written");
        }
    }
}
