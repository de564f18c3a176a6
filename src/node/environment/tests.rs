//! Environments, as tables.

use serde_json::{Value, json};

use super::*;

fn check(container: Value, wanted: &[(&str, &str)]) {
    let found = made(container).unwrap();
    let found: Vec<(&str, &str)> = found
        .iter()
        .filter(|(name, _)| !name.starts_with("WEB_") && name != "HOSTNAME")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, wanted);
}

fn made(container: Value) -> Result<Vec<(String, String)>, EnvironmentError> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "p", "namespace": "ns", "uid": "u", "labels": { "app": "x" } },
        "spec": { "nodeName": "n", "containers": [] },
    }))
    .unwrap();
    let mut container = container;
    container["name"] = json!("c");
    let container: Container = serde_json::from_value(container).unwrap();
    let map = serde_json::from_value(json!({ "data": { "color": "red", "size": "big" } })).unwrap();
    let secret = serde_json::from_value(json!({ "data": { "key": "aGlkZGVu" } })).unwrap();
    let sources = Sources {
        config_maps: BTreeMap::from([("map".to_owned(), Some(map)), ("none".to_owned(), None)]),
        secrets: BTreeMap::from([("secret".to_owned(), Some(secret))]),
        ..Sources::default()
    };
    let service = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "ns" },
        "spec": { "clusterIP": "10.96.0.9", "ports": [{ "name": "http", "port": 80 }] },
    }))
    .unwrap();
    let around = Surroundings {
        pod: &pod,
        pod_ip: "10.128.0.2".parse().unwrap(),
        host_ip: "127.0.0.1".parse().unwrap(),
        services: &[Arc::new(service)],
        sources: &sources,
        allocatable: &BTreeMap::from([("memory".to_owned(), "1Gi".to_owned())]),
    };
    variables(&container, &around)
}

#[test]
fn values_come_from_everywhere_and_the_last_wins() {
    check(
        json!({
            "envFrom": [{ "prefix": "M_", "configMapRef": { "name": "map" } }, { "configMapRef": { "name": "none", "optional": true } }],
            "env": [
                { "name": "PLAIN", "value": "a" },
                { "name": "M_size", "value": "$(PLAIN)-$(M_color)-$$(PLAIN)-$(NOBODY)-$x" },
                { "name": "COLOR", "valueFrom": { "configMapKeyRef": { "name": "map", "key": "color" } } },
                { "name": "SECRET", "valueFrom": { "secretKeyRef": { "name": "secret", "key": "key" } } },
                { "name": "GONE", "valueFrom": { "secretKeyRef": { "name": "secret", "key": "no", "optional": true } } },
                { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                { "name": "APP", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
                { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                { "name": "MEM", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } },
                { "name": "WHERE", "value": "$(WEB_SERVICE_HOST):$(WEB_SERVICE_PORT_HTTP)" },
            ],
        }),
        &[
            ("M_color", "red"),
            ("PLAIN", "a"),
            ("M_size", "a-red-$(PLAIN)-$(NOBODY)-$x"),
            ("COLOR", "red"),
            ("SECRET", "hidden"),
            ("POD", "p"),
            ("APP", "x"),
            ("IP", "10.128.0.2"),
            ("MEM", "1024"),
            ("WHERE", "10.96.0.9:80"),
        ],
    );
}

#[test]
fn what_is_missing_is_said_in_kubernetes_words() {
    let rows = [
        (json!({ "envFrom": [{ "configMapRef": { "name": "none" } }] }), "configmap \"none\" not found"),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "map", "key": "no" } } }] }),
            "couldn't find key no in ConfigMap ns/map",
        ),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "no", "key": "no" } } }] }),
            "secret \"no\" not found",
        ),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "secret", "key": "no" } } }] }),
            "couldn't find key no in Secret ns/secret",
        ),
    ];
    for (container, text) in rows {
        assert_eq!(made(container).unwrap_err().to_string(), text);
    }
}

#[test]
fn arguments_begin_with_the_program() {
    let container: Container =
        serde_json::from_value(json!({ "name": "c", "args": ["--to=$(WHO)", "$$(WHO)"] })).unwrap();
    let environment = [("WHO".to_owned(), "you".to_owned())];
    assert_eq!(arguments(&container, "hello", &environment), ["hello", "--to=you", "$(WHO)"]);
    let container: Container = serde_json::from_value(json!({ "name": "c", "command": ["run", "$(WHO)"] })).unwrap();
    assert_eq!(arguments(&container, "hello", &environment), ["run", "you"]);
}
