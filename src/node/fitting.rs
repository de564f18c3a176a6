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
    if let Some(name) = forbidden_sysctl(pod) {
        return Some(("SysctlForbidden", format!("Pod was rejected: forbidden sysctl: {name:?} not allowlisted")));
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let scheduled =
        conditions.into_iter().any(|condition| condition.type_ == "PodScheduled" && condition.status == "True");
    let row = |(name, reason): (&'static str, &'static str)| {
        let has = units(name, capacity.get(name)?.parse().ok()?);
        let asked = requested(pod, name);
        (asked > if scheduled { has } else { 0 }).then_some((name, reason, asked, has))
    };
    let asked: Vec<_> = ROWS.into_iter().filter_map(row).collect();
    let ports: Vec<_> = host_ports(pod).collect();
    if asked.is_empty() && ports.is_empty() {
        return None;
    }
    let others: Vec<Arc<Pod>> = others().into_iter().filter(|other| takes_room(other, pod)).collect();
    let taken = others.iter().filter(|other| came_before(other, pod)).flat_map(|other| host_ports(other));
    if !ports.is_empty() && taken.into_iter().any(|taken| ports.iter().any(|port| collide(*port, taken))) {
        let message =
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Some(("NodePorts", message.to_owned()));
    }
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

/// A setting of the kernel that is not a pod's own. The others mean nothing here, so that they do no harm.
fn forbidden_sysctl(pod: &Pod) -> Option<&str> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    let mut names = context.sysctls.iter().flatten().map(|sysctl| sysctl.name.as_str());
    names.find(|name| !api::sysctls::SAFE.contains(&name.replace('/', ".").as_str()))
}

fn takes_room(other: &Pod, pod: &Pod) -> bool {
    let phase = other.status.as_ref().and_then(|status| status.phase.as_deref());
    other.metadata.uid != pod.metadata.uid && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Of two that are new the one that was made later has to go.
fn came_before(other: &Pod, pod: &Pod) -> bool {
    let age = |pod: &Pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.uid.clone());
    other.status.as_ref().is_some_and(|status| status.start_time.is_some()) || age(other) < age(pod)
}

/// Address, protocol and port of the host that a pod asks for.
fn host_ports(pod: &Pod) -> impl Iterator<Item = (&str, &str, i32)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let address = port.host_ip.as_deref().filter(|address| !address.is_empty()).unwrap_or(ANY_ADDRESS);
        let number = port.host_port.filter(|number| *number != 0)?;
        Some((address, port.protocol.as_deref().unwrap_or("TCP"), number))
    })
}

const ANY_ADDRESS: &str = "0.0.0.0";

fn collide(one: (&str, &str, i32), other: (&str, &str, i32)) -> bool {
    let same_address = one.0 == other.0 || one.0 == ANY_ADDRESS || other.0 == ANY_ADDRESS;
    same_address && (one.1, one.2) == (other.1, other.2)
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
    fn settings_of_a_kernel_that_are_not_a_pods_own_are_refused() {
        for (name, message) in [
            ("net/ipv4/tcp_syncookies", None),
            ("kernel.msgmax", Some("Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted")),
        ] {
            let mut pod = pod("a", "1", "Pending");
            let context = json!({ "sysctls": [{ "name": name, "value": "1" }] });
            pod.spec.as_mut().unwrap().security_context = serde_json::from_value(context).unwrap();
            let refused = refuses(&pod, &BTreeMap::new(), Vec::new);
            assert_eq!(refused, message.map(|message| ("SysctlForbidden", message.to_owned())));
        }
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

    #[test]
    fn a_port_of_the_host_is_had_once() {
        let pod = |uid: &str, ports: serde_json::Value, started: bool| -> Pod {
            let pod = json!({
                "metadata": { "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "containers": [{ "name": "a", "ports": ports }] },
                "status": if started { json!({ "startTime": "2026-01-01T00:00:00Z" }) } else { json!({}) },
            });
            serde_json::from_value(pod).unwrap()
        };
        let port = |number: i32| json!([{ "containerPort": 80, "hostPort": number, "protocol": "TCP" }]);
        let told =
            |asks: &Pod, has: Pod| refuses(asks, &BTreeMap::new(), || vec![Arc::new(has)]).map(|(reason, _)| reason);
        let asks = pod("b", port(8080), false);
        assert_eq!(told(&asks, pod("c", port(8080), true)), Some("NodePorts"));
        assert_eq!(told(&asks, pod("a", port(8080), false)), Some("NodePorts"));
        // The other one goes.
        assert_eq!(told(&asks, pod("c", port(8080), false)), None);
        assert_eq!(told(&asks, pod("a", port(8081), true)), None);
        assert_eq!(told(&asks, pod("a", json!([{ "containerPort": 8080, "protocol": "TCP" }]), true)), None);
        let apart = json!([{ "containerPort": 80, "hostPort": 8080, "protocol": "TCP", "hostIP": "127.0.0.2" }]);
        assert_eq!(told(&asks, pod("a", apart, true)), Some("NodePorts"));
    }
}
