//! Rich objects of each kind with any one field replaced by something odd: nothing panics, and defaults stay what they are.

use super::*;

fn pod_spec() -> Value {
    json!({
        "hostNetwork": true, "os": {"name": "linux"}, "schedulingGates": [{"name": "wait"}], "resources": {"limits": {"cpu": "2"}},
        "securityContext": {"runAsUser": 1, "sysctls": [{"name": "a.b", "value": "1"}], "seccompProfile": {"type": "Localhost", "localhostProfile": "x"}},
        "nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}], "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "imagePullSecrets": [{"name": "x"}], "dnsConfig": {"nameservers": ["10.0.0.1"], "options": [{"name": "x"}]},
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["app"]}}]},
        },
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "minDomains": 1}],
        "volumes": [
            {"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "b", "hostPath": {"path": "/a"}},
            {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
            {"name": "d", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}},
            {"name": "e", "image": {"reference": "a:1"}},
        ],
        "initContainers": [{"name": "side", "image": "a", "restartPolicy": "Always"}],
        "containers": [{
            "name": "main", "image": "a:1", "ports": [{"containerPort": 80, "name": "http"}], "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
            "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [{"name": "a", "mountPath": "/a"}], "livenessProbe": {"httpGet": {"port": "http"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"add": ["X"]}}, "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
        }],
        "ephemeralContainers": [{"name": "debug", "image": "a"}],
    })
}

fn samples() -> Vec<(&'static str, Value)> {
    let template = json!({"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}});
    let workload = json!({
        "replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template,
        "strategy": {"rollingUpdate": {"maxSurge": "10%"}}, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "partition": 1}},
        "volumeClaimTemplates": [{"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"]}}], "ordinals": {"start": 1},
    });
    let counts = json!({"replicas": 1, "readyReplicas": 1, "collisionCount": 1, "conditions": [{"type": "Available", "status": "True"}]});
    let job = json!({
        "completionMode": "Indexed", "completions": 5, "parallelism": 2, "backoffLimitPerIndex": 1, "maxFailedIndexes": 1, "suspend": true,
        "managedBy": "a.b/c", "template": template,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}, {"action": "Ignore", "onPodConditions": [{"type": "X"}]}]},
        "successPolicy": {"rules": [{"succeededIndexes": "0-2,4", "succeededCount": 1}]},
    });
    let done = json!({
        "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z", "succeeded": 1, "failed": 1, "active": 0, "completedIndexes": "0,2-3",
        "failedIndexes": "1", "uncountedTerminatedPods": {"succeeded": ["a"]}, "conditions": [{"type": "Complete", "status": "True"}], "ready": 1,
    });
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "dataSource": {"kind": "X", "name": "y", "apiGroup": "g"}});
    let volume = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.b", "volumeHandle": "x"}, "claimRef": {"name": "a", "namespace": "b"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}},
    });
    let scaler = json!({
        "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}]}},
        "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "a", "selector": {}}, "target": {"type": "AverageValue", "averageValue": "1"}}},
            {"type": "Object", "object": {"metric": {"name": "a"}, "describedObject": {"kind": "A", "name": "b"}, "target": {"type": "Value", "value": "1"}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 1}}},
        ],
    });
    let seen = json!({
        "currentReplicas": 1, "desiredReplicas": 1, "conditions": [{"type": "AbleToScale", "status": "True"}],
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 1, "averageValue": "1"}}}],
    });
    let hard = json!({"pods": "1", "limits.cpu": "1"});
    let service = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30000, "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "ports": [{"port": 80, "nodePort": 30080, "appProtocol": "http"}], "sessionAffinity": "ClientIP", "clusterIP": "10.0.0.1",
        "ipFamilies": ["IPv4"], "externalIPs": ["1.2.3.4"], "selector": {"app": "web"},
    });
    let scopes = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]});
    let limits =
        json!([{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}}]);
    let budget = json!({"minAvailable": "50%", "selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}});
    vec![
        (
            "pods",
            json!({"spec": pod_spec(), "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [{"name": "main", "state": {"running": {}}}]}}),
        ),
        ("podtemplates", json!({"template": template})),
        (
            "replicationcontrollers",
            json!({"spec": {"replicas": 1, "selector": {"app": "web"}, "template": template}, "status": counts}),
        ),
        ("apps/deployments", json!({"spec": workload, "status": counts})),
        ("apps/replicasets", json!({"spec": workload, "status": counts})),
        ("apps/statefulsets", json!({"spec": workload, "status": counts})),
        ("apps/daemonsets", json!({"spec": workload, "status": counts})),
        ("apps/controllerrevisions", json!({"revision": 1, "data": {"a": 1}})),
        ("batch/jobs", json!({"spec": job, "status": done})),
        (
            "batch/cronjobs",
            json!({"spec": {"schedule": "* * * * *", "timeZone": "Etc/UTC", "jobTemplate": {"spec": job}}, "status": {"active": [{}], "lastScheduleTime": "2026-01-01T00:00:00Z"}}),
        ),
        ("persistentvolumes", json!({"spec": volume, "status": {"phase": "Bound"}})),
        (
            "persistentvolumeclaims",
            json!({"spec": claim, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
        ),
        (
            "resourcequotas",
            json!({"spec": {"hard": hard, "scopes": ["NotTerminating"], "scopeSelector": scopes}, "status": {"hard": hard, "used": hard}}),
        ),
        ("limitranges", json!({"spec": {"limits": limits}})),
        ("autoscaling/horizontalpodautoscalers@v2", json!({"spec": scaler, "status": seen})),
        (
            "autoscaling/horizontalpodautoscalers",
            json!({"spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}, "status": {"currentCPUUtilizationPercentage": 1}}),
        ),
        (
            "policy/poddisruptionbudgets",
            json!({"spec": budget, "status": {"conditions": [{"type": "a", "status": "True", "reason": "b"}]}}),
        ),
        (
            "services",
            json!({"spec": service, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}}}),
        ),
        (
            "nodes",
            json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "taints": [{"key": "a", "effect": "NoSchedule"}]}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "capacity": {"cpu": "1"}}}),
        ),
        ("namespaces", json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})),
    ]
}

/// Where there is anything in a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, inner)| (key.replace('/', "~1"), inner)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, inner)| (at.to_string(), inner)).collect(),
        _ => Vec::new(),
    };
    for (key, inner) in inner {
        let at = format!("{at}/{key}");
        places(inner, &at, found);
        found.push(at);
    }
}

/// All that is done with objects, as far as kinds have a say in it.
fn exercise(kind: &Kind, object: &Value, old: &Value) {
    let behaviour = &kind.behaviour;
    let mut new = object.clone();
    behaviour.default(&mut new);
    for part in ["resize", "ephemeralcontainers"] {
        let mut new = new.clone();
        behaviour.prepare_subresource(part, &mut new, old);
        behaviour.validate_subresource(part, &new, old);
    }
    behaviour.validate_status(&new, old);
    behaviour.validate_status(old, &new);
    behaviour.warnings(&new);
    behaviour.selectable_fields(&new);
    row(kind, &new, IncludeObject::None, now());
    if let Some(form) = &kind.form {
        let mut turned = new.clone();
        (form.to_stored)(&mut turned);
        (form.from_stored)(&mut turned);
    }
    let mut updated = new.clone();
    behaviour.prepare_update(&mut updated, old);
    behaviour.validate(&updated, Some(old));
    behaviour.prepare_create(&mut new);
    behaviour.validate(&new, None);
}

#[test]
fn one_odd_field_never_makes_a_panic() {
    let odd = [json!(null), json!(-3), json!("ä"), json!([3, null, {}]), json!({"a": {"b": 3}})];
    for (name, sample) in samples() {
        let kind = find(name);
        let mut sample = sample;
        sample["metadata"] = json!({"name": "a", "namespace": "b", "uid": "1", "labels": {"app": "web"}});
        let old = created(name, sample.clone());
        let mut all = Vec::new();
        places(&sample, "", &mut all);
        for place in all {
            for value in &odd {
                let mut changed = sample.clone();
                *changed.pointer_mut(&place).expect("it was found") = value.clone();
                exercise(&kind, &changed, &old);
                exercise(&kind, &sample, &changed);
            }
        }
    }
}
