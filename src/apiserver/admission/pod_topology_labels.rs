//! A pod that is put on a node is labelled with the node's zone and region, for programs that read only their pod.

use api::Status;
use async_trait::async_trait;
use objects::{Admission, Operation, Reader, Review, Sub};
use serde_json::json;

use super::text;

pub(super) struct PodTopologyLabels(pub Reader);

const COPIED: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

#[async_trait]
impl Admission for PodTopologyLabels {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let binds = review.operation == Operation::Create && review.sub == Sub::Named("binding");
        if !binds || !review.is("", "pods") || review.object_kind().2 != "Binding" {
            return Ok(());
        }
        let Some(node) = self.0.get("", "nodes", None, text(&review.object, "/target/name")) else { return Ok(()) };
        for label in COPIED {
            if let Some(value) = node.meta.labels.get(label) {
                let labels = api::meta::metadata_mut(&mut review.object).entry("labels").or_insert_with(|| json!({}));
                labels[label] = json!(value);
            }
        }
        Ok(())
    }
}
