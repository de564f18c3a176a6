//! ConfigMaps, Secrets, Namespaces, Nodes, Leases, Events.

use super::*;

#[test]
fn config_maps_have_file_names_and_a_limit() {
    let good = json!({"metadata": {"name": "a"}, "data": {"a.txt": "x"}, "binaryData": {"b.bin": "AAEC"}});
    check_faults(
        "configmaps",
        &good,
        &[
            (
                "/data/a b",
                json!("x"),
                &[
                    "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ],
            ),
            ("/data/..", json!("x"), &["data[..]: Invalid value: \"..\": must not be '..'"]),
            (
                "/data/b.bin",
                json!("x"),
                &["data[b.bin]: Invalid value: \"b.bin\": duplicate of key present in binaryData"],
            ),
            ("/data/big", json!("x".repeat(1024 * 1024)), &["[]: Too long: may not be more than 1048576 bytes"]),
            ("/binaryData/b.bin", json!("?"), &["binaryData[b.bin]: Invalid value: \"<redacted>\": must be base64"]),
        ],
    );
    let fits = changed(&good, "/data/a.txt", &json!("x".repeat(1024 * 1024 - 3)));
    assert_eq!(faults("configmaps", fits, None), Vec::<String>::new());
}

#[test]
fn what_is_immutable_stays() {
    let old = json!({"metadata": {"name": "a"}, "immutable": true, "data": {"a": "eA=="}});
    for kind in ["configmaps", "secrets"] {
        let old = created(kind, old.clone());
        assert_eq!(faults(kind, old.clone(), Some(&old)), Vec::<String>::new());
        let told = "Forbidden: field is immutable when `immutable` is set";
        assert_eq!(faults(kind, changed(&old, "/data/a", &json!("eQ==")), Some(&old)), [format!("data: {told}")]);
        assert_eq!(faults(kind, changed(&old, "/immutable", &Value::Null), Some(&old)), [format!("immutable: {told}")]);
    }
}

#[test]
fn secrets_take_plain_text_and_keep_base64() {
    let made = created(
        "secrets",
        json!({"metadata": {"name": "a"}, "data": {"a": "eA==", "b": "eA=="}, "stringData": {"b": "y"}}),
    );
    assert_eq!(made["type"], "Opaque");
    assert_eq!(made["data"], json!({"a": "eA==", "b": "eQ=="}));
    assert!(made.get("stringData").is_none());
}

#[test]
fn secrets_of_a_type_have_its_keys() {
    let rows: [(&str, &[&str]); 6] = [
        ("kubernetes.io/tls", &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        ("kubernetes.io/basic-auth", &["data[username]: Required value", "data[password]: Required value"]),
        ("kubernetes.io/ssh-auth", &["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/dockerconfigjson", &["data[.dockerconfigjson]: Required value"]),
        (
            "kubernetes.io/service-account-token",
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("example.com/any", &[]),
    ];
    for (kind, expected) in rows {
        assert_eq!(faults("secrets", json!({"metadata": {"name": "a"}, "type": kind}), None), expected, "{kind}");
    }
    let old = json!({"metadata": {"name": "a"}, "type": "Opaque"});
    let found = faults("secrets", json!({"metadata": {"name": "a"}, "type": "x/y"}), Some(&old));
    assert_eq!(found, ["type: Invalid value: \"x/y\": field is immutable"]);
}

#[test]
fn namespaces_begin_active_with_their_finalizer_and_name() {
    let made = created("namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Odd"}}));
    assert_eq!(
        made,
        json!({
            "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        })
    );
    assert_eq!(find("namespaces").behaviour.validate_name("a.b"), ["must not contain dots"]);
}

#[test]
fn nodes_register_with_their_status() {
    let made = created("nodes", json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2000m"}}}));
    assert_eq!(made["status"], json!({"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}));
    check_faults(
        "nodes",
        &json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        &[
            (
                "/spec/taints/0/effect",
                json!("Odd"),
                &[
                    "spec.taints[0].effect: Unsupported value: \"Odd\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                ],
            ),
            ("/spec/taints/0/key", json!("a b"), &["spec.taints[0].key: Invalid value: \"a b\""]),
        ],
    );
}

#[test]
fn leases_last() {
    let good = json!({"metadata": {"name": "n"}, "spec": {"holderIdentity": "n", "leaseDurationSeconds": 40}});
    check_faults(
        "coordination.k8s.io/leases",
        &good,
        &[(
            "/spec/leaseDurationSeconds",
            json!(0),
            &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        )],
    );
}

#[test]
fn events_live_where_their_object_lives() {
    let good = json!({"metadata": {"name": "a.1", "namespace": "b"}, "involvedObject": {"namespace": "b"}});
    check_faults(
        "events",
        &good,
        &[(
            "/involvedObject/namespace",
            json!("c"),
            &["involvedObject.namespace: Invalid value: \"c\": does not match event.namespace"],
        )],
    );
    let of_node = json!({"metadata": {"name": "a.1", "namespace": "default"}, "involvedObject": {"kind": "Node"}});
    assert_eq!(faults("events", of_node, None), Vec::<String>::new());
}

#[test]
fn events_turn_into_one_another() {
    let core = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "involvedObject": {"name": "p"}, "message": "m",
        "reportingComponent": "c", "reportingInstance": "i", "source": {"component": "c"}, "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z", "type": "Normal", "reason": "r",
    });
    let mut other = core.clone();
    event::to_events(&mut other);
    assert_eq!(other["apiVersion"], "events.k8s.io/v1");
    assert_eq!(other["regarding"]["name"], "p");
    assert_eq!(other["note"], "m");
    assert_eq!(other["deprecatedCount"], 3);
    event::to_core(&mut other);
    assert_eq!(other, core);
}
