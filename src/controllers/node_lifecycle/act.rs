//! Writing what the monitor found.

use client::Client;
use client::events::{Recorder, Severity, reference};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::Deed;
use crate::pods::{is_finished, is_ready};

pub(super) struct Actor {
    nodes: Api<Node>,
    client: Client,
    pods: Informer<Pod>,
    events: Recorder,
}

impl Actor {
    pub fn new(client: Client, pods: Informer<Pod>, events: Recorder) -> Self {
        Self { nodes: Api::all(client.clone()), client, pods, events }
    }

    /// What cannot be written is found again at the next look.
    pub async fn carry_out(&self, deed: &Deed) {
        match deed {
            Deed::Tell(node, reason, message) => {
                // Kubernetes' events about nodes carry the name for the uid.
                let mut about = reference(node.as_ref());
                about.uid = about.name.clone();
                self.events.event(about, Severity::Normal, reason, message);
            }
            Deed::Report(node, conditions) => {
                let patch = json!({"metadata": revision(node), "status": {"conditions": conditions}});
                let patch = Patch::Merge(patch);
                let written = self.nodes.patch_status(&node.name_any(), &PatchParams::default(), &patch).await;
                note(written, "conditions not written");
            }
            Deed::Taint(node, taints) => {
                let taints = if taints.is_empty() { Value::Null } else { json!(taints) };
                let patch = Patch::Merge(json!({"metadata": revision(node), "spec": {"taints": taints}}));
                note(self.nodes.patch(&node.name_any(), &PatchParams::default(), &patch).await, "taints not written");
            }
            Deed::Unready(node) => self.unready(&node.name_any()).await,
        }
    }

    async fn unready(&self, node: &str) {
        let claim = self.pods.on_node(node).into_iter().filter(|pod| is_ready(pod) && !is_finished(pod));
        let writes = claim.map(|pod| async move {
            let key = Key::of(pod.as_ref());
            let mut condition = json!({
                "type": "Ready",
                "status": "False",
                "lastTransitionTime": Time(Timestamp::now()),
            });
            if let Some(generation) = pod.metadata.generation {
                condition["observedGeneration"] = json!(generation);
            }
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
            let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
            match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => self.events.warning(pod.as_ref(), "NodeNotReady", "Node is not ready"),
                Err(error) => tracing::debug!(pod = %key, error = client::explain(&error), "readiness not written"),
            }
        });
        futures::future::join_all(writes).await;
    }
}

fn revision(node: &Node) -> Value {
    json!({ "resourceVersion": node.metadata.resource_version })
}

fn note(written: Result<Node, kube::Error>, what: &'static str) {
    if let Err(error) = written {
        tracing::debug!(error = client::explain(&error), "{what}");
    }
}
