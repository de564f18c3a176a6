//! Defaults of a pod's spec.

use serde_json::{Value, json};

use super::CONTAINER_LISTS;
use crate::Quantity;
use crate::kinds::fields::{default_text, default_to, flag, get, int, is_set, items_mut, object_at, set, text};

/// `0644` in decimal, which is how JSON has it.
const FILE_MODE: i64 = 420;
const TOKEN_SECONDS: i64 = 3600;

/// Fills `spec` in.
pub fn default_pod_spec(spec: &mut Value) {
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default_text(spec, "schedulerName", "default-scheduler");
    default_to(spec, "securityContext", json!({}));
    default_to(spec, "terminationGracePeriodSeconds", 30);
    account(spec);
    let host_network = flag(spec, "hostNetwork");
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            default_container(container, host_network);
        }
    }
    for volume in items_mut(spec, "volumes") {
        default_volume(volume);
    }
    canonical_quantities(spec, "overhead");
    if let Some(resources) = spec.get_mut("resources") {
        canonical_quantities(resources, "limits");
        canonical_quantities(resources, "requests");
    }
}

/// The account has an old name too; both say the same.
fn account(spec: &mut Value) {
    let new = text(spec, "serviceAccountName").to_owned();
    let old = text(spec, "serviceAccount").to_owned();
    match (new.is_empty(), old.is_empty()) {
        (true, false) => set(spec, "serviceAccountName", old),
        (false, _) => set(spec, "serviceAccount", new),
        (true, true) => {}
    }
}

fn default_container(container: &mut Value, host_network: bool) {
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    let policy = pull_policy(text(container, "image"));
    default_text(container, "imagePullPolicy", policy);
    default_to(container, "resources", json!({}));
    if let Some(resources) = container.get_mut("resources") {
        canonical_quantities(resources, "limits");
        canonical_quantities(resources, "requests");
    }
    for port in items_mut(container, "ports") {
        default_text(port, "protocol", "TCP");
        if host_network && int(port, "hostPort").unwrap_or_default() == 0 {
            let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
            set(port, "hostPort", number);
        }
    }
    for variable in items_mut(container, "env") {
        if let Some(reference) = variable.pointer_mut("/valueFrom/fieldRef") {
            default_text(reference, "apiVersion", "v1");
        }
        if let Some(reference) = variable.pointer_mut("/valueFrom/resourceFieldRef") {
            default_to(reference, "divisor", "0");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default_probe(probe);
        }
    }
    for hook in ["/lifecycle/postStart", "/lifecycle/preStop"] {
        if let Some(handler) = container.pointer_mut(hook) {
            default_handler(handler);
        }
    }
}

/// `latest`, said or implied, is looked for anew each time.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let latest = match name.split_once('@') {
        Some((tagged, _)) => tagged.ends_with(":latest"),
        None => name.split_once(':').is_none_or(|(_, tag)| tag == "latest"),
    };
    if latest && !image.is_empty() { "Always" } else { "IfNotPresent" }
}

fn default_probe(probe: &mut Value) {
    for (field, default) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if int(probe, field).unwrap_or_default() == 0 {
            set(probe, field, default);
        }
    }
    default_handler(probe);
}

fn default_handler(handler: &mut Value) {
    if let Some(http) = handler.get_mut("httpGet").filter(|http| http.is_object()) {
        default_text(http, "path", "/");
        default_text(http, "scheme", "HTTP");
    }
    if let Some(grpc) = handler.get_mut("grpc").filter(|grpc| grpc.is_object()) {
        default_to(grpc, "service", "");
    }
}

fn default_volume(volume: &mut Value) {
    let named = volume.as_object().is_some_and(|map| map.iter().any(|(key, value)| key != "name" && !value.is_null()));
    if !named {
        default_to(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
            default_to(source, "defaultMode", FILE_MODE);
            default_items(source);
        }
    }
    if let Some(path) = volume.get_mut("hostPath").filter(|path| path.is_object()) {
        default_to(path, "type", "");
    }
    if let Some(image) = volume.get_mut("image").filter(|image| image.is_object()) {
        let policy = pull_policy(text(image, "reference"));
        default_text(image, "pullPolicy", policy);
    }
    if let Some(directory) = volume.get_mut("emptyDir").filter(|directory| directory.is_object())
        && let Some(limit) = get(directory, "sizeLimit").and_then(|limit| Quantity::from_json(limit).ok())
    {
        set(directory, "sizeLimit", limit.to_string());
    }
    let Some(projected) = volume.get_mut("projected") else { return };
    for source in items_mut(projected, "sources") {
        if let Some(token) = source.get_mut("serviceAccountToken").filter(|token| token.is_object()) {
            default_to(token, "expirationSeconds", TOKEN_SECONDS);
        }
        if let Some(downward) = source.get_mut("downwardAPI") {
            default_items(downward);
        }
    }
}

fn default_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        if let Some(reference) = item.get_mut("fieldRef").filter(|reference| reference.is_object()) {
            default_text(reference, "apiVersion", "v1");
        }
    }
}

/// Writes each quantity of a map in its canonical form, as decoding does in Kubernetes; one that cannot be read stays
/// for the check to find.
pub fn canonical_quantities(value: &mut Value, field: &str) {
    let Some(map) = value.get_mut(field).and_then(Value::as_object_mut) else { return };
    for quantity in map.values_mut() {
        if let Ok(read) = Quantity::from_json(quantity) {
            let canonical = read.to_string();
            if quantity.as_str() != Some(&canonical) {
                *quantity = Value::String(canonical);
            }
        }
    }
}

/// A pod's container requests what it is limited to, unless it says otherwise.
pub(crate) fn requests_from_limits(spec: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            let Some(resources) = container.get_mut("resources") else { continue };
            if !is_set(resources, "limits") {
                continue;
            }
            let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
            if limits.is_empty() {
                continue;
            }
            if let Some(requests) = object_at(resources, "requests") {
                for (name, limit) in limits {
                    default_to(requests, &name, limit);
                }
            }
        }
    }
}

/// What a pod requests as a whole, where it says what it is limited to as a whole: what its containers request together, or
/// as much as the limit.
pub(crate) fn pod_level_requests(spec: &mut Value) {
    let Some(limits) = spec.pointer("/resources/limits").and_then(Value::as_object).cloned() else { return };
    let mut asked = Vec::new();
    for (name, limit) in limits {
        let of = |container: &Value| {
            let amount = container.get("resources")?.get("requests")?.get(&name)?;
            Quantity::from_json(amount).ok()
        };
        let shares: Vec<Quantity> =
            spec.get("containers").and_then(Value::as_array).into_iter().flatten().filter_map(of).collect();
        let together = shares.into_iter().reduce(|sum, share| sum + share);
        asked.push((name, together.map_or(limit, |sum| Value::String(sum.to_string()))));
    }
    let requests = spec.get_mut("resources").and_then(|resources| object_at(resources, "requests"));
    if let Some(requests) = requests {
        for (name, amount) in asked {
            default_to(requests, &name, amount);
        }
    }
}
