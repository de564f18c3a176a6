//! The priority classes of the system.

use api::kinds::priority_class::SYSTEM;
use serde_json::{Value, json};

use super::Facts;

pub(super) fn objects(_facts: &Facts) -> Vec<Value> {
    let class = |(name, value): &(&str, i64)| {
        let what = if name.contains("node") { "not be moved from their node" } else { "not be missing in the cluster" };
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": { "name": name },
            "value": value,
            "description": format!("For pods of the system that must {what}."),
        })
    };
    SYSTEM.iter().map(class).collect()
}
