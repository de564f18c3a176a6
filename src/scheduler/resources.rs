//! Amounts of resources: what pods ask for and what nodes have.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

type Listed = BTreeMap<String, Text>;

/// What a container that asks for nothing counts as when nodes are compared.
const CPU_MILLIS_USUAL: i64 = 100;
const MEMORY_BYTES_USUAL: i64 = 200 * 1024 * 1024;

/// Amounts by resource. Sums stop at the largest number there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    pub pods: i64,
    /// Everything else, in whole units.
    pub others: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list. What is no quantity, or is below zero, counts as nothing: a node that lies gets no pods.
    pub(crate) fn read(list: Option<&Listed>) -> Self {
        let mut resources = Self::default();
        for (name, text) in list.into_iter().flatten() {
            let quantity: Quantity = text.0.parse().unwrap_or_default();
            match name.as_str() {
                "cpu" => resources.cpu_millis = quantity.milli_value().max(0),
                "memory" => resources.memory_bytes = quantity.value().max(0),
                "pods" => resources.pods = quantity.value().max(0),
                _ => drop(resources.others.insert(name.clone(), quantity.value().max(0))),
            }
        }
        resources
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.merge(other, i64::saturating_add);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.merge(other, |one, other| one.saturating_sub(other).max(0));
    }

    /// Whether a sum was held to the largest number there is.
    pub(crate) fn is_full(&self) -> bool {
        let full = |amount: i64| amount == i64::MAX;
        full(self.cpu_millis) || full(self.memory_bytes) || full(self.pods) || self.others.values().copied().any(full)
    }

    /// The amount of a resource by its name.
    pub(crate) fn amount(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu_millis,
            "memory" => self.memory_bytes,
            "pods" => self.pods,
            other => self.others.get(other).copied().unwrap_or(0),
        }
    }

    /// The larger of both, each resource by itself.
    fn raise_to(&mut self, other: &Self) {
        self.merge(other, i64::max);
    }

    fn merge(&mut self, other: &Self, merge: impl Fn(i64, i64) -> i64) {
        self.cpu_millis = merge(self.cpu_millis, other.cpu_millis);
        self.memory_bytes = merge(self.memory_bytes, other.memory_bytes);
        self.pods = merge(self.pods, other.pods);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = merge(*mine, *amount);
        }
    }
}

/// What a pod asks for, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// What it must get.
    pub must: Resources,
    /// As `must`, with the usual amounts where a container names none: for comparing nodes.
    pub usual: Resources,
}

impl Requests {
    pub(crate) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        Self { must: total(pod, spec, false), usual: total(pod, spec, true) }
    }

    /// Whether it asks for nothing but a place.
    pub(crate) fn is_nothing(&self) -> bool {
        let Resources { cpu_millis, memory_bytes, pods: _, others } = &self.must;
        *cpu_millis == 0 && *memory_bytes == 0 && others.values().all(|amount| *amount == 0)
    }
}

/// What a container holds while it is being resized is the larger of what it has and what it is to have.
fn held(pod: &Pod, container: &str) -> Option<Resources> {
    let statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
    let status = statuses.into_iter().find(|status| status.name == container)?;
    Some(Resources::read(status.resources.as_ref()?.requests.as_ref()))
}

/// Containers run side by side, init containers one after the other before them, sidecars from their turn on.
fn total(pod: &Pod, spec: &PodSpec, usual: bool) -> Resources {
    let request = |container: &k8s_openapi::api::core::v1::Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut resources = Resources::read(requests);
        if let Some(held) = held(pod, &container.name) {
            resources.raise_to(&held);
        }
        if usual {
            let names = |name: &str| requests.is_some_and(|requests| requests.contains_key(name));
            if !names("cpu") {
                resources.cpu_millis = CPU_MILLIS_USUAL;
            }
            if !names("memory") {
                resources.memory_bytes = MEMORY_BYTES_USUAL;
            }
        }
        resources
    };
    let mut running = Resources::default();
    spec.containers.iter().for_each(|container| running.add(&request(container)));
    let (mut sidecars, mut starting) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let mut together = request(container);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&together);
            sidecars.add(&together);
            together = sidecars.clone();
        } else {
            together.add(&sidecars);
        }
        starting.raise_to(&together);
    }
    running.raise_to(&starting);
    // Amounts for the whole pod take the place of the containers' sums.
    if let Some(whole) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let amounts = Resources::read(Some(whole));
        if whole.contains_key("cpu") {
            running.cpu_millis = amounts.cpu_millis;
        }
        if whole.contains_key("memory") {
            running.memory_bytes = amounts.memory_bytes;
        }
        running.others.extend(amounts.others);
    }
    running.add(&Resources::read(spec.overhead.as_ref()));
    running.pods = 1;
    running
}
