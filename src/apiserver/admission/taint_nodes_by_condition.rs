//! A new node is tainted until its conditions are known, so that nothing is put on it too early.

use api::Status;
use async_trait::async_trait;
use objects::{Admission, Review};
use serde_json::json;

use super::{is_new, text};

pub(super) struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[async_trait]
impl Admission for TaintNodesByCondition {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if !is_new(review, "", "nodes") {
            return Ok(());
        }
        if !review.object["spec"].is_object() {
            review.object["spec"] = json!({});
        }
        let taints = &mut review.object["spec"]["taints"];
        if !taints.is_array() {
            *taints = json!([]);
        }
        let Some(taints) = taints.as_array_mut() else { return Ok(()) };
        if !taints.iter().any(|taint| text(taint, "/key") == NOT_READY && text(taint, "/effect") == "NoSchedule") {
            taints.push(json!({ "key": NOT_READY, "effect": "NoSchedule" }));
        }
        Ok(())
    }
}
