//! What is wrong with how a Service is reached from outside: load balancers, their ranges and health checks.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each};
use crate::kinds::fields::{get, int, is_set, list, same, text};
use crate::names::{cidr_errors, qualified_name_errors};

/// Faults of the fields that only a Service of type LoadBalancer uses; `was` is the spec before an update.
pub(super) fn balancer_faults(faults: &mut Faults, spec: &Value, was: Option<&Value>) {
    let balanced = text(spec, "type") == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    if !balanced && is_set(spec, "allocateLoadBalancerNodePorts") {
        faults.push(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", only));
    }
    let ranges = list(spec, "loadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        faults.push(FieldError::forbidden("spec.loadBalancerSourceRanges", only));
    }
    for (at, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        let path = format!("spec.loadBalancerSourceRanges[{at}]");
        invalid_each(faults, &path, range, cidr_errors(range.trim()));
    }
    class(faults, spec, was, balanced);
    health_check(faults, spec, was);
}

fn class(faults: &mut Faults, spec: &Value, was: Option<&Value>, balanced: bool) {
    let path = "spec.loadBalancerClass";
    let class = get(spec, "loadBalancerClass");
    if let Some(was) = was.filter(|was| balanced && text(was, "type") == "LoadBalancer")
        && !same(class, get(was, "loadBalancerClass"))
    {
        faults.push(FieldError::invalid(path, class.unwrap_or(&Value::Null), "may not change once set"));
    }
    let Some(class) = class else { return };
    if balanced {
        let name = class.as_str().unwrap_or_default();
        invalid_each(faults, path, name, qualified_name_errors(name));
    } else {
        faults.push(FieldError::forbidden(path, "may only be used when `type` is 'LoadBalancer'"));
    }
}

fn health_check(faults: &mut Faults, spec: &Value, was: Option<&Value>) {
    let path = "spec.healthCheckNodePort";
    let port = int(spec, "healthCheckNodePort").unwrap_or_default();
    let checked = |spec: &Value| text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local";
    if port < 0 {
        let detail = "must be greater than or equal to 0";
        faults.push(FieldError::invalid(path, &json!(port), detail));
    } else if port > 0 && !checked(spec) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        faults.push(FieldError::invalid(path, &json!(port), detail));
    }
    let before = was.filter(|was| checked(was) && checked(spec)).and_then(|was| int(was, "healthCheckNodePort"));
    if before.is_some_and(|before| before != 0 && before != port) {
        faults.push(FieldError::forbidden(path, "field is immutable"));
    }
}
