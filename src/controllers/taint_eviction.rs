//! Removes pods from nodes whose `NoExecute` taints they do not tolerate, at once or after as long as they do.
//!
//! *Owns*: which pods are to go when. A node that is well again before that keeps them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Change, Informer, Key};
use client::placement::taints::covers;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::Rig;
use crate::owners::is_deleting;
use crate::pods::is_finished;

#[cfg(test)]
mod tests;

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
    controller
        .start(&rig.tasks, TaintEviction { client: rig.client, pods, nodes, events, scheduled: Mutex::default() });
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn driving_out(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).filter(|taint| taint.effect == "NoExecute")
}

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    ForEver,
    /// From when its node got the taints.
    For(Duration),
}

fn stay(pod: &Pod, node: &Node) -> Stay {
    let tolerations = || pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let mut shortest: Option<i64> = None;
    for taint in driving_out(node) {
        let Some(used) = tolerations().find(|toleration| covers(toleration, taint)) else {
            return Stay::For(Duration::ZERO);
        };
        if let Some(seconds) = used.toleration_seconds {
            shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
        }
    }
    shortest.map_or(Stay::ForEver, |seconds| Stay::For(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

struct TaintEviction {
    client: Client,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    events: Recorder,
    /// The pods that are to go, and since when they are only tolerating.
    scheduled: Mutex<HashMap<Key, (Option<String>, Instant)>>,
}

#[async_trait]
impl Reconcile for TaintEviction {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let pod = self.pods.at(key).filter(|pod| !is_deleting(&pod.metadata) && !is_finished(pod));
        let node = pod.as_ref().and_then(|pod| self.nodes.get("", node_of(pod)));
        let (Some(pod), Some(node)) = (pod, node) else {
            self.scheduled.lock().remove(key);
            return Ok(Next::Done);
        };
        let Stay::For(wait) = stay(&pod, &node) else {
            self.cancel(key, &pod);
            return Ok(Next::Done);
        };
        let since = {
            let mut scheduled = self.scheduled.lock();
            let entry = scheduled.entry(key.clone()).or_insert_with(|| (pod.metadata.uid.clone(), Instant::now()));
            if entry.0 != pod.metadata.uid {
                *entry = (pod.metadata.uid.clone(), Instant::now());
            }
            entry.1
        };
        if let Some(rest) = wait.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) {
            return Ok(Next::After(rest));
        }
        self.evict(key, &pod).await?;
        self.scheduled.lock().remove(key);
        Ok(Next::Done)
    }
}

impl TaintEviction {
    fn cancel(&self, key: &Key, pod: &Pod) {
        let scheduled = self.scheduled.lock().remove(key);
        if scheduled.is_some_and(|(uid, _)| uid == pod.metadata.uid) {
            self.events.normal(pod, REASON, format!("Cancelling deletion of Pod {key}"));
        }
    }

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
