//! A container's limits and requests as numbers.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::sandbox::Limits;

/// What fuel is called in limits.
pub(crate) const FUEL: &str = "coracle.dev/fuel";

/// What the sandbox holds a container to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub memory_bytes: Option<u64>,
    pub cpu_millis: Option<u64>,
    pub cpu_weight: u32,
    pub fuel: Option<u64>,
}

impl Resources {
    /// The API server has validated the quantities; one that cannot be read nevertheless is no limit.
    pub fn of(container: &Container) -> Self {
        container.resources.as_ref().map_or_else(|| Self::required(&ResourceRequirements::default()), Self::required)
    }

    /// The API server has validated the quantities; one that cannot be read nevertheless is no limit.
    pub fn required(resources: &ResourceRequirements) -> Self {
        let limit = |name: &str| quantity(resources.limits.as_ref(), name);
        let request = |name: &str| quantity(resources.requests.as_ref(), name);
        let positive = |value: i64| u64::try_from(value).unwrap_or(0);
        let cpu = limit("cpu").map(|quantity| positive(quantity.milli_value()));
        let weight = request("cpu").map(|quantity| positive(quantity.milli_value())).or(cpu).unwrap_or(0);
        Self {
            memory_bytes: limit("memory").map(|quantity| positive(quantity.value())),
            cpu_millis: cpu,
            cpu_weight: u32::try_from(weight).unwrap_or(u32::MAX).max(1),
            fuel: limit(FUEL).map(|quantity| positive(quantity.value())),
        }
    }
}

impl Resources {
    /// What of it can change while a container runs.
    pub fn changeable(self) -> Limits {
        Limits { memory_bytes: self.memory_bytes, cpu_millis: self.cpu_millis, cpu_weight: self.cpu_weight }
    }
}

pub(crate) fn quantity(list: Option<&BTreeMap<String, Text>>, name: &str) -> Option<Quantity> {
    list?.get(name)?.0.parse().ok()
}

/// Why the node could never give what the pod asks for, if so.
pub(crate) fn infeasible(pod: &Pod, allocatable: &BTreeMap<String, String>) -> Option<String> {
    let containers = || pod.spec.iter().flat_map(|spec| &spec.containers);
    ["cpu", "memory"].into_iter().find_map(|name| {
        let units = |quantity: Quantity| if name == "cpu" { quantity.milli_value() } else { quantity.value() };
        let capacity = units(allocatable.get(name)?.parse().ok()?);
        let asked: i64 = containers()
            .filter_map(|container| quantity(container.resources.as_ref()?.requests.as_ref(), name))
            .map(units)
            .fold(0, i64::saturating_add);
        (asked > capacity)
            .then(|| format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_read_in_the_units_that_the_sandbox_takes() {
        let container: Container = serde_json::from_value(json!({ "name": "a", "resources": {
            "limits": { "cpu": "1500m", "memory": "4Mi", "coracle.dev/fuel": "1k" }, "requests": { "cpu": "1m" },
        } }))
        .unwrap();
        let wanted = Resources { memory_bytes: Some(4 << 20), cpu_millis: Some(1500), cpu_weight: 1, fuel: Some(1000) };
        assert_eq!(Resources::of(&container), wanted);
        let none = Container::default();
        assert_eq!(Resources::of(&none), Resources { cpu_weight: 1, ..Resources::default() });
    }
}
