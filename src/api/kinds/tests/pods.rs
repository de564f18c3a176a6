//! Pods: what they are given, what is refused, what may change.

use super::*;

fn pod() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {
            "containers": [{
                "name": "main", "image": "coracle.local/hello:v1",
                "ports": [{"containerPort": 80, "name": "http"}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"limits": {"cpu": "1000m", "memory": "0.5Gi", "coracle.dev/fuel": "1000"}},
                "livenessProbe": {"httpGet": {"port": "http"}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data"}, {"name": "settings", "configMap": {"name": "s"}}],
        },
    })
}

#[test]
fn a_new_pod_is_filled_in() {
    let pod = created("pods", pod());
    let spec = &pod["spec"];
    for (field, expected) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("enableServiceLinks", json!(true)),
    ] {
        assert_eq!(spec[field], expected, "{field}");
    }
    let container = &spec["containers"][0];
    assert_eq!(container["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(container["terminationMessagePolicy"], "File");
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(container["env"][1]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    let amounts = json!({"cpu": "1", "memory": "512Mi", "coracle.dev/fuel": "1k"});
    assert_eq!(container["resources"], json!({"limits": amounts, "requests": amounts}));
    assert_eq!(
        container["livenessProbe"],
        json!({"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1,
            "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(spec["volumes"][0], json!({"name": "data", "emptyDir": {}}));
    assert_eq!(spec["volumes"][1]["configMap"]["defaultMode"], 420);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Guaranteed"}));
}

#[test]
fn images_without_a_fixed_tag_are_pulled_always() {
    let rows = [
        ("hello", "Always"),
        ("hello:latest", "Always"),
        ("localhost:5000/hello", "Always"),
        ("localhost:5000/hello:v1", "IfNotPresent"),
        ("hello@sha256:0123", "IfNotPresent"),
        ("hello:v1@sha256:0123", "IfNotPresent"),
    ];
    for (image, policy) in rows {
        let pod = created("pods", json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn quality_follows_from_resources() {
    let rows = [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m"}}), "Burstable"),
        (json!({"limits": {"cpu": "0"}, "requests": {"coracle.dev/fuel": "1"}}), "BestEffort"),
    ];
    for (resources, expected) in rows {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "b", "resources": resources}]}});
        assert_eq!(created("pods", pod)["status"]["qosClass"], expected, "{resources}");
    }
}

#[test]
fn bad_pods_are_told_what_is_wrong() {
    let main = pod()["spec"]["containers"][0].clone();
    check_faults(
        "pods",
        &pod(),
        &[
            ("/spec/containers", json!([]), &["spec.containers: Required value"]),
            ("/spec/containers/0/name", json!(""), &["spec.containers[0].name: Required value"]),
            (
                "/spec/containers/0/name",
                json!("A"),
                &["spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label"],
            ),
            ("/spec/containers", json!([main, main]), &["spec.containers[1].name: Duplicate value: \"main\""]),
            (
                "/spec/initContainers",
                json!([{"name": "main", "image": "x"}]),
                &["spec.initContainers[0].name: Duplicate value: \"main\""],
            ),
            ("/spec/containers/0/image", json!(""), &["spec.containers[0].image: Required value"]),
            (
                "/spec/containers/0/image",
                json!(" x"),
                &["spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace"],
            ),
            (
                "/spec/containers/0/imagePullPolicy",
                json!("Now"),
                &[
                    "spec.containers[0].imagePullPolicy: Unsupported value: \"Now\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
                ],
            ),
            (
                "/spec/containers/0/ports/0/containerPort",
                json!(70000),
                &[
                    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                "/spec/containers/0/ports/0/containerPort",
                json!(0),
                &["spec.containers[0].ports[0].containerPort: Required value"],
            ),
            (
                "/spec/containers/0/ports/0/protocol",
                json!("ICMP"),
                &[
                    "spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                ],
            ),
            (
                "/spec/containers/0/ports/0/name",
                json!("UPPER"),
                &[
                    "spec.containers[0].ports[0].name: Invalid value: \"UPPER\": must contain only alpha-numeric",
                    "spec.containers[0].ports[0].name: Invalid value: \"UPPER\": must contain at least one letter",
                ],
            ),
            (
                "/spec/containers/0/env/0/name",
                json!("A=B"),
                &[
                    "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of",
                ],
            ),
            ("/spec/containers/0/env/0/name", json!(""), &["spec.containers[0].env[0].name: Required value"]),
            (
                "/spec/containers/0/env/1/valueFrom",
                json!({}),
                &["spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of:"],
            ),
            (
                "/spec/containers/0/env/1/value",
                json!("x"),
                &[
                    "spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                ],
            ),
            (
                "/spec/containers/0/env/1/valueFrom/fieldRef/fieldPath",
                json!("spec.x"),
                &["spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\""],
            ),
            (
                "/spec/containers/0/envFrom",
                json!([{}]),
                &[
                    "spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
                ],
            ),
            (
                "/spec/containers/0/volumeMounts/0/name",
                json!("other"),
                &["spec.containers[0].volumeMounts[0].name: Not found: \"other\""],
            ),
            (
                "/spec/containers/0/volumeMounts/0/mountPath",
                json!(""),
                &["spec.containers[0].volumeMounts[0].mountPath: Required value"],
            ),
            (
                "/spec/containers/0/volumeMounts/0/recursiveReadOnly",
                json!("Enabled"),
                &[
                    "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
                ],
            ),
            (
                "/spec/containers/0/volumeMounts/0/subPath",
                json!("../x"),
                &["spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../x\": must not contain '..'"],
            ),
            (
                "/spec/containers/0/livenessProbe",
                json!({}),
                &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
            ),
            (
                "/spec/containers/0/lifecycle",
                json!({"preStop": {"sleep": {"seconds": 31}}, "postStart": {"sleep": {"seconds": -1}}}),
                &[
                    "spec.containers[0].lifecycle.postStart.sleep: Invalid value: -1: must be non-negative and less than terminationGracePeriodSeconds (30)",
                    "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
                ],
            ),
            (
                "/spec/containers/0/lifecycle",
                json!({"stopSignal": "SIGUSR1"}),
                &[
                    "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
                ],
            ),
            (
                "/spec/containers/0/restartPolicyRules",
                json!([{"action": "Restart"}]),
                &[
                    "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                ],
            ),
            (
                "/spec/containers/0",
                json!({"name": "app", "image": "x", "imagePullPolicy": "Always", "terminationMessagePolicy": "File", "restartPolicy": "Sometimes", "restartPolicyRules": [
                    {"action": "Stop", "exitCodes": {"operator": "Among", "values": [1]}}, {"action": "RestartAllContainers"},
                ]}),
                &[
                    "spec.containers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
                    "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
                    "spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Among\": supported values: \"In\", \"NotIn\"",
                    "spec.containers[0].restartPolicyRules[1].exitCodes: Required value: must be specified",
                ],
            ),
            (
                "/spec/containers/0/livenessProbe/successThreshold",
                json!(2),
                &["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
            ),
            (
                "/spec/containers/0/livenessProbe/tcpSocket",
                json!({"port": 1}),
                &["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            ),
            (
                "/spec/containers/0/livenessProbe/periodSeconds",
                json!(-1),
                &[
                    "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                "/spec/containers/0/resources",
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
                &[
                    "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                ],
            ),
            (
                "/spec/containers/0/resources",
                json!({"limits": {"cpu": "-1"}}),
                &[
                    "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                    "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\"",
                ],
            ),
            (
                "/spec/containers/0/resources",
                json!({"requests": {"coracle.dev/fuel": "1"}}),
                &[
                    "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
                ],
            ),
            (
                "/spec/containers/0/resources",
                json!({"requests": {"disk": "1"}}),
                &[
                    "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified",
                    "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers",
                ],
            ),
            (
                "/spec/containers/0/resources",
                json!({"requests": {"cpu": "x"}}),
                &[
                    "spec.containers[0].resources.requests[cpu]: Invalid value: \"x\": quantities must match the regular expression",
                ],
            ),
            (
                "/spec/restartPolicy",
                json!("Sometimes"),
                &[
                    "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                ],
            ),
            (
                "/spec/dnsPolicy",
                json!("None"),
                &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            ),
            (
                "/spec/activeDeadlineSeconds",
                json!(0),
                &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
            ),
            (
                "/spec/volumes/0/name",
                json!("Data"),
                &[
                    "spec.volumes[0].name: Invalid value: \"Data\"",
                    "spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
                ],
            ),
            (
                "/spec/volumes/1/secret",
                json!({"secretName": "x"}),
                &["spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type"],
            ),
            ("/spec/volumes/1/configMap", json!({}), &["spec.volumes[1].configMap.name: Required value"]),
            ("/spec/volumes/1/name", json!("data"), &["spec.volumes[1].name: Duplicate value: \"data\""]),
            (
                "/spec/tolerations",
                json!([{"operator": "Equal"}]),
                &[
                    "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
                ],
            ),
            (
                "/spec/tolerations",
                json!([{"key": "a", "effect": "Never"}]),
                &["spec.tolerations[0].effect: Unsupported value: \"Never\""],
            ),
            (
                "/spec/nodeSelector",
                json!({"a b": "c"}),
                &["spec.nodeSelector: Invalid value: \"a b\": name part must consist of"],
            ),
            (
                "/spec/serviceAccountName",
                json!("A"),
                &["spec.serviceAccountName: Invalid value: \"A\": a lowercase RFC 1123 subdomain"],
            ),
            ("/spec/hostname", json!("a.b"), &["spec.hostname: Invalid value: \"a.b\": must not contain dots"]),
        ],
    );
}

#[test]
fn likely_mistakes_are_warned_of() {
    let mut pod = pod();
    assert_eq!(find("pods").behaviour.warnings(&pod), Vec::<String>::new());
    pod["spec"]["containers"][0]["env"][1]["name"] = json!("A");
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("100m");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(-1);
    let expected = |path: &str| {
        [
            format!(
                "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
            ),
            format!(
                "{path}.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"
            ),
            format!(
                "{path}.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer"
            ),
        ]
    };
    assert_eq!(find("pods").behaviour.warnings(&pod), expected("spec"));
    let workload = json!({"spec": {"template": pod}});
    assert_eq!(find("apps/deployments").behaviour.warnings(&workload), expected("spec.template.spec"));
}

#[test]
fn next_to_nothing_of_a_pod_may_change() {
    let old = created("pods", pod());
    let rows: &[(&str, Value, &[&str])] = &[
        ("/spec/containers/0/image", json!("coracle.local/hello:v2"), &[]),
        ("/spec/tolerations", json!([{"key": "a", "operator": "Exists"}]), &[]),
        ("/metadata/labels", json!({"a": "b"}), &[]),
        (
            "/spec/nodeName",
            json!("other"),
            &[
                "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n",
            ],
        ),
        ("/spec/containers/0/args", json!(["x"]), &["spec: Forbidden: pod updates may not change fields other than"]),
        (
            "/spec/containers",
            json!([{"name": "main", "image": "x"}, {"name": "more", "image": "x"}]),
            &["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
        ("/spec/activeDeadlineSeconds", json!(5), &[]),
    ];
    for (pointer, value, expected) in rows {
        let found = faults("pods", changed(&old, pointer, value), Some(&old));
        let found: Vec<&String> = found.iter().filter(|fault| !fault.contains(".volumeMounts[")).collect();
        assert_eq!(found.len(), expected.len(), "{pointer}: {found:#?}");
        for (fault, start) in found.iter().zip(*expected) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }
    // A manifest without what was filled in is the same pod.
    assert_eq!(faults("pods", pod(), Some(&old)), Vec::<String>::new());
}

#[test]
fn a_status_update_changes_the_status_alone() {
    let old = created("pods", pod());
    let mut new = json!({"metadata": {"name": "a", "ownerReferences": [{"uid": "x"}]}, "status": {"phase": "Running"}});
    let kind = find("pods");
    kind.behaviour.prepare_status(&mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "Guaranteed"}));
    assert!(new["metadata"].get("ownerReferences").is_none());
    new["status"]["qosClass"] = json!("BestEffort");
    assert_eq!(kind.behaviour.validate_status(&new, &old).len(), 1);
}

#[test]
fn only_a_pod_that_runs_is_given_time_to_end() {
    let behaviour = &find("pods").behaviour;
    let grace = |pod: Value| behaviour.grace_seconds(&pod);
    assert_eq!(grace(json!({"spec": {"terminationGracePeriodSeconds": 5}})), Some(0));
    assert_eq!(grace(json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}})), Some(5));
    assert_eq!(grace(json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}})), Some(0));
}
