//! Volumes and claims, quotas and limits.

use super::*;

fn claim() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"},
    })
}

fn volume() -> Value {
    json!({
        "metadata": {"name": "a"},
        "spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "hostPath": {"path": "/tmp/a"}},
    })
}

#[test]
fn claims_are_filled_in_and_checked() {
    let kind = "persistentvolumeclaims";
    let made = created(kind, claim());
    assert_eq!(made["spec"]["volumeMode"], "Filesystem");
    assert_eq!(made["status"], json!({"phase": "Pending"}));
    check_faults(
        kind,
        &claim(),
        &[
            ("/spec/accessModes", json!([]), &["spec.accessModes: Required value: at least 1 access mode is required"]),
            (
                "/spec/accessModes",
                json!(["Often"]),
                &[
                    "spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                ],
            ),
            (
                "/spec/accessModes",
                json!(["ReadWriteOncePod", "ReadWriteOnce"]),
                &["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
            ),
            ("/spec/resources", json!({}), &["spec.resources[storage]: Required value"]),
            (
                "/spec/resources/requests/storage",
                json!("0"),
                &["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"],
            ),
            (
                "/spec/volumeMode",
                json!("Tape"),
                &["spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\""],
            ),
        ],
    );
}

#[test]
fn a_claim_changes_only_to_be_bound_and_to_grow() {
    let kind = "persistentvolumeclaims";
    let mut old = created(kind, claim());
    let change = |old: &Value, pointer: &str, value: Value| faults(kind, changed(old, pointer, &value), Some(old));
    assert!(change(&old, "/spec/volumeName", json!("v")).is_empty());
    let start = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n";
    assert!(change(&old, "/spec/storageClassName", json!("slow"))[0].starts_with(start));
    assert!(change(&old, "/spec/resources/requests/storage", json!("2Gi"))[0].starts_with(start));
    old["spec"]["volumeName"] = json!("v");
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
    assert!(change(&old, "/spec/resources/requests/storage", json!("2Gi")).is_empty());
    assert_eq!(
        change(&old, "/spec/resources/requests/storage", json!("1Mi")),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    assert!(!change(&old, "/spec/volumeName", json!("w")).is_empty());
    assert_eq!(
        headings(kind),
        "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE (VOLUMEMODE)"
    );
    let shown = cells(kind, &old, true);
    assert_eq!(shown[1..7], ["Bound", "v", "1Gi", "RWO", "fast", "<unset>"].map(Value::from));
    assert_eq!(shown[8], "Filesystem");
}

#[test]
fn volumes_are_filled_in_checked_and_printed() {
    let kind = "persistentvolumes";
    let made = created(kind, volume());
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(made["spec"]["capacity"]["storage"], "1Gi");
    assert_eq!(made["spec"]["hostPath"]["type"], "");
    assert_eq!(made["status"]["phase"], "Pending");
    check_faults(
        kind,
        &volume(),
        &[
            (
                "/spec/capacity",
                Value::Null,
                &[
                    "spec.capacity: Required value",
                    "spec.capacity: Unsupported value: null: supported values: \"storage\"",
                ],
            ),
            ("/spec/accessModes", Value::Null, &["spec.accessModes: Required value"]),
            ("/spec/hostPath", Value::Null, &["spec: Required value: must specify a volume type"]),
            (
                "/spec/nfs",
                json!({"server": "a", "path": "/"}),
                &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
            ),
            (
                "/spec/hostPath/path",
                json!("/a/../b"),
                &["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
            ),
            (
                "/spec/persistentVolumeReclaimPolicy",
                json!("Burn"),
                &[
                    "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Burn\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
                ],
            ),
        ],
    );
    let mut new = made.clone();
    new["spec"]["hostPath"]["path"] = json!("/tmp/b");
    assert!(faults(kind, new, Some(&made))[0].starts_with(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
    ));
    assert_eq!(
        headings(kind),
        "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE (VOLUMEMODE)"
    );
    let mut bound = made;
    bound["spec"]["claimRef"] = json!({"namespace": "n", "name": "c"});
    bound["status"]["phase"] = json!("Bound");
    let expected = ["a", "1Gi", "RWO,ROX", "Retain", "Bound", "n/c", "", "<unset>", ""].map(Value::from);
    assert_eq!(cells(kind, &bound, false)[..9], expected);
}

#[test]
fn quotas_count_what_can_be_counted() {
    let kind = "resourcequotas";
    let good = json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"hard": {"pods": "10", "requests.cpu": "1000m", "limits.memory": "1Gi", "count/deployments.apps": "2", "requests.nvidia.com/gpu": 4}},
    });
    let made = created(kind, good.clone());
    assert_eq!(made["spec"]["hard"]["requests.cpu"], "1");
    check_faults(
        kind,
        &good,
        &[
            (
                "/spec/hard/apples",
                json!("1"),
                &[
                    "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource type or fully qualified",
                    "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource for quota",
                ],
            ),
            (
                "/spec/hard/pods",
                json!("-1"),
                &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
            ("/spec/hard/pods", json!("1500m"), &["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"]),
            ("/spec/scopes", json!(["Now"]), &["spec.scopes: Invalid value: [\"Now\"]: unsupported scope"]),
        ],
    );
    let scoped =
        json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}});
    assert_eq!(faults(kind, scoped.clone(), None), Vec::<String>::new());
    let old = created(kind, scoped.clone());
    assert_eq!(
        faults(kind, changed(&scoped, "/spec/scopes", &json!(["Terminating"])), Some(&old)),
        ["spec.scopes: Invalid value: [\"Terminating\"]: field is immutable"]
    );
    let clash = changed(&scoped, "/spec/scopes", &json!(["BestEffort", "NotBestEffort"]));
    assert!(
        faults(kind, clash, None)
            .contains(&"spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes".to_owned())
    );
    assert_eq!(headings(kind), "NAME REQUEST LIMIT AGE");
    let mut used = made;
    used["status"] = json!({"hard": used["spec"]["hard"], "used": {"pods": "3"}});
    let shown = cells(kind, &used, false);
    assert_eq!(shown[1], "count/deployments.apps: 0/2, pods: 3/10, requests.cpu: 0/1, requests.nvidia.com/gpu: 0/4");
    assert_eq!(shown[2], "limits.memory: 0/1Gi");
}

#[test]
fn limits_are_in_order() {
    let kind = "limitranges";
    let good = json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m", "memory": "1Mi"}}]},
    });
    let limit = created(kind, good.clone())["spec"]["limits"][0].clone();
    assert_eq!(limit["default"], json!({"cpu": "2"}));
    assert_eq!(limit["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
    check_faults(
        kind,
        &good,
        &[
            (
                "/spec/limits/0/type",
                json!("Thing"),
                &["spec.limits[0].type: Invalid value: \"Thing\": must be a standard limit type or fully qualified"],
            ),
            (
                "/spec/limits/0/default",
                json!({"cpu": "3"}),
                &[
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater than max value 2",
                    "spec.limits[0].default[cpu]: Invalid value: \"2\": default value 3 is greater than max value 2",
                ],
            ),
            (
                "/spec/limits/0/maxLimitRequestRatio",
                json!({"cpu": "30"}),
                &[
                    "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"30\": ratio 30 is greater than max/min = 20.000000",
                ],
            ),
            (
                "/spec/limits/0",
                json!({"type": "Pod", "default": {"cpu": "1"}}),
                &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
            ),
            (
                "/spec/limits/0",
                json!({"type": "PersistentVolumeClaim"}),
                &[
                    "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
                ],
            ),
        ],
    );
    assert_eq!(headings(kind), "NAME CREATED AT");
}
