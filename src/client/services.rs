//! Which pods a Service leads to and at which of their ports, as far as Service and pod say it themselves: the EndpointSlice
//! controller writes it down, and whoever holds a call for a pod that has just become ready does not wait until it has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Whether the Service selects a pod with these labels.
pub fn selects(service: &Service, labels: &BTreeMap<String, String>) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(label, value)| labels.get(label) == Some(value))
    })
}

/// The protocol of a Service's port.
pub fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The pod's port that stands behind the Service's; none if the pod has none of that name.
pub fn target_port(wanted: &ServicePort, pod: &Pod) -> Option<i32> {
    match &wanted.target_port {
        None | Some(IntOrString::Int(0)) => Some(wanted.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(target)) => {
            let spec = pod.spec.as_ref()?;
            // Restartable init containers (sidecars) may serve too.
            let sidecars = spec.init_containers.iter().flatten();
            let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let containers = spec.containers.iter().chain(sidecars);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let found = ports.find(|port| {
                port.name.as_deref() == Some(target) && port.protocol.as_deref().unwrap_or("TCP") == protocol(wanted)
            });
            found.map(|port| port.container_port)
        }
    }
}
