//! The range that Services get their addresses from, and the address of the API's own Service.

use api::meta;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Facts;

/// The range that `objects` hands addresses out of.
const RANGE: &str = "10.96.0.0/12";
const KUBERNETES_IP: &str = "10.96.0.1";

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
    let address = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": KUBERNETES_IP,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": "kubernetes" } },
    });
    vec![range, address]
}
