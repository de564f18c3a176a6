//! Deployments and ReplicaSets.

use super::*;

fn deployment() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "hello", "resources": {"limits": {"cpu": "10m"}}}]},
            },
        },
    })
}

#[test]
fn a_new_deployment_is_filled_in() {
    let made = created("apps/deployments", deployment());
    let spec = &made["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
    assert_eq!(spec["strategy"], rolling);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Always");
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "Always");
    // Requests follow from limits in pods, not in templates.
    assert_eq!(pod["containers"][0]["resources"], json!({"limits": {"cpu": "10m"}}));
    assert!(pod.get("enableServiceLinks").is_none());
    assert_eq!(made["status"], json!({}));
}

#[test]
fn bad_deployments_are_told_what_is_wrong() {
    check_faults(
        "apps/deployments",
        &deployment(),
        &[
            (
                "/spec/selector",
                Value::Null,
                &[
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                "/spec/selector",
                json!({}),
                &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (
                "/spec/selector/matchLabels/app",
                json!("api"),
                &[
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                ],
            ),
            ("/spec/replicas", json!(-1), &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
            ("/spec/template/spec/containers", json!([]), &["spec.template.spec.containers: Required value"]),
            (
                "/spec/template/spec/restartPolicy",
                json!("Never"),
                &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
            (
                "/spec/template/spec/activeDeadlineSeconds",
                json!(5),
                &[
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
                ],
            ),
            (
                "/spec/strategy",
                json!({"type": "Slowly"}),
                &[
                    "spec.strategy: Unsupported value: {\"type\":\"Slowly\"}: supported values: \"Recreate\", \"RollingUpdate\"",
                ],
            ),
            (
                "/spec/strategy",
                json!({"type": "Recreate", "rollingUpdate": {}}),
                &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            ),
            (
                "/spec/strategy",
                json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
                &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
            ),
            (
                "/spec/strategy",
                json!({"rollingUpdate": {"maxSurge": "10", "maxUnavailable": "101%"}}),
                &[
                    "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"10\": a valid percent string must be",
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                ],
            ),
            (
                "/spec/progressDeadlineSeconds",
                json!(0),
                &["spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds"],
            ),
            (
                "/spec/minReadySeconds",
                json!(600),
                &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
            ),
        ],
    );
}

#[test]
fn a_selector_stays_what_it_is() {
    for kind in ["apps/deployments", "apps/replicasets"] {
        let old = created(kind, deployment());
        assert_eq!(faults(kind, deployment(), Some(&old)), Vec::<String>::new(), "{kind}");
        let mut new = deployment();
        new["spec"]["selector"]["matchLabels"]["tier"] = json!("x");
        new["spec"]["template"]["metadata"]["labels"]["tier"] = json!("x");
        let found = faults(kind, new, Some(&old));
        let expected =
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"tier\":\"x\"}}: field is immutable";
        assert_eq!(found, [expected], "{kind}");
    }
}

#[test]
fn a_status_of_replica_sets_adds_up() {
    let behaviour = &find("apps/replicasets").behaviour;
    let faults = |status: Value| {
        let found = behaviour.validate_status(&json!({"status": status}), &json!({}));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(faults(json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1})).is_empty());
    assert_eq!(
        faults(json!({"replicas": 1, "readyReplicas": 2})),
        ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]
    );
    assert_eq!(faults(json!({"replicas": -1})).len(), 4);
}

#[test]
fn scale_is_where_clients_look_for_it() {
    for kind in ["apps/deployments", "apps/replicasets"] {
        let scale = find(kind).scale.clone().expect("it scales");
        assert_eq!(scale.spec_replicas, "/spec/replicas");
        assert_eq!(scale.selector.as_deref(), Some("/spec/selector"));
    }
}
