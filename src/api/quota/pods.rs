//! What pods use.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Amounts, add, amounts, list, text};
use crate::{Quantity, meta};

/// Requests or limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Side {
    Requests,
    Limits,
}

impl Side {
    /// The field of `resources`.
    pub fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// What a quota may say of pods and what every container then has to state.
const STATED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Somebody's own resource: it has a domain, and not one of Kubernetes'.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
        && !name.starts_with("requests.")
}

pub(super) fn is_resource(name: &str) -> bool {
    STATED.contains(&name)
        || matches!(name, "ephemeral-storage" | "requests.ephemeral-storage" | "limits.ephemeral-storage")
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || name.strip_prefix("requests.").is_some_and(is_extended)
}

/// The containers of a pod's spec that take resources: those that start it, then those that stay.
pub fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(spec, "/initContainers").iter().chain(list(spec, "/containers"))
}

fn of_container(container: &Value, side: Side) -> Amounts {
    amounts(container.get("resources").and_then(|resources| resources.get(side.field())))
}

/// Raises `most` to `other` where that is more.
fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let held = most.entry(name.clone()).or_insert(*amount);
        *held = (*held).max(*amount);
    }
}

/// What a pod as a whole requests or is limited to: containers run together, those that start it one after the other
/// beside the sidecars that have begun by then.
pub fn pod_amounts(spec: &Value, side: Side) -> Amounts {
    let mut total = Amounts::new();
    for container in list(spec, "/containers") {
        add(&mut total, &of_container(container, side));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in list(spec, "/initContainers") {
        let mut own = of_container(container, side);
        if text(container, "/restartPolicy") == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            add(&mut own, &sidecars);
            raise(&mut starting, &own);
        }
    }
    raise(&mut total, &starting);
    let whole = amounts(spec.pointer("/resources").and_then(|resources| resources.get(side.field())));
    total.extend(whole);
    for (name, amount) in amounts(spec.get("overhead")) {
        match total.get_mut(&name) {
            Some(held) if side == Side::Requests || !held.is_zero() => *held = *held + amount,
            None if side == Side::Requests => {
                total.insert(name, amount);
            }
            _ => {}
        }
    }
    total
}

/// Whether a pod still takes anything: it has not ended, and its grace is not over.
pub fn is_counted(pod: &Value, now: Timestamp) -> bool {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return false;
    }
    match (meta::deletion_timestamp(pod), meta::deletion_grace_seconds(pod)) {
        (Some(asked), Some(grace)) => asked.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now <= end),
        _ => true,
    }
}

pub(super) fn usage(pod: &Value) -> Amounts {
    let mut used = Amounts::new();
    let Some(spec) = pod.get("spec").filter(|_| is_counted(pod, Timestamp::now())) else { return used };
    used.insert("pods".to_owned(), Quantity::from_units(1, crate::quantity::Format::Decimal));
    for (name, amount) in pod_amounts(spec, Side::Requests) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            used.insert(format!("requests.{name}"), amount);
            used.insert(name, amount);
        } else if is_extended(&name) {
            used.insert(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in pod_amounts(spec, Side::Limits) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            used.insert(format!("limits.{name}"), amount);
        }
    }
    used
}

/// What containers do not state although a quota counts it: `limits.cpu for: a,b; requests.memory for: b`.
pub fn unstated<'a>(spec: &Value, counted: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let counted: Vec<&str> = counted.into_iter().filter(|name| STATED.contains(name)).collect();
    let whole = |side: Side, name: &str| spec.pointer("/resources").and_then(|all| all.get(side.field())?.get(name));
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in list(spec, "/containers").iter().chain(list(spec, "/initContainers")) {
        for name in &counted {
            let (side, plain) = match name.split_once('.') {
                Some(("limits", plain)) => (Side::Limits, plain),
                Some((_, plain)) => (Side::Requests, plain),
                None => (Side::Requests, *name),
            };
            if whole(side, plain).is_none() && !of_container(container, side).contains_key(plain) {
                missing.entry(name).or_default().push(text(container, "/name"));
            }
        }
    }
    let each = missing.iter().map(|(name, containers)| format!("{name} for: {}", containers.join(",")));
    let all = each.collect::<Vec<_>>().join("; ");
    (!all.is_empty()).then_some(all)
}
