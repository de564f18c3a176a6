//! Which pod goes first when the node is short of something, and what it is told.

use std::cmp::Ordering;

use client::informers::Key;
use k8s_openapi::api::core::v1::Pod;

/// Pods of this priority and above keep the cluster itself running.
const CRITICAL: i32 = 2_000_000_000;

/// What a container uses of something, and what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub name: String,
    pub requested: u64,
    pub used: u64,
}

/// A pod that could go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub key: Key,
    pub uid: String,
    pub priority: i32,
    pub containers: Vec<Used>,
    /// What it uses that no container does alone.
    pub beside: u64,
}

impl Candidate {
    pub fn used(&self) -> u64 {
        self.containers.iter().map(|container| container.used).sum::<u64>() + self.beside
    }

    fn requested(&self) -> u64 {
        self.containers.iter().map(|container| container.requested).sum()
    }
}

pub(super) fn is_critical(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.priority).is_some_and(|priority| priority >= CRITICAL)
}

/// Who uses more than it asked for goes first; then who matters less; then who is furthest above what it asked for.
pub(super) fn order(one: &Candidate, other: &Candidate) -> Ordering {
    let exceeds = |candidate: &Candidate| candidate.used() > candidate.requested();
    let above = |candidate: &Candidate| i128::from(candidate.used()) - i128::from(candidate.requested());
    exceeds(other)
        .cmp(&exceeds(one))
        .then_with(|| one.priority.cmp(&other.priority))
        .then_with(|| above(other).cmp(&above(one)))
}

/// The message of the pod's status and event.
pub(super) fn message(resource: &str, threshold: u64, available: u64, candidate: &Candidate) -> String {
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        binary(threshold),
        binary(available)
    );
    for container in candidate.containers.iter().filter(|container| container.used > container.requested) {
        let requested = if container.requested == 0 { "0".to_owned() } else { binary(container.requested) };
        text.push_str(&format!(
            "Container {} was using {}, request is {requested}, has larger consumption of {resource}. ",
            container.name,
            binary(container.used)
        ));
    }
    text
}

/// Bytes as a quantity in the largest unit that holds them without a rest.
fn binary(bytes: u64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let (mut amount, mut unit) = (bytes, 0);
    while amount >= 1024 && amount % 1024 == 0 && unit + 1 < units.len() {
        amount /= 1024;
        unit += 1;
    }
    format!("{amount}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, priority: i32, requested: u64, used: u64) -> Candidate {
        let containers = vec![Used { name: "app".to_owned(), requested, used }];
        Candidate { key: Key::new("default", name), uid: name.to_owned(), priority, containers, beside: 0 }
    }

    #[test]
    fn pods_go_in_the_order_of_excess_priority_and_amount() {
        let mut pods = [
            candidate("modest", -5, 100, 90),
            candidate("important", 10, 10, 500),
            candidate("greedy", 0, 10, 300),
            candidate("greedier", 0, 10, 400),
            candidate("best-effort", 0, 0, 1),
        ];
        pods.sort_by(order);
        let names: Vec<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        assert_eq!(names, ["greedier", "greedy", "best-effort", "important", "modest"]);
    }

    #[test]
    fn the_message_names_what_was_used() {
        let text = message("memory", 100 << 20, 52_345, &candidate("a", 0, 0, 30 << 20));
        let wanted = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52345. Container app was \
                      using 30Mi, request is 0, has larger consumption of memory. ";
        assert_eq!(text, wanted);
    }
}
