//! What is wrong with probes and lifecycle hooks.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each, non_negative, one_of, required_text};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::names::{http_header_errors, port_name_errors, port_number_errors};

pub(super) fn probe_faults(faults: &mut Faults, container: &Value, path: &str) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = get(container, kind) else { continue };
        let path = format!("{path}.{kind}");
        handler_faults(faults, probe, &path, &["exec", "httpGet", "tcpSocket", "grpc"]);
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            non_negative(faults, probe, &path, field);
        }
        if let Some(seconds) = int(probe, "terminationGracePeriodSeconds")
            && seconds <= 0
        {
            let at = format!("{path}.terminationGracePeriodSeconds");
            faults.push(FieldError::invalid(at, &json!(seconds), "must be greater than 0"));
        }
        if kind == "readinessProbe" {
            if is_set(probe, "terminationGracePeriodSeconds") {
                let at = format!("{path}.terminationGracePeriodSeconds");
                faults.push(FieldError::invalid(
                    at,
                    &probe["terminationGracePeriodSeconds"],
                    "must not be set for readinessProbes",
                ));
            }
        } else if let Some(threshold) = int(probe, "successThreshold")
            && threshold != 1
        {
            faults.push(FieldError::invalid(format!("{path}.successThreshold"), &json!(threshold), "must be 1"));
        }
    }
    let Some(lifecycle) = get(container, "lifecycle") else { return };
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = get(lifecycle, hook) {
            handler_faults(
                faults,
                handler,
                &format!("{path}.lifecycle.{hook}"),
                &["exec", "httpGet", "tcpSocket", "sleep"],
            );
        }
    }
}

/// Nobody sleeps longer than the pod's end may take.
pub(super) fn sleep_faults(faults: &mut Faults, container: &Value, path: &str, grace: Option<i64>) {
    let Some(grace) = grace else { return };
    for hook in ["postStart", "preStop"] {
        let seconds = container.pointer(&format!("/lifecycle/{hook}/sleep/seconds")).and_then(Value::as_i64);
        if let Some(seconds) = seconds.filter(|seconds| !(0..=grace).contains(seconds)) {
            let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            faults.push(FieldError::invalid(format!("{path}.lifecycle.{hook}.sleep"), &json!(seconds), &detail));
        }
    }
}

fn handler_faults(faults: &mut Faults, handler: &Value, path: &str, kinds: &[&str]) {
    let found: Vec<(&str, &Value)> = kinds.iter().filter_map(|kind| Some((*kind, get(handler, kind)?))).collect();
    if found.is_empty() {
        faults.push(FieldError::required(path, "must specify a handler type"));
    }
    for (kind, action) in found.iter().take(1) {
        let path = format!("{path}.{kind}");
        match *kind {
            "exec" if list(action, "command").is_empty() => {
                faults.push(FieldError::required(format!("{path}.command"), ""));
            }
            "httpGet" => {
                required_text(faults, &format!("{path}.path"), text(action, "path"));
                port_faults(faults, action, &path);
                one_of(faults, action, &path, "scheme", &["HTTP", "HTTPS"], true);
                for (at, header) in list(action, "httpHeaders").iter().enumerate() {
                    let name = text(header, "name");
                    invalid_each(faults, &format!("{path}.httpHeaders[{at}]"), name, http_header_errors(name));
                }
            }
            "tcpSocket" | "grpc" => port_faults(faults, action, &path),
            _ => {}
        }
    }
    for (kind, _) in found.iter().skip(1) {
        faults.push(FieldError::forbidden(format!("{path}.{kind}"), "may not specify more than 1 handler type"));
    }
}

fn port_faults(faults: &mut Faults, action: &Value, path: &str) {
    let at = format!("{path}.port");
    match get(action, "port") {
        Some(Value::String(name)) => invalid_each(faults, &at, name, port_name_errors(name)),
        port => {
            let number = port.and_then(Value::as_i64).unwrap_or_default();
            for message in port_number_errors(number) {
                faults.push(FieldError::invalid(at.as_str(), &json!(number), &message));
            }
        }
    }
}
