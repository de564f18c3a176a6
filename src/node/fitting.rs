//! Whether a pod that somebody bound to this node without a scheduler fits beside the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::resources::quantity;

/// Resource, and the reason with which a pod fails for want of it.
const ROWS: [(&str, &str); 3] =
    [("cpu", "OutOfcpu"), ("memory", "OutOfmemory"), ("ephemeral-storage", "OutOfephemeral-storage")];

/// Reason and message, if there is no room for `pod`. `others` are those of the node; they are looked at only where nobody
/// has done so before, or who did so was told of more than this node has.
pub(crate) fn refuses(
    pod: &Pod,
    capacity: &BTreeMap<String, String>,
    others: impl FnOnce() -> Vec<Arc<Pod>>,
) -> Option<(&'static str, String)> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let scheduled =
        conditions.into_iter().any(|condition| condition.type_ == "PodScheduled" && condition.status == "True");
    let row = |(name, reason): (&'static str, &'static str)| {
        let has = units(name, capacity.get(name)?.parse().ok()?);
        let asked = requested(pod, name);
        (asked > if scheduled { has } else { 0 }).then_some((name, reason, asked, has))
    };
    let asked: Vec<_> = ROWS.into_iter().filter_map(row).collect();
    if asked.is_empty() {
        return None;
    }
    let others: Vec<Arc<Pod>> = others().into_iter().filter(|other| takes_room(other, pod)).collect();
    asked.into_iter().find_map(|(name, reason, asked, capacity)| {
        let used = others.iter().map(|other| requested(other, name)).fold(0, i64::saturating_add);
        (used.saturating_add(asked) > capacity).then(|| {
            let message = format!(
                "Pod was rejected: Node didn't have enough resource: {name}, requested: {asked}, used: {used}, \
                 capacity: {capacity}"
            );
            (reason, message)
        })
    })
}

fn takes_room(other: &Pod, pod: &Pod) -> bool {
    let phase = other.status.as_ref().and_then(|status| status.phase.as_deref());
    other.metadata.uid != pod.metadata.uid && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn units(name: &str, quantity: Quantity) -> i64 {
    if name == "cpu" { quantity.milli_value() } else { quantity.value() }
}

/// What a pod asks for: its containers and sidecars together, or its largest init container if that is more.
fn requested(pod: &Pod, name: &str) -> i64 {
    let of = |container: &Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        quantity(requests, name).map_or(0, |quantity| units(name, quantity))
    };
    let Some(spec) = &pod.spec else { return 0 };
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let inits = || spec.init_containers.iter().flatten();
    let sidecars: i64 = inits().filter(is_sidecar).map(of).sum();
    let together = spec.containers.iter().map(of).sum::<i64>() + sidecars;
    let first = inits().filter(|container| !is_sidecar(container)).map(|container| of(container) + sidecars).max();
    let overhead = quantity(spec.overhead.as_ref(), name).map_or(0, |quantity| units(name, quantity));
    together.max(first.unwrap_or(0)) + overhead
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, cpu: &str, phase: &str) -> Pod {
        let pod = json!({
            "metadata": { "uid": uid },
            "spec": { "containers": [{ "name": "a", "resources": { "requests": { "cpu": cpu } } }] },
            "status": { "phase": phase },
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_that_was_bound_by_hand_needs_room() {
        let capacity = BTreeMap::from([("cpu".to_owned(), "2".to_owned())]);
        let others = || vec![Arc::new(pod("a", "1500m", "Running")), Arc::new(pod("b", "1", "Succeeded"))];
        let message =
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000";
        assert_eq!(refuses(&pod("c", "600m", "Pending"), &capacity, others), Some(("OutOfcpu", message.to_owned())));
        assert_eq!(refuses(&pod("c", "500m", "Pending"), &capacity, others), None);
        assert_eq!(refuses(&pod("a", "2", "Pending"), &capacity, others), None);
        // Whoever bound it: a scheduler may have believed what is not so.
        let mut bound = pod("c", "9", "Pending");
        bound.status.as_mut().unwrap().conditions =
            serde_json::from_value(json!([{ "type": "PodScheduled", "status": "True" }])).unwrap();
        assert_eq!(refuses(&bound, &capacity, others).unwrap().0, "OutOfcpu");
    }
}
