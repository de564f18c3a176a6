//! Removes pods that no node will ever finish: those that are being deleted and never had a node, those whose node is gone for
//! good or was declared out of service; and the oldest of those that have ended, when there are too many.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::Rig;
use crate::owners::is_deleting;
use crate::pods::is_finished;

mod terminated;

/// A node that comes back within this time keeps its pods.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Somebody is sure that the node does not run: its pods may be replaced.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

pub(crate) fn start(rig: Rig) {
    let pods = rig.informers.of::<Pod>();
    let nodes = rig.informers.of::<Node>();
    let (on_node, known) = (pods.clone(), nodes.clone());
    let controller = Controller::new("pod_gc", &rig.metrics).workers(4);
    let controller = controller.watch(&pods, move |change| {
        let suspect = change.new.as_ref().is_some_and(|pod| match node_of(pod) {
            "" => is_deleting(&pod.metadata),
            node => known.get("", node).is_none_or(|node| is_deleting(&pod.metadata) && is_out_of_service(&node)),
        });
        suspect.then(|| change.key.clone()).into_iter().collect()
    });
    let controller = controller.watch(&nodes, move |change| {
        let concerns = change.new.as_ref().is_none_or(|node| is_out_of_service(node));
        let pods = if concerns { on_node.on_node(&change.key.name) } else { Vec::new() };
        pods.iter().map(|pod| Key::of(pod.as_ref())).collect()
    });
    terminated::start(&rig, &pods);
    controller.start(&rig.tasks, PodGc { client: rig.client, pods, nodes, missing: Mutex::default() });
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Whether the node is not ready and somebody said that it will not be.
fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    !ready && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
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
                self.fail(&pod, key, None).await?;
                remove(&self.client, &pod, key).await?;
            }
            return Ok(Next::Done);
        }
        if let Some(present) = self.nodes.get("", node) {
            self.missing.lock().remove(node);
            if is_deleting(&pod.metadata) && is_out_of_service(&present) {
                tracing::info!(pod = %key, node, "removing a pod whose node is out of service");
                self.fail(&pod, key, None).await?;
                remove(&self.client, &pod, key).await?;
            }
            return Ok(Next::Done);
        }
        let missing_for = self.missing.lock().entry(node.to_owned()).or_insert_with(Instant::now).elapsed();
        if let Some(rest) = QUARANTINE.checked_sub(missing_for).filter(|rest| !rest.is_zero()) {
            return Ok(Next::After(rest));
        }
        if Api::<Node>::all(self.client.clone()).get_opt(node).await?.is_none() {
            tracing::info!(pod = %key, node, "removing a pod whose node is gone");
            self.fail(&pod, key, Some("PodGC: node no longer exists")).await?;
            remove(&self.client, &pod, key).await?;
        }
        Ok(Next::Done)
    }
}

impl PodGc {
    /// A pod that is removed has failed, and those who count pods are told why.
    async fn fail(&self, pod: &Pod, key: &Key, why: Option<&str>) -> Result<(), kube::Error> {
        if is_finished(pod) {
            return Ok(());
        }
        let mut status = json!({ "phase": "Failed" });
        if let Some(why) = why {
            let mut condition = json!({
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": why,
                "lastTransitionTime": Time(jiff::Timestamp::now()),
            });
            if let Some(generation) = pod.metadata.generation {
                condition["observedGeneration"] = json!(generation);
            }
            status["conditions"] = json!([condition]);
        }
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.metadata.uid}, "status": status}));
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}

async fn remove(client: &Client, pod: &Pod, key: &Key) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams::default().grace_period(0).preconditions(preconditions);
    let api = Api::<Pod>::namespaced(client.clone(), &key.namespace);
    match api.delete(&key.name, &params).await {
        Err(error) if client::is_not_found(&error) => Ok(()),
        other => other.map(drop),
    }
}
