//! What is wrong with a container.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::ending::restart_faults;
use super::probe::probe_faults;
use super::resources::resource_faults;
use super::security::container_security_faults;
use super::volumes::inside;
use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each, one_of, required_name, required_text, unique};
use crate::kinds::fields::{get, int, is_set, list, text};
use crate::names::{
    config_key_errors, dns_label_errors, dns_subdomain_errors, env_name_errors, port_name_errors, port_number_errors,
};

/// In which list of the pod the container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerPlace {
    Main,
    Init,
    Ephemeral,
}

pub(super) fn container_faults(
    faults: &mut Faults,
    container: &Value,
    path: &str,
    place: ContainerPlace,
    volumes: &BTreeSet<String>,
    names: &mut BTreeSet<String>,
) {
    let name = text(container, "name");
    required_name(faults, &format!("{path}.name"), name, dns_label_errors);
    unique(faults, names, &format!("{path}.name"), name);
    let image = text(container, "image");
    if image.is_empty() {
        faults.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        faults.push(FieldError::invalid(format!("{path}.image"), &json!(image), detail));
    }
    let messages = ["FallbackToLogsOnError", "File"];
    one_of(faults, container, path, "terminationMessagePolicy", &messages, true);
    port_faults(faults, container, path);
    env_faults(faults, container, path);
    mount_faults(faults, container, path, volumes);
    one_of(faults, container, path, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], true);
    resource_faults(faults, container, path);
    container_security_faults(faults, container, path);
    let sidecar = text(container, "restartPolicy") == "Always";
    match place {
        ContainerPlace::Init => {
            if !sidecar {
                for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                    if is_set(container, field) {
                        let detail = "may not be set for init containers without restartPolicy=Always";
                        faults.push(FieldError::forbidden(format!("{path}.{field}"), detail));
                    }
                }
            }
            restart_faults(faults, container, path);
        }
        ContainerPlace::Ephemeral => {
            for field in ["ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "resizePolicy"] {
                if is_set(container, field) {
                    let detail = "cannot be set for an Ephemeral Container";
                    faults.push(FieldError::forbidden(format!("{path}.{field}"), detail));
                }
            }
        }
        ContainerPlace::Main => restart_faults(faults, container, path),
    }
    if place != ContainerPlace::Ephemeral {
        probe_faults(faults, container, path);
    }
}

fn port_faults(faults: &mut Faults, container: &Value, path: &str) {
    let mut names = BTreeSet::new();
    for (at, port) in list(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let name = text(port, "name");
        if !name.is_empty() {
            let wrong = port_name_errors(name);
            if wrong.is_empty() {
                unique(faults, &mut names, &format!("{path}.name"), name);
            }
            invalid_each(faults, &format!("{path}.name"), name, wrong);
        }
        let number = int(port, "containerPort").unwrap_or_default();
        if number == 0 {
            faults.push(FieldError::required(format!("{path}.containerPort"), ""));
        } else {
            for message in port_number_errors(number) {
                faults.push(FieldError::invalid(format!("{path}.containerPort"), &json!(number), &message));
            }
        }
        let host = int(port, "hostPort").unwrap_or_default();
        if host != 0 {
            for message in port_number_errors(host) {
                faults.push(FieldError::invalid(format!("{path}.hostPort"), &json!(host), &message));
            }
        }
        one_of(faults, port, &path, "protocol", &["SCTP", "TCP", "UDP"], true);
    }
}

/// What a variable's value may come from.
const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
/// The fields of its own pod that a variable may hold.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn env_faults(faults: &mut Faults, container: &Value, path: &str) {
    for (at, variable) in list(container, "env").iter().enumerate() {
        let path = format!("{path}.env[{at}]");
        required_name(faults, &format!("{path}.name"), text(variable, "name"), env_name_errors);
        if let Some(source) = get(variable, "valueFrom") {
            value_source_faults(faults, source, &format!("{path}.valueFrom"), !text(variable, "value").is_empty());
        }
    }
    for (at, source) in list(container, "envFrom").iter().enumerate() {
        let path = format!("{path}.envFrom[{at}]");
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            invalid_each(faults, &format!("{path}.prefix"), prefix, env_name_errors(prefix));
        }
        let found: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|kind| is_set(source, kind)).collect();
        match found.as_slice() {
            [] => {
                let detail = "must specify one of: `configMapRef` or `secretRef`";
                faults.push(FieldError::invalid(&path, &json!(""), detail));
            }
            [kind] => {
                required_name(
                    faults,
                    &format!("{path}.{kind}.name"),
                    text(&source[*kind], "name"),
                    dns_subdomain_errors,
                );
            }
            _ => {
                let detail = "may not have more than one field specified at a time";
                faults.push(FieldError::invalid(&path, &json!(""), detail));
            }
        }
    }
}

fn value_source_faults(faults: &mut Faults, source: &Value, path: &str, has_value: bool) {
    let found: Vec<&str> = SOURCES.iter().copied().filter(|kind| is_set(source, kind)).collect();
    for kind in &found {
        let reference = &source[*kind];
        let path = format!("{path}.{kind}");
        match *kind {
            "fieldRef" => field_reference(faults, reference, &path),
            "resourceFieldRef" => resource_reference(faults, reference, &path),
            "configMapKeyRef" | "secretKeyRef" => {
                required_text(faults, &format!("{path}.name"), text(reference, "name"));
                required_name(faults, &format!("{path}.key"), text(reference, "key"), config_key_errors);
            }
            _ => {}
        }
    }
    let detail = match found.len() {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    faults.push(FieldError::invalid(path, &json!(""), detail));
}

/// The amounts of a container that a variable may hold.
fn resource_reference(faults: &mut Faults, reference: &Value, path: &str) {
    const AMOUNTS: &[&str] = &[
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let path = format!("{path}.resource");
    let resource = text(reference, "resource");
    let pages = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if resource.is_empty() {
        faults.push(FieldError::required(path, ""));
    } else if !pages && !AMOUNTS.contains(&resource) {
        faults.push(FieldError::not_supported(path, &json!(resource), AMOUNTS));
    }
}

fn field_reference(faults: &mut Faults, reference: &Value, path: &str) {
    let wanted = text(reference, "fieldPath");
    if wanted.is_empty() {
        faults.push(FieldError::required(format!("{path}.fieldPath"), ""));
        return;
    }
    let subscripted = ["metadata.labels['", "metadata.annotations['"];
    let of_map = wanted.ends_with("']") && subscripted.iter().any(|start| wanted.starts_with(start));
    if !of_map && !POD_FIELDS.contains(&wanted) {
        faults.push(FieldError::not_supported(format!("{path}.fieldPath"), &json!(wanted), POD_FIELDS));
    }
}

fn read_only_faults(faults: &mut Faults, mount: &Value, path: &str) {
    let mode = match text(mount, "recursiveReadOnly") {
        "" | "Disabled" => return,
        mode => mode,
    };
    if !["Enabled", "IfPossible"].contains(&mode) {
        faults.push(FieldError::not_supported(path, &json!(mode), &["Disabled", "Enabled", "IfPossible"]));
        return;
    }
    if mount.get("readOnly") != Some(&json!(true)) {
        faults.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
    }
    if !matches!(text(mount, "mountPropagation"), "" | "None") {
        faults
            .push(FieldError::forbidden(path, "may only be specified when mountPropagation is None or not specified"));
    }
}

fn mount_faults(faults: &mut Faults, container: &Value, owner: &str, volumes: &BTreeSet<String>) {
    let mut targets = BTreeSet::new();
    for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = format!("{owner}.volumeMounts[{at}]");
        let name = text(mount, "name");
        required_text(faults, &format!("{path}.name"), name);
        if !volumes.contains(name) {
            faults.push(FieldError::not_found(format!("{path}.name"), &json!(name)));
        }
        let target = text(mount, "mountPath");
        required_text(faults, &format!("{path}.mountPath"), target);
        if !targets.insert(target) {
            faults.push(FieldError::invalid(format!("{path}.mountPath"), &json!(target), "must be unique"));
        }
        let (sub, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        inside(faults, sub, &format!("{path}.subPath"));
        inside(faults, expression, &format!("{path}.subPathExpr"));
        if !sub.is_empty() && !expression.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            faults.push(FieldError::invalid(format!("{path}.subPathExpr"), &json!(expression), detail));
        }
        // Kubernetes names this one without its place in the list.
        read_only_faults(faults, mount, &format!("{owner}.volumeMounts.recursiveReadOnly"));
    }
}
