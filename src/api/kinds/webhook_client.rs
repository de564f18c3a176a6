//! Where a webhook is: a URL or a Service. Shared by admission's webhooks and those that convert custom resources.

use serde_json::{Value, json};

use super::checks::Faults;
use super::fields::{default_to, get, int, is_set, text};
use crate::FieldError;
use crate::names::{dns_subdomain_errors, port_number_errors};

const FORM: &str = "; desired format: https://host[/path]";

/// A Service is asked at port 443 unless said otherwise.
pub(crate) fn default_client(holder: &mut Value, field: &str) {
    if let Some(service) = holder.get_mut(field).and_then(|config| config.get_mut("service")) {
        default_to(service, "port", 443);
    }
}

/// What is wrong with a client config that stands at `path`.
pub(crate) fn url_or_service_faults(faults: &mut Faults, config: &Value, path: &str) {
    if is_set(config, "url") == is_set(config, "service") {
        faults.push(FieldError::required(path, "exactly one of url or service is required"));
    } else if is_set(config, "url") {
        url_faults(faults, text(config, "url"), &format!("{path}.url"));
    } else if let Some(service) = get(config, "service") {
        service_faults(faults, service, &format!("{path}.service"));
    }
}

fn url_faults(faults: &mut Faults, url: &str, path: &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        faults.push(FieldError::invalid(path, &json!(scheme), &detail));
    }
    let (before_fragment, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (before_query, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    let authority = if scheme.is_empty() { "" } else { before_query.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        faults.push(FieldError::invalid(path, &json!(host), &format!("host must be specified{FORM}")));
    }
    let parts = [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ];
    for (part, detail) in parts.into_iter().filter(|(part, _)| !part.is_empty()) {
        faults.push(FieldError::invalid(path, &json!(part), detail));
    }
}

fn service_faults(faults: &mut Faults, service: &Value, path: &str) {
    for field in ["name", "namespace"] {
        if text(service, field).is_empty() {
            faults.push(FieldError::required(format!("{path}.{field}"), &format!("service {field} is required")));
        }
    }
    let port = int(service, "port").unwrap_or(443);
    let wrong = port_number_errors(port);
    if !wrong.is_empty() {
        let detail = format!("port is not valid: {}", wrong.join(","));
        faults.push(FieldError::invalid(format!("{path}.port"), &json!(port), &detail));
    }
    path_faults(faults, text(service, "path"), &format!("{path}.path"));
}

fn path_faults(faults: &mut Faults, url_path: &str, path: &str) {
    let mut wrong = |detail: &str| faults.push(FieldError::invalid(path, &json!(url_path), detail));
    match url_path {
        "" | "/" => return,
        "//" => return wrong("segment[0] may not be empty"),
        _ => {}
    }
    let Some(rest) = url_path.strip_prefix('/') else { return wrong("must start with a '/'") };
    for (at, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            wrong(&format!("segment[{at}] may not be empty"));
            continue;
        }
        for message in dns_subdomain_errors(segment) {
            wrong(&format!("segment[{at}]: {message}"));
        }
    }
}
