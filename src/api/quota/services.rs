//! What Services use.

use serde_json::Value;

use super::{Amounts, list, text};
use crate::Quantity;
use crate::quantity::Format;

pub(super) fn usage(service: &Value) -> Amounts {
    let number = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX), Format::Decimal);
    let ports = list(service, "/spec/ports");
    let (mut node_ports, mut balancers) = (0, 0);
    match text(service, "/spec/type") {
        "NodePort" => node_ports = ports.len(),
        "LoadBalancer" => {
            balancers = 1;
            let wanted = service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
            let named = |port: &&Value| port.get("nodePort").and_then(Value::as_i64).is_some_and(|port| port != 0);
            node_ports = if wanted { ports.len() } else { ports.iter().filter(named).count() };
        }
        _ => {}
    }
    Amounts::from([
        ("services".to_owned(), number(1)),
        ("services.loadbalancers".to_owned(), number(balancers)),
        ("services.nodeports".to_owned(), number(node_ports)),
    ])
}
