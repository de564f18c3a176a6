//! A container's limits and requests as numbers.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

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
        let resources = container.resources.clone().unwrap_or_default();
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

pub(crate) fn quantity(list: Option<&BTreeMap<String, Text>>, name: &str) -> Option<Quantity> {
    list?.get(name)?.0.parse().ok()
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
