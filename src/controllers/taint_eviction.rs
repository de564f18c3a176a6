//! Removes pods from nodes whose `NoExecute` taints they do not tolerate, at once or after as long as they do.
//!
//! *Owns*: which pods are to go when. A node that is well again before that keeps them.
//!
//! ```text
//! pod, its node, now ──▶ Book::look (pure) ──▶ stays | wait | goes | is let off
//! ```

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Change, Informer, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::Rig;

mod plan;
#[cfg(test)]
mod tests;

use plan::{Book, Verdict, driving_out, node_of};

const REASON: &str = "TaintManagerEviction";

pub(crate) fn start(rig: Rig) {
    let events = rig.recorder("taint-eviction-controller");
    let (pods, nodes) = (rig.informers.of::<Pod>(), rig.informers.of::<Node>());
    let controller = Controller::new("taint_eviction", &rig.metrics).workers(8);
    let (on_node, known) = (pods.clone(), nodes.clone());
    let controller = controller.watch(&pods, move |change| {
        // A pod on a node without such taints is nobody's concern here.
        let node = change.latest().map(|pod| node_of(pod).to_owned()).unwrap_or_default();
        let concerns = change.new.is_none() || known.get("", &node).is_some_and(|node| driving_out(&node).count() > 0);
        (concerns && !node.is_empty()).then(|| change.key.clone()).into_iter().collect()
    });
    let controller = controller.watch(&nodes, move |change: &Change<Node>| {
        let taints = |node: &Node| driving_out(node).cloned().collect::<Vec<_>>();
        let before = change.old.as_ref().map(|node| taints(node)).unwrap_or_default();
        let after = change.new.as_ref().map(|node| taints(node)).unwrap_or_default();
        let pods = if before == after { Vec::new() } else { on_node.on_node(&change.key.name) };
        pods.iter().map(|pod| Key::of(pod.as_ref())).collect()
    });
    controller.start(&rig.tasks, TaintEviction { client: rig.client, pods, nodes, events, book: Mutex::default() });
}

struct TaintEviction {
    client: Client,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    events: Recorder,
    book: Mutex<Book>,
}

#[async_trait]
impl Reconcile for TaintEviction {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let pod = self.pods.at(key);
        let node = pod.as_ref().and_then(|pod| self.nodes.get("", node_of(pod)));
        let verdict = self.book.lock().look(key, pod.as_deref(), node.as_deref(), Instant::now());
        match (verdict, pod) {
            (Verdict::Wait(rest), _) => return Ok(Next::After(rest)),
            (Verdict::Goes, Some(pod)) => {
                self.evict(key, &pod).await?;
                self.book.lock().forget(key);
            }
            (Verdict::IsLetOff, Some(pod)) => {
                self.events.normal(pod.as_ref(), REASON, format!("Cancelling deletion of Pod {key}"));
            }
            _ => {}
        }
        Ok(Next::Done)
    }
}

impl TaintEviction {
    async fn evict(&self, key: &Key, pod: &Pod) -> Result<(), kube::Error> {
        tracing::info!(pod = %key, node = node_of(pod), "removing a pod that does not tolerate its node's taints");
        self.events.normal(pod, REASON, format!("Marking for deletion Pod {key}"));
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let mut condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(jiff::Timestamp::now()),
        });
        if let Some(generation) = pod.metadata.generation {
            condition["observedGeneration"] = json!(generation);
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => return Ok(()),
            other => other.map(drop)?,
        }
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        match api.delete(&key.name, &DeleteParams::default().preconditions(preconditions)).await {
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}
