//! The levels, by table.

use serde_json::{Value, json};

use super::*;

fn told(level: Level, spec: &Value) -> String {
    let standard = Standard { level, version: "latest".to_owned() };
    sentence(&standard.violations(&json!({}), spec))
}

#[test]
fn the_baseline_is_held() {
    let one = |container: Value| json!({ "containers": [container] });
    for (spec, wanted) in [
        (one(json!({ "name": "a" })), ""),
        (json!({ "hostNetwork": true, "hostPID": true }), "host namespaces (hostNetwork=true, hostPID=true)"),
        (
            one(json!({ "name": "a", "securityContext": { "privileged": true } })),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            one(json!({ "name": "a", "ports": [{ "hostPort": 80 }, { "hostPort": 443 }] })),
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            one(json!({ "name": "a", "securityContext": { "capabilities": { "add": ["SYS_ADMIN", "CHOWN"] } } })),
            "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (json!({ "volumes": [{ "name": "v", "hostPath": { "path": "/" } }] }), "hostPath volumes (volume \"v\")"),
        (
            json!({ "securityContext": { "sysctls": [{ "name": "net.ipv4.tcp_syncookies" }, { "name": "kernel.msgmax" }] } }),
            "forbidden sysctls (kernel.msgmax)",
        ),
    ] {
        assert_eq!(told(Level::Baseline, &spec), wanted);
    }
}

#[test]
fn the_restricted_level_wants_to_be_told() {
    let spec = json!({ "containers": [{ "name": "a" }, { "name": "b" }] });
    assert_eq!(
        told(Level::Restricted, &spec),
        "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (containers \"a\", \"b\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or containers \"a\", \"b\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or containers \"a\", \"b\" must set securityContext.seccompProfile.type to \
         \"RuntimeDefault\" or \"Localhost\")"
    );
    let hardened = json!({
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "a",
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        }],
    });
    assert_eq!(told(Level::Restricted, &hardened), "");
    assert_eq!(told(Level::Privileged, &spec), "");
}

#[test]
fn labels_are_read_strictly() {
    let namespace = |labels: Value| json!({ "metadata": { "labels": labels } });
    let faults = |labels: Value| label_faults(&namespace(labels)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(faults(json!({ "pod-security.kubernetes.io/enforce": "baseline" })).is_empty());
    assert!(faults(json!({ "pod-security.kubernetes.io/enforce-version": "v1.30" })).is_empty());
    assert_eq!(
        faults(json!({ "pod-security.kubernetes.io/warn": "strict" })),
        ["metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"strict\": \
          must be one of privileged, baseline, restricted"]
    );
    assert_eq!(faults(json!({ "pod-security.kubernetes.io/audit-version": "1.30" })).len(), 1);
}
