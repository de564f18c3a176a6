//! What `kubectl get` shows.

use super::*;

#[test]
fn headings_are_those_of_kubernetes() {
    let rows = [
        ("pods", "NAME READY STATUS RESTARTS AGE (IP) (NODE) (NOMINATED NODE) (READINESS GATES)"),
        ("apps/deployments", "NAME READY UP-TO-DATE AVAILABLE AGE (CONTAINERS) (IMAGES) (SELECTOR)"),
        ("apps/replicasets", "NAME DESIRED CURRENT READY AGE (CONTAINERS) (IMAGES) (SELECTOR)"),
        ("services", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE (SELECTOR)"),
        ("endpoints", "NAME ENDPOINTS AGE"),
        ("discovery.k8s.io/endpointslices", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
        (
            "nodes",
            "NAME STATUS ROLES AGE VERSION (INTERNAL-IP) (EXTERNAL-IP) (OS-IMAGE) (KERNEL-VERSION) (CONTAINER-RUNTIME)",
        ),
        ("namespaces", "NAME STATUS AGE"),
        ("configmaps", "NAME DATA AGE"),
        ("secrets", "NAME TYPE DATA AGE"),
        ("serviceaccounts", "NAME SECRETS AGE"),
        ("events", "LAST SEEN TYPE REASON OBJECT (SUBOBJECT) (SOURCE) MESSAGE (FIRST SEEN) (COUNT) (NAME)"),
        ("coordination.k8s.io/leases", "NAME HOLDER AGE"),
        ("networking.k8s.io/ingresses", "NAME CLASS HOSTS ADDRESS PORTS AGE"),
        ("networking.k8s.io/ingressclasses", "NAME CONTROLLER PARAMETERS AGE"),
    ];
    for (kind, expected) in rows {
        assert_eq!(headings(kind), expected, "{kind}");
    }
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "m"}, {"name": "n"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
        "status": status,
    })
}

#[test]
fn a_pods_status_is_that_of_its_containers() {
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
    let running = json!({"ready": true, "state": {"running": {}}});
    let rows = [
        (json!({"phase": "Pending"}), "0/2", "Pending"),
        (json!({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted"),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/2",
            "SchedulingGated",
        ),
        (json!({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}), "0/2", "Init:0/2"),
        (
            json!({"phase": "Pending", "initContainerStatuses": [done, {"state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "0/2",
            "Init:1/2",
        ),
        (
            json!({"initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}),
            "0/2",
            "Init:ErrImagePull",
        ),
        (json!({"initContainerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}), "0/2", "Init:ExitCode:3"),
        (
            json!({"initContainerStatuses": [{"state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}),
            "0/2",
            "Init:Error",
        ),
        (
            json!({"phase": "Running", "initContainerStatuses": [done, done], "containerStatuses": [running, running]}),
            "2/2",
            "Running",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "1/2",
            "CrashLoopBackOff",
        ),
        (
            json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
            "0/2",
            "Completed",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
            "0/2",
            "OOMKilled",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 7}}}]}),
            "0/2",
            "ExitCode:7",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
            "0/2",
            "Signal:9",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}, running]}),
            "1/2",
            "NotReady",
        ),
        (
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}, running]}),
            "1/2",
            "Running",
        ),
    ];
    for (status, ready, reason) in rows {
        let cells = cells("pods", &pod(status.clone()), false);
        assert_eq!(cells[1..3], [json!(ready), json!(reason)], "{status}");
    }
    let mut dying = pod(json!({"phase": "Running"}));
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(cells("pods", &dying, false)[2], "Terminating");
    dying["status"]["phase"] = json!("Succeeded");
    assert_eq!(cells("pods", &dying, false)[2], "Succeeded");
}

#[test]
fn restarts_tell_when_the_last_one_was() {
    let object = pod(json!({"phase": "Running", "podIPs": [{"ip": "10.1.0.1"}], "containerStatuses": [
        {"restartCount": 2, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}},
        {"restartCount": 1, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:10:00Z"}}},
    ]}));
    assert_eq!(
        cells("pods", &object, true),
        ["a", "0/2", "Running", "3 (5m ago)", "60m", "10.1.0.1", "<none>", "<none>", "<none>"].map(|cell| json!(cell))
    );
    assert_eq!(cells("pods", &pod(json!({})), false)[3], "0");
}

#[test]
fn a_sidecar_counts_as_a_container() {
    let mut object = pod(json!({"phase": "Running",
        "initContainerStatuses": [{"name": "i", "started": true, "ready": true, "state": {"running": {}}}],
        "containerStatuses": [{"name": "m", "ready": true, "state": {"running": {}}}]}));
    object["spec"]["initContainers"] = json!([{"name": "i", "restartPolicy": "Always"}]);
    object["spec"]["containers"] = json!([{"name": "m"}]);
    assert_eq!(cells("pods", &object, false)[1..3], [json!("2/2"), json!("Running")]);
}

#[test]
fn workloads_count_their_pods() {
    let workload = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:59:30Z"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}}},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
    });
    let wide = [json!("a,b"), json!("x:1,y:2"), json!("app=web")];
    let mut expected = vec![json!("web"), json!("2/3"), json!(1), json!(2), json!("30s")];
    expected.extend(wide.clone());
    assert_eq!(cells("apps/deployments", &workload, true), expected);
    let mut expected = vec![json!("web"), json!(3), json!(3), json!(2), json!("30s")];
    expected.extend(wide);
    assert_eq!(cells("apps/replicasets", &workload, true), expected);
}

#[test]
fn services_show_addresses_and_ports() {
    let rows = [
        (
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b", "c": "d"}}),
            ["ClusterIP", "10.0.0.1", "<none>", "80/TCP", "a=b,c=d"],
        ),
        (
            json!({"type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}),
            ["NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "<none>"],
        ),
        (
            json!({"type": "LoadBalancer", "clusterIP": "None"}),
            ["LoadBalancer", "None", "<pending>", "<none>", "<none>"],
        ),
        (
            json!({"type": "ExternalName", "externalName": "example.com"}),
            ["ExternalName", "<none>", "example.com", "<none>", "<none>"],
        ),
        (
            json!({"type": "ClusterIP", "externalIPs": ["1.2.3.4", "1.2.3.5"]}),
            ["ClusterIP", "<none>", "1.2.3.4,1.2.3.5", "<none>", "<none>"],
        ),
    ];
    for (spec, expected) in rows {
        let mut shown = cells("services", &json!({"metadata": {"name": "a"}, "spec": spec}), true);
        assert_eq!(shown.remove(5), "<unknown>");
        assert_eq!(shown[1..], expected.map(|cell| json!(cell)));
    }
}

#[test]
fn the_rest_is_printed() {
    let at = "2026-01-01T00:59:00Z";
    let rows = [
        (
            "endpoints",
            json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}, {"ip": "1.1.1.3"}, {"ip": "::1"}], "ports": [{"port": 80}]}]}),
            json!(["a", "1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 1 more...", "60s"]),
        ),
        ("endpoints", json!({}), json!(["a", "<none>", "60s"])),
        (
            "discovery.k8s.io/endpointslices",
            json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}], "endpoints": [{"addresses": ["1.1.1.1"]}]}),
            json!(["a", "IPv4", "80,x", "1.1.1.1", "60s"]),
        ),
        (
            "discovery.k8s.io/endpointslices",
            json!({"addressType": "IPv4"}),
            json!(["a", "IPv4", "<unset>", "<unset>", "60s"]),
        ),
        ("namespaces", json!({"status": {"phase": "Active"}}), json!(["a", "Active", "60s"])),
        ("configmaps", json!({"data": {"x": "1"}, "binaryData": {"y": ""}}), json!(["a", "2", "60s"])),
        ("secrets", json!({"type": "Opaque", "data": {"x": "1"}}), json!(["a", "Opaque", "1", "60s"])),
        ("serviceaccounts", json!({}), json!(["a", 0, "60s"])),
        ("coordination.k8s.io/leases", json!({"spec": {"holderIdentity": "me"}}), json!(["a", "me", "60s"])),
        (
            "networking.k8s.io/ingressclasses",
            json!({"spec": {"controller": "a.b/c", "parameters": {"apiGroup": "g.io", "kind": "K", "name": "n"}}}),
            json!(["a", "a.b/c", "K.g.io/n", "60s"]),
        ),
        (
            "networking.k8s.io/ingresses",
            json!({"spec": {"ingressClassName": "c", "tls": [{}], "rules": [{"host": "x"}, {"host": "y"}, {}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}, {"hostname": "localhost"}]}}}),
            json!(["a", "c", "x,y", "127.0.0.1,localhost", "80, 443", "60s"]),
        ),
        ("networking.k8s.io/ingresses", json!({"spec": {"rules": [{}]}}), json!(["a", "<none>", "*", "", "80", "60s"])),
        (
            "nodes",
            json!({"spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Linux"}}}),
            json!([
                "a",
                "Ready,SchedulingDisabled",
                "<none>",
                "60s",
                "v1.36.0",
                "127.0.0.1",
                "<none>",
                "Linux",
                "<unknown>",
                "<unknown>"
            ]),
        ),
        (
            "nodes",
            json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}),
            json!(["a", "NotReady", "<none>", "60s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        ),
    ];
    for (kind, mut object, expected) in rows {
        object["metadata"] = json!({"name": "a", "creationTimestamp": at});
        assert_eq!(json!(cells(kind, &object, true)), expected, "{kind}");
    }
    let roles = json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "agent"}}});
    assert_eq!(cells("nodes", &roles, false)[2], "agent,worker");
}

#[test]
fn events_are_printed_in_both_forms() {
    let mut event = json!({
        "metadata": {"name": "p.1"}, "type": "Warning", "reason": "BackOff", "message": " back off \n", "count": 4,
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{m}"},
        "source": {"component": "coracle", "host": "n"},
        "firstTimestamp": "2026-01-01T00:30:00Z", "lastTimestamp": "2026-01-01T00:59:50Z",
    });
    let expected =
        ["10s", "Warning", "BackOff", "pod/p", "spec.containers{m}", "coracle, n", "back off", "30m", "4", "p.1"];
    assert_eq!(cells("events", &event, true), expected.map(|cell| json!(cell)));
    event::to_events(&mut event);
    assert_eq!(cells("events.k8s.io/events", &event, true), expected.map(|cell| json!(cell)));
    let new = json!({"metadata": {"name": "x"}, "eventTime": "2026-01-01T00:59:00.000000Z", "regarding": {"kind": "Node"},
        "reportingController": "c", "reportingInstance": "i"});
    let shown = cells("events.k8s.io/events", &new, true);
    assert_eq!([&shown[0], &shown[3], &shown[5], &shown[7], &shown[8]], ["60s", "node", "c, i", "60s", "1"]);
}
