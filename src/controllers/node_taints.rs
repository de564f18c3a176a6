//! Says in a node's taints what its conditions say, so that nothing new is put on a node that is not fit for it.
//!
//! *Owns*: the `NoSchedule` taints that stand for conditions and for `spec.unschedulable`. Others are left alone.
//!
//! Kubernetes' node lifecycle controller does this along with the rest of [`node_lifecycle`](crate::node_lifecycle), which
//! starts it.
//!
//! *Caveat*: a node that has never reported keeps the taint that it was made with.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::Rig;

const EFFECT: &str = "NoSchedule";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions, the status in which they are bad, and the taint that says so.
const CONDITIONS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

pub(crate) fn start(rig: Rig) {
    let nodes = rig.informers.of::<Node>();
    let controller = Controller::new("node_taints", &rig.metrics).workers(4).each(&nodes);
    controller.start(&rig.tasks, NodeTaints { client: rig.client, nodes });
}

struct NodeTaints {
    client: Client,
    nodes: Informer<Node>,
}

/// The taints that the node should have, or `None` when it has them.
fn wanted(node: &Node) -> Option<Vec<Taint>> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if !conditions.iter().any(|condition| condition.type_ == "Ready") {
        return None;
    }
    let says = |kind: &str, status: &str| {
        conditions.iter().any(|condition| condition.type_ == kind && condition.status == status)
    };
    let mut keys: Vec<&str> =
        CONDITIONS.iter().filter(|(kind, status, _)| says(kind, status)).map(|(_, _, key)| *key).collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        keys.push(UNSCHEDULABLE);
    }
    let is_ours = |taint: &Taint| {
        taint.effect == EFFECT && (taint.key == UNSCHEDULABLE || CONDITIONS.iter().any(|(_, _, key)| *key == taint.key))
    };
    let held = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut taints = held.clone();
    taints.retain(|taint| !is_ours(taint) || keys.contains(&taint.key.as_str()));
    for key in keys {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == EFFECT) {
            taints.push(Taint { key: key.to_owned(), effect: EFFECT.to_owned(), ..Taint::default() });
        }
    }
    (taints != held).then_some(taints)
}

#[async_trait]
impl Reconcile for NodeTaints {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(node) = self.nodes.at(key) else { return Ok(Next::Done) };
        let Some(taints) = wanted(&node) else { return Ok(Next::Done) };
        let taints = if taints.is_empty() { json!(null) } else { json!(taints) };
        let version = &node.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
        let nodes = Api::<Node>::all(self.client.clone());
        match nodes.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|_| Next::Done)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn keys(node: Value) -> Option<Vec<String>> {
        let node: Node = serde_json::from_value(node).unwrap();
        wanted(&node).map(|taints| taints.into_iter().map(|taint| taint.key).collect())
    }

    #[test]
    fn taints_follow_conditions() {
        let taint = json!({ "key": NOT_READY, "effect": EFFECT });
        let mine = json!({ "key": "mine", "effect": EFFECT });
        let ready = |status: &str| json!({ "conditions": [{ "type": "Ready", "status": status }] });
        let spec = |taints: Value| json!({ "taints": taints });
        for (node, wanted) in [
            (json!({ "metadata": {}, "spec": spec(json!([taint])) }), None),
            (
                json!({ "metadata": {}, "spec": spec(json!([taint, mine])), "status": ready("True") }),
                Some(vec!["mine"]),
            ),
            (json!({ "metadata": {}, "spec": spec(json!([taint])), "status": ready("False") }), None),
            (
                json!({ "metadata": {}, "spec": spec(json!([taint])), "status": ready("Unknown") }),
                Some(vec![UNREACHABLE]),
            ),
            (
                json!({ "metadata": {}, "spec": { "unschedulable": true }, "status": ready("True") }),
                Some(vec![UNSCHEDULABLE]),
            ),
            (json!({ "metadata": {}, "spec": spec(json!([mine])), "status": ready("True") }), None),
        ] {
            let wanted = wanted.map(|keys| keys.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(keys(node.clone()), wanted, "{node}");
        }
    }
}
