//! What is allowed in a pod and yet is likely a mistake, or will not be allowed for ever.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Quantity;
use crate::kinds::fields::{entries, get, int, is_set, list, text};
use crate::meta;

/// Labels of nodes that have other names by now.
const LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];
/// Annotations that have become fields, by how they begin.
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+; use the \"seccompProfile\" field instead"),
    (
        "container.seccomp.security.alpha.kubernetes.io/",
        "non-functional in v1.27+; use the \"seccompProfile\" field instead",
    ),
    (
        "container.apparmor.security.beta.kubernetes.io/",
        "deprecated since v1.30; use the \"appArmorProfile\" field instead",
    ),
];
/// Kinds of volumes that nothing mounts any more.
const VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Sentences for the `Warning:` header about a Pod.
pub fn pod_warnings(pod: &Value) -> Vec<String> {
    let mut warnings = annotation_warnings(pod, "metadata");
    warnings.extend(pod_spec_warnings(pod.get("spec").unwrap_or(&Value::Null), "spec"));
    warnings
}

/// The same about a pod template that stands at `path`.
pub fn pod_template_warnings(template: &Value, path: &str) -> Vec<String> {
    let mut warnings = annotation_warnings(template, &format!("{path}.metadata"));
    warnings.extend(pod_spec_warnings(template.get("spec").unwrap_or(&Value::Null), &format!("{path}.spec")));
    warnings
}

fn annotation_warnings(object: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, _) in meta::annotations(object) {
        let found = ANNOTATIONS
            .iter()
            .find(|(known, _)| if known.ends_with('/') { key.starts_with(known) } else { key == *known });
        if let Some((_, rule)) = found {
            warnings.push(format!("{path}.annotations[{key}]: {rule}"));
        }
    }
    warnings
}

/// The same about the pod spec that stands at `path`.
fn pod_spec_warnings(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let rule = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{path}.terminationGracePeriodSeconds: {rule}"));
    }
    placement(&mut warnings, spec, path);
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        for (source, rule) in VOLUMES.iter().filter(|(source, _)| is_set(volume, source)) {
            warnings.push(format!("{path}.volumes[{at}].{source}: {rule}"));
        }
    }
    repeated(&mut warnings, spec, path);
    if let Some(overhead) = get(spec, "overhead") {
        fractional(&mut warnings, overhead, &format!("{path}.overhead"), &["memory"]);
    }
    let mut ports = Vec::new();
    for field in ["initContainers", "containers"] {
        for (at, container) in list(spec, field).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            hidden_variables(&mut warnings, container, &path);
            for side in ["limits", "requests"] {
                let amounts = container.get("resources").and_then(|resources| resources.get(side));
                let path = format!("{path}.resources.{side}");
                fractional(&mut warnings, amounts.unwrap_or(&Value::Null), &path, &["memory", "ephemeral-storage"]);
            }
            // An init container that ends has given up its ports before others begin.
            if field == "containers" || text(container, "restartPolicy") == "Always" {
                repeated_ports(&mut warnings, &mut ports, container, &path);
            }
        }
    }
    warnings
}

pub(crate) fn deprecated_label(label: &str) -> Option<String> {
    let (_, since, new) = LABELS.iter().find(|(old, _, _)| *old == label)?;
    Some(format!("deprecated since {since}; use {new:?} instead"))
}

fn placement(warnings: &mut Vec<String>, spec: &Value, path: &str) {
    for (key, _) in entries(spec, "nodeSelector") {
        warnings.extend(deprecated_label(key).map(|rule| format!("{path}.nodeSelector[{key}]: {rule}")));
    }
    let (required, preferred) =
        ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
    let affinity = get(spec, "affinity").unwrap_or(&Value::Null);
    if let Some(nodes) = get(affinity, "nodeAffinity") {
        let path = format!("{path}.affinity.nodeAffinity");
        if let Some(selector) = get(nodes, required) {
            warnings.extend(node_selector_warnings(selector, &format!("{path}.{required}")));
        }
        for (at, weighted) in list(nodes, preferred).iter().enumerate() {
            let term = weighted.get("preference").unwrap_or(&Value::Null);
            node_term(warnings, term, &format!("{path}.{preferred}[{at}].preference"));
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = get(affinity, kind) else { continue };
        let path = format!("{path}.affinity.{kind}");
        for (at, term) in list(pods, required).iter().enumerate() {
            if !is_set(term, "labelSelector") {
                warnings.push(format!("{path}.{required}[{at}].labelSelector: {NO_SELECTOR}"));
            }
        }
        for (at, weighted) in list(pods, preferred).iter().enumerate() {
            if get(weighted, "podAffinityTerm").is_none_or(|term| !is_set(term, "labelSelector")) {
                warnings.push(format!("{path}.{preferred}[{at}].podAffinityTerm.labelSelector: {NO_SELECTOR}"));
            }
        }
    }
    for (at, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{at}]");
        let key = text(constraint, "topologyKey");
        warnings.extend(deprecated_label(key).map(|rule| format!("{path}.topologyKey: {key} is {rule}")));
        if !is_set(constraint, "labelSelector") {
            warnings.push(format!("{path}.labelSelector: {NO_SELECTOR}"));
        }
    }
}

/// Sentences about a NodeSelector that stands at `path`.
pub(crate) fn node_selector_warnings(selector: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, term) in list(selector, "nodeSelectorTerms").iter().enumerate() {
        node_term(&mut warnings, term, &format!("{path}.nodeSelectorTerms[{at}]"));
    }
    warnings
}

fn node_term(warnings: &mut Vec<String>, term: &Value, path: &str) {
    for (at, expression) in list(term, "matchExpressions").iter().enumerate() {
        let key = text(expression, "key");
        let rule = deprecated_label(key).map(|rule| format!("{path}.matchExpressions[{at}].key: {key} is {rule}"));
        warnings.extend(rule);
    }
}

/// What stands in a list twice, or as a name without letters.
fn repeated(warnings: &mut Vec<String>, spec: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (at, alias) in list(spec, "hostAliases").iter().enumerate() {
        let ip = text(alias, "ip");
        if !seen.insert(ip) {
            warnings.push(format!("{path}.hostAliases[{at}].ip: duplicate ip {ip:?}"));
        }
    }
    let mut seen = BTreeSet::new();
    for (at, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        let name = text(secret, "name");
        if !seen.insert(name) {
            warnings.push(format!("{path}.imagePullSecrets[{at}].name: duplicate name {name:?}"));
        }
        if name.is_empty() {
            warnings.push(format!("{path}.imagePullSecrets[{at}].name: invalid empty name {name:?}"));
        }
    }
}

fn hidden_variables(warnings: &mut Vec<String>, container: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (at, variable) in list(container, "env").iter().enumerate() {
        let name = text(variable, "name");
        // A value that is made of the one before does not hide it.
        let built_on = text(variable, "value").contains(&format!("$({name})"));
        if !seen.insert(name) && !built_on {
            let rule = "hides previous definition of";
            warnings.push(format!("{path}.env[{at}]: {rule} {name:?}, which may be dropped when using apply"));
        }
    }
}

fn fractional(warnings: &mut Vec<String>, amounts: &Value, path: &str, names: &[&str]) {
    for name in names {
        let Some(value) = get(amounts, name) else { continue };
        if Quantity::from_json(value).is_ok_and(|amount| !amount.is_whole()) {
            let shown = value.as_str().unwrap_or_default();
            let rule = format!("fractional byte value {shown:?} is invalid, must be an integer");
            warnings.push(format!("{path}[{name}]: {rule}"));
        }
    }
}

/// A port that was seen: what it is, and where.
type Seen<'a> = (i64, &'a str, i64, &'a str, String);

fn repeated_ports<'a>(warnings: &mut Vec<String>, seen: &mut Vec<Seen<'a>>, container: &'a Value, path: &str) {
    for (at, port) in list(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let (number, host) =
            (int(port, "containerPort").unwrap_or_default(), int(port, "hostPort").unwrap_or_default());
        let (protocol, address) = (text(port, "protocol"), text(port, "hostIP"));
        if !address.is_empty() && host == 0 {
            warnings.push(format!("{path}: hostIP set without hostPort: {port}"));
        }
        let mut known: BTreeMap<bool, &str> = BTreeMap::new();
        for (other, of, other_host, other_address, place) in seen.iter() {
            if (*other, *of) == (number, protocol) {
                known.entry((*other_host, *other_address) != (host, address)).or_insert(place);
            }
        }
        match (known.get(&false), known.get(&true)) {
            (Some(place), _) => warnings.push(format!("{path}: duplicate port definition with {place}")),
            (None, Some(place)) if host == 0 || address.is_empty() => {
                warnings.push(format!("{path}: overlapping port definition with {place}"));
            }
            _ => {}
        }
        seen.push((number, protocol, host, address, path));
    }
}
