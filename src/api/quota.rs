//! What a ResourceQuota counts: how much each object uses of what, and which quotas an object falls under. Pure.
//!
//! ```text
//! object ── usage ─→ { pods: 1, requests.cpu: 100m, count/pods: 1 } ── only what the quota names, if its scopes match ─→ charge
//! ```
//!
//! The same figures serve whoever admits an object and whoever counts what is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::Quantity;
use crate::status::qualified;

mod claims;
mod pods;
mod scopes;
mod services;
#[cfg(test)]
mod tests;

pub use pods::{Side, containers, is_counted, pod_amounts, unstated};
pub use scopes::applies;

/// How much of what.
pub type Amounts = BTreeMap<String, Quantity>;

/// Kinds that come and go by themselves and are never counted.
const UNCOUNTED: [(&str, &str); 3] = [("", "events"), ("events.k8s.io", "events"), ("", "bindings")];
/// Kinds that a quota may name without `count/`.
const PLAIN: [&str; 7] =
    ["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// Reads a map of quantities; what is none is left out.
pub fn amounts(map: Option<&Value>) -> Amounts {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_json(value).ok()?))).collect()
}

/// The way back.
pub fn to_json(amounts: &Amounts) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect::<Map<_, _>>())
}

/// `pods=1,requests.cpu=100m`
pub fn words(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let held = sum.entry(name.clone()).or_insert(Quantity::ZERO);
        *held = *held + *amount;
    }
}

/// What `new` uses beyond `old`; what is the same is left out.
pub fn difference(new: &Amounts, old: &Amounts) -> Amounts {
    let names: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let of = |amounts: &Amounts, name: &String| amounts.get(name).copied().unwrap_or(Quantity::ZERO);
    names
        .into_iter()
        .map(|name| (name.clone(), of(new, name) - of(old, name)))
        .filter(|(_, amount)| !amount.is_zero())
        .collect()
}

/// Only what `names` holds.
pub fn only(amounts: &Amounts, names: &BTreeSet<String>) -> Amounts {
    amounts.iter().filter(|(name, _)| names.contains(*name)).map(|(name, amount)| (name.clone(), *amount)).collect()
}

/// The name under which a quota counts the objects of a kind: `count/deployments.apps`.
pub fn count_name(group: &str, plural: &str) -> String {
    format!("count/{}", qualified(group, plural))
}

/// Whether objects of the kind can fall under a quota at all.
pub fn is_countable(group: &str, plural: &str) -> bool {
    !UNCOUNTED.contains(&(group, plural))
}

/// Whether `name` in a quota is about objects of the kind.
pub fn concerns(group: &str, plural: &str, name: &str) -> bool {
    if let Some(counted) = name.strip_prefix("count/") {
        return counted == qualified(group, plural) && is_countable(group, plural);
    }
    if !group.is_empty() {
        return false;
    }
    if PLAIN.contains(&plural) && name == plural {
        return true;
    }
    match plural {
        "pods" => pods::is_resource(name),
        "services" => matches!(name, "services.nodeports" | "services.loadbalancers"),
        "persistentvolumeclaims" => claims::is_resource(name),
        _ => false,
    }
}

/// What one object uses, of everything that a quota could name.
pub fn usage(group: &str, plural: &str, object: &Value) -> Amounts {
    let one = || Quantity::from_units(1, crate::quantity::Format::Decimal);
    if !is_countable(group, plural) {
        return Amounts::new();
    }
    let mut used = Amounts::from([(count_name(group, plural), one())]);
    match (group, plural) {
        ("", "pods") => add(&mut used, &pods::usage(object)),
        ("", "services") => add(&mut used, &services::usage(object)),
        ("", "persistentvolumeclaims") => add(&mut used, &claims::usage(object)),
        ("", plain) if PLAIN.contains(&plain) => {
            used.insert(plain.to_owned(), one());
        }
        _ => {}
    }
    used
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
