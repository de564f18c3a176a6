//! A pod's quality of service, which follows from what its containers request.

use serde_json::Value;

use crate::Quantity;
use crate::kinds::fields::{get, is_set, list};

const COUNTED: &[&str] = &["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn quality_of_service(pod: &Value) -> &'static str {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let mut any = false;
    let mut guaranteed = true;
    // What is said of the pod as a whole is said instead of what its containers say.
    let whole = get(spec, "resources").is_some_and(|all| is_set(all, "requests") || is_set(all, "limits"));
    let parts: Vec<&Value> =
        if whole { vec![spec] } else { list(spec, "containers").iter().chain(list(spec, "initContainers")).collect() };
    for container in parts {
        let resources = container.get("resources").unwrap_or(&Value::Null);
        for name in COUNTED {
            let request = amount(resources, "requests", name);
            let limit = amount(resources, "limits", name);
            any |= request.is_some() || limit.is_some();
            // A limit without a request counts as both.
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn amount(resources: &Value, side: &str, name: &str) -> Option<Quantity> {
    let value = get(resources.get(side)?, name)?;
    Quantity::from_json(value).ok().filter(|amount| !amount.is_zero())
}
