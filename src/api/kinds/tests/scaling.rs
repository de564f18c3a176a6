//! Autoscalers in both their forms, and disruption budgets.

use super::*;

fn autoscaler() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    })
}

const V2: &str = "autoscaling/horizontalpodautoscalers@v2";
const V1: &str = "autoscaling/horizontalpodautoscalers";

#[test]
fn a_new_autoscaler_aims_at_the_processor() {
    let made = created(V2, autoscaler());
    assert_eq!(made["spec"]["minReplicas"], 1);
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
    assert_eq!(made["spec"]["metrics"], json!([cpu]));
    assert_eq!(made["status"], json!({"desiredReplicas": 0, "currentMetrics": null}));
    assert!(made["spec"].get("behavior").is_none());
}

#[test]
fn half_a_behaviour_is_completed() {
    let mut object = autoscaler();
    object["spec"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    let behavior = &created(V2, object)["spec"]["behavior"];
    let all = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let four = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    assert_eq!(
        behavior["scaleUp"],
        json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [four, all]})
    );
    assert_eq!(
        behavior["scaleDown"],
        json!({"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": [all]})
    );
}

#[test]
fn bad_autoscalers_are_told_what_is_wrong() {
    check_faults(
        V2,
        &autoscaler(),
        &[
            (
                "/spec/minReplicas",
                json!(0),
                &[
                    "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
                ],
            ),
            (
                "/spec/minReplicas",
                json!(-1),
                &["spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                "/spec/maxReplicas",
                json!(0),
                &[
                    "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                    "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                ],
            ),
            ("/spec/scaleTargetRef/kind", Value::Null, &["spec.scaleTargetRef.kind: Required value"]),
            (
                "/spec/scaleTargetRef/name",
                json!(".."),
                &["spec.scaleTargetRef.name: Invalid value: \"..\": may not be '..'"],
            ),
            (
                "/spec/metrics",
                json!([{"type": "Pods", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}]),
                &[
                    "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                    "spec.metrics[0].pods: Required value: must populate information for the given metric source",
                ],
            ),
            (
                "/spec/metrics",
                json!([{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "", "target": {"type": "Value", "value": "1"}}}]),
                &[
                    "spec.metrics[0].containerResource.container: Required value: must specify a container",
                    "spec.metrics[0].containerResource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
                ],
            ),
            (
                "/spec/behavior",
                json!({"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "Most", "policies": []}}),
                &[
                    "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                    "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Most\": supported values: \"Disabled\", \"Max\", \"Min\"",
                    "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
                ],
            ),
        ],
    );
}

/// What `kind` shows of an object that is stored.
fn shown(stored: &Value) -> Value {
    let mut object = stored.clone();
    (find(V1).form.as_ref().expect("it is a form").from_stored)(&mut object);
    object
}

fn sent(shown: &Value) -> Value {
    let mut object = shown.clone();
    (find(V1).form.as_ref().expect("it is a form").to_stored)(&mut object);
    object
}

#[test]
fn the_older_form_keeps_all_that_it_has_no_fields_for() {
    let mut object = autoscaler();
    object["apiVersion"] = json!("autoscaling/v2");
    object["metadata"]["annotations"] = json!({"mine": "x"});
    let selector = json!({"matchLabels": {"q": "1"}});
    object["spec"]["metrics"] = json!([
        {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": selector}, "target": {"type": "AverageValue", "averageValue": "10"}}},
        {"type": "Object", "object": {"metric": {"name": "hits"}, "describedObject": {"kind": "Service", "name": "s"}, "target": {"type": "Value", "value": "1k"}}},
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "30"}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "main", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
    ]);
    object["spec"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    let mut stored = created(V2, object);
    stored["status"] = json!({
        "desiredReplicas": 2, "currentReplicas": 1,
        "conditions": [{"type": "AbleToScale", "status": "True"}],
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "3m"}}}],
    });
    let old = shown(&stored);
    assert_eq!(old["apiVersion"], "autoscaling/v1");
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 7);
    assert!(old["spec"].get("metrics").is_none());
    let notes = &old["metadata"]["annotations"];
    assert_eq!(notes["mine"], "x");
    let read = |key: &str| -> Value {
        let text = notes[format!("autoscaling.alpha.kubernetes.io/{key}")].as_str().expect("a text");
        serde_json::from_str(text).expect("JSON")
    };
    assert_eq!(
        read("metrics")[0],
        json!({"type": "Pods", "pods": {"metricName": "rps", "selector": selector, "targetAverageValue": "10"}})
    );
    assert_eq!(read("behavior")["ScaleDown"]["StabilizationWindowSeconds"], 60);
    assert_eq!(read("conditions")[0]["type"], "AbleToScale");
    assert_eq!(sent(&old), stored);
}

#[test]
fn the_older_form_can_be_written() {
    let mut object = autoscaler();
    object["spec"]["targetCPUUtilizationPercentage"] = json!(70);
    let stored = created(V2, sent(&object));
    assert_eq!(stored["apiVersion"], "autoscaling/v2");
    assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
    assert_eq!(shown(&stored)["spec"]["targetCPUUtilizationPercentage"], 70);
    assert!(shown(&stored)["metadata"].get("annotations").is_none());
    // Without a share the processor's default is aimed at.
    assert_eq!(created(V2, sent(&autoscaler()))["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
}

#[test]
fn autoscalers_print_their_targets() {
    assert_eq!(headings(V2), "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE");
    let mut made = created(V2, autoscaler());
    made["metadata"]["creationTimestamp"] = json!("2026-01-01T00:59:00Z");
    let expected = [
        json!("a"),
        json!("Deployment/web"),
        json!("cpu: <unknown>/80%"),
        json!("1"),
        json!("5"),
        json!("0"),
        json!("60s"),
    ];
    assert_eq!(cells(V2, &made, false), expected);
    assert_eq!(cells(V1, &shown(&made), false), expected);
    made["status"]["currentMetrics"] =
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]);
    assert_eq!(cells(V2, &made, false)[2], "cpu: 7%/80%");
    let metric = made["spec"]["metrics"][0].clone();
    made["spec"]["metrics"] = json!([metric, metric, metric]);
    assert_eq!(cells(V2, &made, false)[2], "cpu: 7%/80%, cpu: <unknown>/80% + 1 more...");
}

fn budget() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    })
}

#[test]
fn budgets_are_checked_and_printed() {
    let kind = "policy/poddisruptionbudgets";
    check_faults(
        kind,
        &budget(),
        &[
            (
                "/spec/maxUnavailable",
                json!(1),
                &[
                    "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"app\":\"web\"}}}: minAvailable and maxUnavailable cannot be both set",
                ],
            ),
            (
                "/spec/minAvailable",
                json!("101%"),
                &["spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            (
                "/spec/minAvailable",
                json!(-1),
                &["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                "/spec/unhealthyPodEvictionPolicy",
                json!("Never"),
                &[
                    "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
                ],
            ),
        ],
    );
    let mut made = created(kind, budget());
    made["metadata"]["creationTimestamp"] = json!("2026-01-01T00:59:00Z");
    assert_eq!(
        made["status"],
        json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
    );
    assert_eq!(headings(kind), "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE");
    assert_eq!(cells(kind, &made, false), [json!("a"), json!("1"), json!("N/A"), json!(0), json!("60s")]);
    let bad =
        json!({"status": {"currentHealthy": -1, "conditions": [{"type": "x", "status": "Maybe", "reason": "9"}]}});
    let found = find(kind).behaviour.validate_status(&bad, &json!({}));
    let fields: Vec<&str> = found.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "status.conditions[0].status",
            "status.conditions[0].lastTransitionTime",
            "status.conditions[0].reason",
            "status.currentHealthy"
        ]
    );
}
