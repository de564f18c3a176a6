//! Taints and who tolerates them.

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

/// The taint that a cordoned node stands for.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether the pod tolerates a taint.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|toleration| covers(toleration, taint))
}

/// Whether one toleration covers a taint.
pub fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().filter(|operator| !operator.is_empty()).unwrap_or("Equal");
    if key.is_empty() {
        return operator == "Exists";
    }
    if key != taint.key {
        return false;
    }
    let (wanted, value) = (toleration.value.as_deref().unwrap_or_default(), taint.value.as_deref().unwrap_or_default());
    match operator {
        "Exists" => true,
        "Equal" => wanted == value,
        "Lt" => numbers(value, wanted).is_some_and(|(value, wanted)| value < wanted),
        "Gt" => numbers(value, wanted).is_some_and(|(value, wanted)| value > wanted),
        _ => false,
    }
}

fn numbers(one: &str, other: &str) -> Option<(i64, i64)> {
    Some((one.parse().ok()?, other.parse().ok()?))
}
