//! LimitRanges against pods and claims, by table.

use super::*;

fn range(item: Value) -> Value {
    json!({ "spec": { "limits": [item] } })
}

fn pod(resources: Value) -> Value {
    json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "a", "resources": resources }] } })
}

#[test]
fn what_a_container_does_not_say_is_filled_in_and_noted() {
    let range = range(json!({
        "type": "Container",
        "default": { "cpu": "500m", "memory": "512Mi" },
        "defaultRequest": { "cpu": "100m", "memory": "256Mi" },
    }));
    let mut object = pod(json!({ "requests": { "cpu": "200m" } }));
    object["spec"]["initContainers"] =
        json!([{ "name": "i", "resources": { "limits": { "cpu": "1", "memory": "1Gi" } } }]);
    fill_in(&mut object, &range);
    let resources = &object["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({ "cpu": "200m", "memory": "256Mi" }));
    assert_eq!(resources["limits"], json!({ "cpu": "500m", "memory": "512Mi" }));
    assert_eq!(
        object["metadata"]["annotations"][ANNOTATION],
        "LimitRanger plugin set: memory request for container a; cpu, memory limit for container a; \
         cpu, memory request for init container i"
    );
}

#[test]
fn faults_are_worded_as_kubernetes_words_them() {
    let of = |kind: &str, field: &str, what: Value| range(json!({ "type": kind, field: what }));
    let full = |request: &str, limit: &str| json!({ "requests": { "cpu": request }, "limits": { "cpu": limit } });
    for (range, resources, wanted) in [
        (of("Container", "min", json!({ "cpu": "100m" })), full("200m", "1"), ""),
        (
            of("Container", "min", json!({ "cpu": "100m" })),
            full("50m", "1"),
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            of("Container", "min", json!({ "cpu": "100m" })),
            json!({}),
            "minimum cpu usage per Container is 100m.  No request is specified",
        ),
        (
            of("Container", "max", json!({ "cpu": "1" })),
            full("1", "2"),
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            of("Pod", "max", json!({ "cpu": "1" })),
            json!({ "requests": { "cpu": "1" } }),
            "maximum cpu usage per Pod is 1.  No limit is specified",
        ),
        (
            of("Container", "maxLimitRequestRatio", json!({ "cpu": "4" })),
            full("200m", "1"),
            "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000",
        ),
        (
            of("Pod", "maxLimitRequestRatio", json!({ "cpu": "4" })),
            json!({ "limits": { "cpu": "1" } }),
            "cpu max limit to request ratio per Pod is 4, but no request is specified or request is 0",
        ),
    ] {
        assert_eq!(faults("pods", &pod(resources), &range).join(", "), wanted, "{range}");
    }
}

#[test]
fn claims_have_a_least_and_a_most() {
    let range = range(json!({
        "type": "PersistentVolumeClaim", "min": { "storage": "2Gi" }, "max": { "storage": "4Gi" },
    }));
    let claim = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    for (size, wanted) in [
        ("3Gi", ""),
        ("1Gi", "minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi"),
        ("8Gi", "maximum storage usage per PersistentVolumeClaim is 4Gi, but request is 8Gi"),
    ] {
        assert_eq!(faults("persistentvolumeclaims", &claim(size), &range).join(", "), wanted);
    }
}
