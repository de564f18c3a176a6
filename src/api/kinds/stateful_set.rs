//! StatefulSet: pods with names and volumes of their own that outlive them.

use serde_json::{Value, json};

use super::cells::{age_column, column, name_column, of_containers, wide};
use super::checks::{
    Faults, at_most, at_most_all, int_or_percent, invalid_each, is_nothing, none_negative, not_decremented,
};
use super::fields::{default_text, default_to, get, int_at, items_mut, keep, list, object_at, set, text};
use super::pod_template::{
    default_template, ever_running_faults, selector_faults, template_faults, template_label_faults, template_warnings,
};
use super::row::row;
use super::{fields, persistent_volume_claim};
use crate::names::dns_label_errors;
use crate::{Behaviour, FieldError, Kind, Scope, meta};

/// What of a spec may change, in the order in which the sentence names it.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// The row.
pub fn kind() -> Kind {
    row("apps", "v1", "StatefulSet", "statefulsets", Scope::Namespaced)
        .short(&["sts"])
        .all()
        .status()
        .scale()
        .columns(vec![
            name_column(),
            column("Ready", "Number of the pod with ready state", |object, _| {
                json!(format!("{}/{}", int_at(object, "/status/readyReplicas"), int_at(object, "/spec/replicas")))
            }),
            age_column(),
            wide(column("Containers", "Names of each container in the template.", |object, _| {
                of_containers(object, "/spec/template/spec", "name")
            })),
            wide(column("Images", "Images referenced by each container in the template.", |object, _| {
                of_containers(object, "/spec/template/spec", "image")
            })),
        ])
        .behaviour(StatefulSet)
        .build()
}

struct StatefulSet;

impl Behaviour for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        default_text(spec, "podManagementPolicy", "OrderedReady");
        if let Some(strategy) = object_at(spec, "updateStrategy") {
            default_text(strategy, "type", "RollingUpdate");
            if text(strategy, "type") == "RollingUpdate"
                && let Some(rolling) = object_at(strategy, "rollingUpdate")
            {
                default_to(rolling, "partition", 0);
                default_to(rolling, "maxUnavailable", 1);
            }
        }
        if let Some(policy) = object_at(spec, "persistentVolumeClaimRetentionPolicy") {
            default_text(policy, "whenDeleted", "Retain");
            default_text(policy, "whenScaled", "Retain");
        }
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "serviceName", "");
        default_template(spec);
        for claim in items_mut(spec, "volumeClaimTemplates").filter(|claim| claim.is_object()) {
            set(claim, "apiVersion", "v1");
            set(claim, "kind", "PersistentVolumeClaim");
            persistent_volume_claim::fill(claim);
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({ "replicas": 0, "availableReplicas": 0 }));
    }
    fn prepare_status(&self, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        management(&mut faults, spec);
        strategy(&mut faults, spec.get("updateStrategy").unwrap_or(&empty));
        let policy = spec.get("persistentVolumeClaimRetentionPolicy").unwrap_or(&empty);
        for field in ["whenDeleted", "whenScaled"] {
            let said = text(policy, field);
            if !["Retain", "Delete"].contains(&said) {
                let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
                faults.push(FieldError::not_supported(path, &json!(said), &["Retain", "Delete"]));
            }
        }
        none_negative(&mut faults, spec, "spec", &["replicas", "minReadySeconds", "revisionHistoryLimit"]);
        none_negative(&mut faults, spec.get("ordinals").unwrap_or(&empty), "spec.ordinals", &["start"]);
        let service = text(spec, "serviceName");
        if old.is_none() && !service.is_empty() {
            invalid_each(&mut faults, "spec.serviceName", service, dns_label_errors(service));
        }
        selector_faults(&mut faults, spec, "statefulset");
        template(&mut faults, spec);
        for (at, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            let path = format!("spec.volumeClaimTemplates[{at}].spec");
            persistent_volume_claim::spec_faults(&mut faults, get(claim, "spec").unwrap_or(&empty), &path);
        }
        if let Some(old) = old {
            fixed(&mut faults, spec, get(old, "spec").unwrap_or(&empty));
        }
        faults
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        dns_label_errors(name)
    }
    fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let Some(status) = get(object, "status") else { return faults };
        let counts = [
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ];
        none_negative(&mut faults, status, "status", &counts);
        for less in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
            at_most(&mut faults, status, less, "replicas", "status.replicas");
        }
        at_most(&mut faults, status, "availableReplicas", "readyReplicas", "status.readyReplicas");
        not_decremented(&mut faults, status, old.get("status"), "collisionCount");
        faults
    }
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = template_warnings(object);
        for (at, claim) in fields::list_at(object, "/spec/volumeClaimTemplates").iter().enumerate() {
            let path = format!("spec.volumeClaimTemplates[{at}].spec");
            let spec = claim.get("spec").unwrap_or(&Value::Null);
            warnings.extend(persistent_volume_claim::spec_warnings(spec, &path));
        }
        let revisions = object.get("spec").and_then(|spec| fields::int(spec, "revisionHistoryLimit"));
        if revisions.is_some_and(|revisions| revisions < 0) {
            let rule = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {rule}"));
        }
        warnings
    }
    fn warnings_on_update(&self, object: &Value, old: &Value) -> Vec<String> {
        let same = meta::generation(object) == meta::generation(old);
        if same { Vec::new() } else { template_warnings(object) }
    }
}

fn management(faults: &mut Faults, spec: &Value) {
    let policy = text(spec, "podManagementPolicy");
    match policy {
        "" => faults.push(FieldError::required("spec.podManagementPolicy", "")),
        "OrderedReady" | "Parallel" => {}
        _ => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            faults.push(FieldError::invalid("spec.podManagementPolicy", &json!(policy), detail));
        }
    }
}

fn strategy(faults: &mut Faults, strategy: &Value) {
    let path = "spec.updateStrategy";
    let rolling = get(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "" => faults.push(FieldError::required(path, "")),
        "OnDelete" => {
            if let Some(rolling) = rolling {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                faults.push(FieldError::invalid(format!("{path}.rollingUpdate"), rolling, detail));
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return };
            none_negative(faults, rolling, &format!("{path}.rollingUpdate"), &["partition"]);
            if let Some(most) = get(rolling, "maxUnavailable") {
                let at = format!("{path}.rollingUpdate.maxUnavailable");
                int_or_percent(faults, most, &at);
                if is_nothing(most) {
                    faults.push(FieldError::invalid(at.as_str(), most, "cannot be 0"));
                }
                at_most_all(faults, most, &at);
            }
        }
        _ => faults.push(FieldError::invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")),
    }
}

/// The template may mount the volumes that each pod gets of the claims.
fn template(faults: &mut Faults, spec: &Value) {
    let path = "spec.template";
    let mut template = spec.get("template").cloned().unwrap_or_else(|| json!({}));
    template_label_faults(faults, spec, &template, path);
    let claims = list(spec, "volumeClaimTemplates");
    if let Some(pod) = template.get_mut("spec").filter(|pod| pod.is_object() && !claims.is_empty()) {
        let names: Vec<&str> = claims.iter().map(meta::name).collect();
        let mut volumes: Vec<Value> = list(pod, "volumes").to_vec();
        volumes.retain(|volume| !names.contains(&text(volume, "name")));
        for name in names {
            volumes.push(json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }));
        }
        set(pod, "volumes", volumes);
    }
    template_faults(faults, &template, path);
    ever_running_faults(faults, &template, path, "StatefulSet");
}

fn fixed(faults: &mut Faults, spec: &Value, was: &Value) {
    let mut same = spec.clone();
    for field in MUTABLE {
        keep(&mut same, was, field);
    }
    if !fields::same(Some(&same), Some(was)) {
        let quoted: Vec<String> = MUTABLE.iter().map(|field| format!("'{field}'")).collect();
        let (last, first) = quoted.split_last().map_or(("", &quoted[..]), |(last, first)| (last.as_str(), first));
        let detail =
            format!("updates to statefulset spec for fields other than {} and {last} are forbidden", first.join(", "));
        faults.push(FieldError::forbidden("spec", &detail));
    }
}
