//! Every row of the table, and what each kind does with objects.

mod access;
mod batch;
mod cluster;
mod config;
mod controllers;
mod documented;
mod mutations;
mod pod_rules;
mod pods;
mod printed;
mod scaling;
mod services;
mod storage;
mod workloads;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::KindSet;
use crate::table::{IncludeObject, row};

/// The row of a kind: `pods`, `apps/deployments`, `autoscaling/horizontalpodautoscalers@v2`.
fn find(name: &str) -> Arc<Kind> {
    let (group, plural) = name.split_once('/').unwrap_or(("", name));
    let set = KindSet::new(builtin());
    let (plural, version) = plural.split_once('@').unwrap_or((plural, "v1"));
    set.by_resource(group, version, plural).unwrap_or_else(|| panic!("{name} is a kind")).clone()
}

/// The object as it is stored when it is created.
fn created(kind: &str, mut object: Value) -> Value {
    let kind = find(kind);
    kind.behaviour.default(&mut object);
    kind.behaviour.prepare_create(&mut object);
    let mut again = object.clone();
    kind.behaviour.default(&mut again);
    assert_eq!(again, object, "defaults may run twice");
    object
}

/// What is wrong with an object once it has its defaults.
fn faults(kind: &str, object: Value, old: Option<&Value>) -> Vec<String> {
    let mut object = object;
    let kind = find(kind);
    kind.behaviour.default(&mut object);
    if let Some(old) = old {
        kind.behaviour.prepare_update(&mut object, old);
    }
    kind.behaviour.validate(&object, old).iter().map(ToString::to_string).collect()
}

/// Each row: a change to a good object, as JSON pointer and value (null removes), and how the only faults begin.
fn check_faults(kind: &str, good: &Value, rows: &[(&str, Value, &[&str])]) {
    assert_eq!(faults(kind, good.clone(), None), Vec::<String>::new(), "the good object");
    for (pointer, value, expected) in rows {
        let found = faults(kind, changed(good, pointer, value), None);
        assert_eq!(found.len(), expected.len(), "{pointer} = {value}: {found:#?}");
        for (fault, start) in found.iter().zip(*expected) {
            assert!(fault.starts_with(start), "{pointer} = {value}: {fault}\nshould start with {start}");
        }
    }
}

fn changed(object: &Value, pointer: &str, value: &Value) -> Value {
    let mut object = object.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    match object.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is there")) {
        Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value.clone(),
        Value::Object(map) if value.is_null() => drop(map.remove(key)),
        Value::Object(map) => drop(map.insert(key.to_owned(), value.clone())),
        _ => panic!("{parent} holds nothing"),
    }
    object
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().expect("a time")
}

/// The cells of an object, all of them or without those for `-o wide`.
fn cells(kind: &str, object: &Value, wide: bool) -> Vec<Value> {
    let kind = find(kind);
    let row = row(&kind, object, IncludeObject::None, now());
    let cells = row["cells"].as_array().cloned().unwrap_or_default();
    kind.columns.iter().zip(cells).filter(|(column, _)| wide || column.priority == 0).map(|(_, cell)| cell).collect()
}

fn headings(kind: &str) -> String {
    let kind = find(kind);
    let shown = kind.columns.iter().map(|column| match column.priority {
        0 => column.name.to_uppercase(),
        _ => format!("({})", column.name.to_uppercase()),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn rows_are_well_formed_and_unique() {
    let mut seen = BTreeSet::new();
    for kind in builtin() {
        assert!(
            seen.insert((kind.group.clone(), kind.version.clone(), kind.plural.clone())),
            "{kind:?} is listed twice"
        );
        assert!(!kind.verbs.is_empty(), "{kind:?}");
        assert_eq!(kind.columns.iter().filter(|column| column.format == "name").count(), 1, "{kind:?}");
        assert_eq!(kind.behaviour.field_labels().len(), kind.behaviour.selectable_fields(&json!({})).len());
        let labels = kind.behaviour.field_labels();
        let fields = kind.behaviour.selectable_fields(&json!({}));
        let fields: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(labels, fields, "{kind:?}");
    }
}

#[test]
fn nothing_makes_a_behaviour_panic() {
    let odd = [
        json!(null),
        json!([]),
        json!("x"),
        json!({}),
        json!({"metadata": [], "spec": [], "status": 3, "data": 3, "subsets": {}, "endpoints": [3], "ports": [null]}),
        json!({"metadata": null, "spec": {"containers": [null, 3, {"ports": [3], "env": [3], "resources": 3}], "volumes": [3],
            "template": 3, "selector": 3, "strategy": 3, "ports": [3], "rules": [3], "tls": [3], "tolerations": [3]}}),
        json!({"metadata": {"labels": 3}, "spec": {"template": {"spec": 3, "metadata": 3}, "selector": {"matchLabels": 3}},
            "status": {"conditions": 3, "containerStatuses": [3, {"state": 3}]}}),
        json!({"metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/metrics": "[3, {}, {\"object\": 3}]",
            "autoscaling.alpha.kubernetes.io/behavior": "{\"\": 3}"}},
            "spec": {"metrics": [3, {"type": 3, "resource": {"target": 3}}], "behavior": {"scaleUp": 3}, "jobTemplate": 3,
            "limits": [3, {"type": "Container", "max": 3}], "hard": 3, "scopes": [3], "scopeSelector": 3, "accessModes": [3],
            "resources": 3, "capacity": 3, "volumeClaimTemplates": [3, {"spec": 3}], "updateStrategy": 3,
            "podFailurePolicy": {"rules": [3, {"onExitCodes": 3}]}, "successPolicy": 3, "completionMode": 3, "hostPath": 3,
            "csi": 3, "claimRef": 3, "nodeAffinity": 3, "schedule": 3, "timeZone": 3, "dataSource": 3},
            "status": {"currentMetrics": [3], "conditions": [3], "hard": 3, "capacity": 3}, "template": 3}),
    ];
    for kind in builtin() {
        for object in &odd {
            for old in &odd {
                let behaviour = &kind.behaviour;
                let mut new = object.clone();
                behaviour.default(&mut new);
                behaviour.prepare_update(&mut new, old);
                behaviour.prepare_status(&mut new, old);
                behaviour.validate(&new, Some(old));
                behaviour.validate_status(&new, old);
                for part in ["resize", "ephemeralcontainers"] {
                    behaviour.prepare_subresource(part, &mut new, old);
                    behaviour.validate_subresource(part, &new, old);
                }
                behaviour.prepare_create(&mut new);
                behaviour.validate(&new, None);
                behaviour.selectable_fields(&new);
                behaviour.grace_seconds(&new);
                behaviour.warnings(&new);
                behaviour.warnings_on_update(&new, old);
                if let Some(form) = &kind.form {
                    (form.to_stored)(&mut new);
                    (form.from_stored)(&mut new);
                }
                row(&kind, object, IncludeObject::Metadata, now());
                row(&kind, &new, IncludeObject::Metadata, now());
            }
        }
    }
}

#[test]
fn discovery_lists_what_kubectl_knows() {
    let rows = [
        ("pods", "po", true),
        ("services", "svc", true),
        ("apps/deployments", "deploy", true),
        ("apps/replicasets", "rs", true),
        ("namespaces", "ns", false),
        ("nodes", "no", false),
        ("configmaps", "cm", false),
        ("serviceaccounts", "sa", false),
        ("endpoints", "ep", false),
        ("events", "ev", false),
        ("networking.k8s.io/ingresses", "ing", false),
        ("replicationcontrollers", "rc", true),
        ("apps/daemonsets", "ds", true),
        ("apps/statefulsets", "sts", true),
        ("autoscaling/horizontalpodautoscalers", "hpa", true),
        ("autoscaling/horizontalpodautoscalers@v2", "hpa", true),
        ("batch/cronjobs", "cj", true),
        ("persistentvolumes", "pv", false),
        ("persistentvolumeclaims", "pvc", false),
        ("resourcequotas", "quota", false),
        ("limitranges", "limits", false),
        ("policy/poddisruptionbudgets", "pdb", false),
    ];
    for (name, short, all) in rows {
        let kind = find(name);
        assert_eq!(kind.short_names, [short], "{name}");
        assert_eq!(kind.categories.contains(&"all".to_owned()), all, "{name}");
    }
    assert_eq!(find("networking.k8s.io/ingressclasses").singular, "ingressclass");
    assert_eq!(find("endpoints").singular, "endpoints");
    assert!(!find("namespaces").verbs.contains(&"deletecollection".to_owned()));
    let pods = find("pods");
    let names: Vec<&str> = pods.extra_subresources.iter().map(|sub| sub.name.as_str()).collect();
    assert_eq!(
        names,
        ["attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize"]
    );
    assert_eq!(pods.extra_subresources[3].group, "policy");
}
