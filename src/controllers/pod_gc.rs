//! Removes pods that no node will ever finish: those that are being deleted and never had a node, and those whose node
//! is gone for good.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Rig;
use crate::owners::is_deleting;
use crate::pods::is_finished;

/// A node that comes back within this time keeps its pods.
const QUARANTINE: Duration = Duration::from_secs(40);

pub(crate) fn start(rig: Rig) {
    let pods = rig.informers.of::<Pod>();
    let nodes = rig.informers.of::<Node>();
    let (on_node, known) = (pods.clone(), nodes.clone());
    let controller = Controller::new("pod_gc", &rig.metrics).workers(4);
    let controller = controller.watch(&pods, move |change| {
        let suspect = change.new.as_ref().is_some_and(|pod| match node_of(pod) {
            "" => is_deleting(&pod.metadata),
            node => known.get("", node).is_none(),
        });
        suspect.then(|| change.key.clone()).into_iter().collect()
    });
    let controller = controller.watch(&nodes, move |change| {
        let gone = change.new.is_none();
        let pods = if gone { on_node.on_node(&change.key.name) } else { Vec::new() };
        pods.iter().map(|pod| Key::of(pod.as_ref())).collect()
    });
    controller.start(&rig.tasks, PodGc { client: rig.client, pods, nodes, missing: Mutex::default() });
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

struct PodGc {
    client: Client,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    /// Nodes that pods name and that are not there, since when.
    missing: Mutex<HashMap<String, Instant>>,
}

#[async_trait]
impl Reconcile for PodGc {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(pod) = self.pods.at(key) else { return Ok(Next::Done) };
        let node = node_of(&pod);
        if node.is_empty() {
            if is_deleting(&pod.metadata) {
                self.remove(&pod, key).await?;
            }
            return Ok(Next::Done);
        }
        if self.nodes.get("", node).is_some() {
            self.missing.lock().remove(node);
            return Ok(Next::Done);
        }
        let missing_for = self.missing.lock().entry(node.to_owned()).or_insert_with(Instant::now).elapsed();
        if let Some(rest) = QUARANTINE.checked_sub(missing_for).filter(|rest| !rest.is_zero()) {
            return Ok(Next::After(rest));
        }
        if Api::<Node>::all(self.client.clone()).get_opt(node).await?.is_none() {
            tracing::info!(pod = %key, node, "removing a pod whose node is gone");
            self.fail(&pod, key).await?;
            self.remove(&pod, key).await?;
        }
        Ok(Next::Done)
    }
}

impl PodGc {
    async fn fail(&self, pod: &Pod, key: &Key) -> Result<(), kube::Error> {
        if is_finished(pod) {
            return Ok(());
        }
        let patch = serde_json::json!({"status": {
            "phase": "Failed",
            "reason": "NodeLost",
            "message": "PodGC: node no longer exists",
        }});
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn remove(&self, pod: &Pod, key: &Key) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().grace_period(0).preconditions(preconditions);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        match api.delete(&key.name, &params).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}
