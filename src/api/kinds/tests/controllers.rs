//! StatefulSets, DaemonSets, ReplicationControllers, and what goes along with them.

use super::*;

fn workload() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "hello:1"}]},
            },
        },
    })
}

fn stateful_set() -> Value {
    let mut object = workload();
    object["spec"]["serviceName"] = json!("web");
    object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    object["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    object
}

#[test]
fn a_new_stateful_set_is_filled_in() {
    let made = created("apps/statefulsets", stateful_set());
    let spec = &made["spec"];
    assert_eq!(spec["podManagementPolicy"], "OrderedReady");
    assert_eq!(
        spec["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}})
    );
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
    assert_eq!(spec["replicas"], 1);
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(claim["kind"], "PersistentVolumeClaim");
    assert_eq!(claim["status"], json!({"phase": "Pending"}));
    assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
    assert_eq!(made["status"], json!({"replicas": 0, "availableReplicas": 0}));
}

#[test]
fn bad_stateful_sets_are_told_what_is_wrong() {
    check_faults(
        "apps/statefulsets",
        &stateful_set(),
        &[
            (
                "/spec/podManagementPolicy",
                json!("Any"),
                &["spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'"],
            ),
            (
                "/spec/updateStrategy",
                json!({"type": "OnDelete", "rollingUpdate": {}}),
                &[
                    "spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'",
                ],
            ),
            (
                "/spec/updateStrategy",
                json!({"rollingUpdate": {"maxUnavailable": 0}}),
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"],
            ),
            (
                "/spec/selector",
                json!({}),
                &["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
            ),
            (
                "/spec/template/spec/activeDeadlineSeconds",
                json!(5),
                &[
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
                ],
            ),
            (
                "/spec/volumeClaimTemplates",
                json!([]),
                &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
            ),
            (
                "/spec/persistentVolumeClaimRetentionPolicy",
                json!({"whenScaled": "Keep"}),
                &[
                    "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\"",
                ],
            ),
        ],
    );
    let old = created("apps/statefulsets", stateful_set());
    let change = |pointer: &str, value: Value| {
        faults("apps/statefulsets", changed(&stateful_set(), pointer, &value), Some(&old))
    };
    assert!(change("/spec/replicas", json!(3)).is_empty());
    assert!(change("/spec/minReadySeconds", json!(3)).is_empty());
    assert_eq!(
        change("/spec/serviceName", json!("other")),
        ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"]
    );
    assert_eq!(headings("apps/statefulsets"), "NAME READY AGE (CONTAINERS) (IMAGES)");
}

#[test]
fn daemon_sets_count_their_templates() {
    let kind = "apps/daemonsets";
    let made = created(kind, workload());
    let generation =
        |object: &Value| object["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
    assert_eq!(generation(&made), "1");
    assert_eq!(
        made["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    );
    let mut new = made.clone();
    new["metadata"].as_object_mut().expect("it is an object").remove("annotations");
    find(kind).behaviour.prepare_update(&mut new, &made);
    assert_eq!(generation(&new), "1");
    new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("hello:2");
    find(kind).behaviour.prepare_update(&mut new, &made);
    assert_eq!(generation(&new), "2");
    assert_eq!(
        headings(kind),
        "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE (CONTAINERS) (IMAGES) (SELECTOR)"
    );
    assert_eq!(cells(kind, &made, false)[1..7], [json!(0), json!(0), json!(0), json!(0), json!(0), json!("<none>")]);
}

#[test]
fn bad_daemon_sets_are_told_what_is_wrong() {
    check_faults(
        "apps/daemonsets",
        &workload(),
        &[
            (
                "/spec/selector",
                Value::Null,
                &[
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                "/spec/selector",
                json!({}),
                &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"],
            ),
            (
                "/spec/updateStrategy",
                json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}),
                &[
                    "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
                ],
            ),
            (
                "/spec/updateStrategy",
                json!({"rollingUpdate": {"maxUnavailable": "0%"}}),
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
            ),
            (
                "/spec/template/spec/restartPolicy",
                json!("Never"),
                &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
        ],
    );
}

fn replication_controller() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "hello:1"}]},
        }},
    })
}

#[test]
fn a_replication_controller_takes_its_labels_from_its_template() {
    let kind = "replicationcontrollers";
    let made = created(kind, replication_controller());
    assert_eq!(made["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(made["spec"]["selector"], json!({"app": "web"}));
    assert_eq!(made["spec"]["replicas"], 1);
    assert_eq!(made["status"], json!({"replicas": 0}));
    check_faults(
        kind,
        &replication_controller(),
        &[
            ("/spec/template", Value::Null, &["spec.selector: Required value", "spec.template: Required value"]),
            (
                "/spec/selector",
                json!({"app": "api"}),
                &[
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                ],
            ),
        ],
    );
    assert!(find(kind).behaviour.orphans_dependents());
    let shown = cells(kind, &made, true);
    assert_eq!(shown[1..4], [json!(1), json!(0), json!(0)]);
    assert_eq!(shown[5..], ["main", "hello:1", "app=web"].map(Value::from));
}

#[test]
fn revisions_and_templates() {
    let revision = json!({
        "metadata": {"name": "a", "namespace": "b", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "uid": "1", "controller": true}
        ]},
        "revision": 2, "data": {"spec": 1},
    });
    let kind = "apps/controllerrevisions";
    check_faults(
        kind,
        &revision,
        &[
            ("/data", Value::Null, &["data: Required value: data is mandatory"]),
            ("/revision", json!(-1), &["revision: Invalid value: -1: must be greater than or equal to 0"]),
        ],
    );
    assert_eq!(
        faults(kind, changed(&revision, "/data", &json!({"spec": 2})), Some(&revision)),
        ["data: Invalid value: {\"spec\":2}: field is immutable"]
    );
    assert_eq!(cells(kind, &revision, false)[1..3], ["daemonset.apps/web", "2"].map(Value::from));
    let template = json!({
        "metadata": {"name": "a", "namespace": "b"},
        "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "main", "image": "hello:1"}]}},
    });
    let made = created("podtemplates", template.clone());
    assert_eq!(made["template"]["spec"]["restartPolicy"], "Always");
    assert_eq!(cells("podtemplates", &made, false), ["a", "main", "hello:1", "x=y"].map(Value::from));
    check_faults(
        "podtemplates",
        &template,
        &[("/template/spec/containers", json!([]), &["template.spec.containers: Required value"])],
    );
}
