//! Tells nodes how long they may keep Secrets and ConfigMaps without asking: the longer, the more nodes there are.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::Rig;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// Up to so many nodes, so many seconds.
const STEPS: [(usize, u32); 4] = [(100, 0), (500, 15), (1000, 30), (2000, 60)];
const LONGEST: u32 = 300;

pub(crate) fn start(rig: Rig) {
    let nodes = rig.informers.of::<Node>();
    let controller = Controller::new("ttl", &rig.metrics).workers(4).each(&nodes);
    controller.start(&rig.tasks, Ttl { client: rig.client, nodes });
}

struct Ttl {
    client: Client,
    nodes: Informer<Node>,
}

fn seconds(nodes: usize) -> u32 {
    STEPS.iter().find(|(most, _)| nodes <= *most).map_or(LONGEST, |(_, seconds)| *seconds)
}

#[async_trait]
impl Reconcile for Ttl {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(node) = self.nodes.at(key) else { return Ok(Next::Done) };
        let wanted = seconds(self.nodes.len()).to_string();
        if node.annotations().get(ANNOTATION) == Some(&wanted) {
            return Ok(Next::Done);
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: wanted}}}));
        match Api::<Node>::all(self.client.clone()).patch(&key.name, &PatchParams::default(), &patch).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|_| Next::Done)?),
        }
    }
}
