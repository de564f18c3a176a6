//! The range that Services get their addresses from.

use api::meta;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Facts;

/// The range that `objects` hands addresses out of.
const RANGE: &str = "10.96.0.0/12";

pub(super) fn objects(_facts: &Facts) -> Vec<Value> {
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": meta::time_text(Timestamp::now()),
    });
    let range = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": { "name": "kubernetes" },
        "spec": { "cidrs": [RANGE] },
        "status": { "conditions": [ready] },
    });
    vec![range]
}
