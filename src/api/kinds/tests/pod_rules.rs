//! What pods, nodes, namespaces and Services are checked for besides their shape: rights, places, changes, warnings.

use super::*;

fn pod() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "hello:1", "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"},
        }}]},
    })
}

#[test]
fn rights_and_places_are_checked() {
    check_faults(
        "pods",
        &pod(),
        &[
            (
                "/spec/securityContext",
                json!({"runAsUser": -1, "sysctls": [{"name": "A"}]}),
                &[
                    "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                    "spec.securityContext.sysctls[0].name: Invalid value: \"A\": must have at most 253 characters and match regex",
                ],
            ),
            (
                "/spec/containers/0/securityContext",
                json!({"allowPrivilegeEscalation": false, "privileged": true}),
                &[
                    "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set",
                ],
            ),
            (
                "/spec/containers/0/securityContext",
                json!({"seccompProfile": {"type": "Localhost"}}),
                &[
                    "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
                ],
            ),
            (
                "/spec/os",
                json!({"name": "wasm"}),
                &["spec.os.name: Unsupported value: \"wasm\": supported values: \"linux\", \"windows\""],
            ),
            (
                "/spec/ephemeralContainers",
                json!([{"name": "x", "image": "y"}]),
                &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
            ),
            (
                "/spec/containers/0/ports",
                json!([{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]),
                &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\""],
            ),
            (
                "/spec/volumes",
                json!([{"name": "v", "hostPath": {"path": "/a", "type": "Odd"}}]),
                &["spec.volumes[0].hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\""],
            ),
            (
                "/spec/volumes",
                json!([{"name": "v", "ephemeral": {}}]),
                &["spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"],
            ),
            (
                "/spec/topologySpreadConstraints",
                json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2, "labelSelector": {}}]),
                &[
                    "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                ],
            ),
            ("/spec/imagePullSecrets", json!([{"name": ""}]), &[]),
            (
                "/spec/containers/0/env",
                json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]),
                &[
                    "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\"",
                ],
            ),
        ],
    );
}

#[test]
fn warnings_name_what_has_changed_its_name() {
    let mut object = pod();
    object["metadata"]["annotations"] = json!({"scheduler.alpha.kubernetes.io/critical-pod": ""});
    object["metadata"]["name"] = json!("a.b");
    let spec = &mut object["spec"];
    spec["nodeSelector"] = json!({"beta.kubernetes.io/os": "linux"});
    spec["imagePullSecrets"] = json!([{"name": ""}, {"name": "x"}, {"name": "x"}]);
    spec["volumes"] = json!([{"name": "v", "gitRepo": {"repository": "x"}}]);
    spec["containers"][0]["env"] = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]);
    spec["containers"][0]["ports"] =
        json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]);
    assert_eq!(
        find("pods").behaviour.warnings(&object),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.imagePullSecrets[0].name: invalid empty name \"\"",
            "spec.imagePullSecrets[2].name: duplicate name \"x\"",
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
        ]
    );
    assert!(find("pods").behaviour.warnings_on_update(&object, &pod()).is_empty());
}

/// What a subresource makes of a change to a pod that is there, and what is wrong with it.
fn part(name: &str, old: &Value, change: impl Fn(&mut Value)) -> (Value, Vec<String>) {
    let mut new = old.clone();
    change(&mut new);
    let behaviour = &find("pods").behaviour;
    behaviour.default(&mut new);
    behaviour.prepare_subresource(name, &mut new, old);
    let faults = behaviour.validate_subresource(name, &new, old).iter().map(ToString::to_string).collect();
    (new, faults)
}

#[test]
fn a_resize_changes_sizes_and_nothing_else() {
    let old = created("pods", pod());
    let (new, faults) = part("resize", &old, |pod| {
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("0.2");
        pod["spec"]["containers"][0]["image"] = json!("other:1");
        pod["metadata"]["labels"] = json!({"app": "other"});
    });
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(new, changed(&old, "/spec/containers/0/resources/requests/cpu", &json!("200m")));
    let rows: &[(&str, Value, &str)] = &[
        (
            "/spec/containers/0/resources/limits",
            json!({}),
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            "/spec/containers/0/resources/requests/ephemeral-storage",
            json!("1Gi"),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        ("/spec/containers", json!([]), "spec.containers: Forbidden: containers may not be added or removed on resize"),
        (
            "/spec/containers/0/name",
            json!("x"),
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
        ),
    ];
    for (pointer, value, start) in rows {
        let (_, faults) = part("resize", &old, |pod| *pod = changed(pod, pointer, value));
        assert!(faults.iter().any(|fault| fault.starts_with(start)), "{pointer}: {faults:#?}");
    }
    assert!(!find("pods").behaviour.counts_generation("binding"));
    assert!(find("pods").behaviour.counts_generation("resize"));
}

#[test]
fn ephemeral_containers_come_and_stay() {
    let mut old = created("pods", pod());
    let add = |pod: &mut Value| {
        pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "tools:1"}]);
        pod["spec"]["nodeName"] = json!("other");
    };
    let (new, found) = part("ephemeralcontainers", &old, add);
    assert_eq!(found, Vec::<String>::new());
    assert!(new["spec"].get("nodeName").is_none());
    assert_eq!(new["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "IfNotPresent");
    old = new;
    let (_, found) = part("ephemeralcontainers", &old, |pod| pod["spec"]["ephemeralContainers"] = json!([]));
    assert_eq!(
        found,
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed\n"]
    );
    let (_, found) = part("ephemeralcontainers", &old, |pod| {
        pod["spec"]["ephemeralContainers"][0]["image"] = json!("tools:2");
    });
    assert!(found[0].contains("existing ephemeral containers \"debug\" may not be changed\n"), "{found:?}");
}

#[test]
fn a_gated_pod_can_be_sent_to_fewer_nodes_only() {
    let mut object = pod();
    object["spec"]["schedulingGates"] = json!([{"name": "wait"}]);
    object["spec"]["nodeSelector"] = json!({"disk": "fast"});
    let old = created("pods", object);
    let change = |value: Value| faults("pods", changed(&old, "/spec/nodeSelector", &value), Some(&old));
    assert!(change(json!({"disk": "fast", "zone": "a"})).is_empty());
    assert_eq!(
        change(json!({"disk": "slow"})),
        [
            "spec.nodeSelector: Invalid value: {\"disk\":\"slow\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        ]
    );
}

#[test]
fn rules_about_other_pods_speak_of_the_pods_own_labels() {
    let mut object = pod();
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"x": "y"}}, "mismatchLabelKeys": ["app", "none"]});
    object["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    object["spec"]["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "matchLabelKeys": ["app"],
    }]);
    let spec = &created("pods", object)["spec"];
    let expressions = "/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchExpressions";
    assert_eq!(
        spec["affinity"]["podAntiAffinity"].pointer(expressions),
        Some(&json!([{"key": "app", "operator": "NotIn", "values": ["web"]}]))
    );
    assert_eq!(
        spec["topologySpreadConstraints"][0]["labelSelector"],
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]})
    );
}

fn service() -> Value {
    json!({"metadata": {"name": "web", "namespace": "b"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

#[test]
fn fields_of_a_service_go_with_its_type() {
    check_faults(
        "services",
        &service(),
        &[
            (
                "/spec/loadBalancerClass",
                json!("a/b"),
                &["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
            ),
            (
                "/spec/allocateLoadBalancerNodePorts",
                json!(true),
                &["spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"],
            ),
            (
                "/spec/healthCheckNodePort",
                json!(30000),
                &[
                    "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                ],
            ),
            (
                "/spec/externalIPs",
                json!(["127.0.0.1"]),
                &["spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range"],
            ),
            (
                "/spec/ipFamilies",
                json!(["IPv6"]),
                &["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"],
            ),
            (
                "/spec/ipFamilyPolicy",
                json!("RequireDualStack"),
                &[
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
                ],
            ),
            (
                "/spec/trafficDistribution",
                json!("Far"),
                &[
                    "spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
                ],
            ),
            (
                "/spec/ports/0/appProtocol",
                json!("a b"),
                &["spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist of"],
            ),
        ],
    );
    let kind = find("services");
    let mut exposed = service();
    exposed["spec"]["type"] = json!("NodePort");
    exposed["spec"]["ports"][0]["nodePort"] = json!(30080);
    let old = created("services", exposed);
    let become_of = |kind_name: &str| {
        let mut new = old.clone();
        new["spec"]["type"] = json!(kind_name);
        new["spec"]["externalName"] = json!("example.com");
        kind.behaviour.default(&mut new);
        kind.behaviour.prepare_update(&mut new, &old);
        assert_eq!(kind.behaviour.validate(&new, Some(&old)), [], "{kind_name}");
        new["spec"].clone()
    };
    let inside = become_of("ClusterIP");
    assert!(inside.get("externalTrafficPolicy").is_none() && inside["ports"][0].get("nodePort").is_none());
    let outside = become_of("ExternalName");
    assert!(outside.get("ipFamilies").is_none() && outside.get("clusterIP").is_none());
    let mut headless = service();
    headless["spec"]["clusterIP"] = json!("None");
    headless["spec"]["externalIPs"] = json!(["10.0.0.1"]);
    assert_eq!(kind.behaviour.warnings(&headless), ["spec.externalIPs is ignored when spec.clusterIP is \"None\""]);
}

#[test]
fn states_of_namespaces_and_nodes_fit_them() {
    let told = |kind: &str, object: Value| {
        let found = find(kind).behaviour.validate_status(&object, &json!({}));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(told("namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}})).is_empty());
    assert_eq!(
        told("namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}})),
        ["status.phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"]
    );
    let address = json!({"type": "InternalIP", "address": "10.0.0.1"});
    assert_eq!(told("nodes", json!({"status": {"addresses": [address, address]}})).len(), 1);
    let mut labelled = json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "b"}}});
    find("namespaces").behaviour.default(&mut labelled);
    assert_eq!(labelled["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
    let node = created("nodes", json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24"}}));
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    assert_eq!(
        faults("nodes", changed(&node, "/spec/podCIDRs", &json!(["10.1.0.0/24"])), Some(&node)),
        ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
}

#[test]
fn amounts_of_a_pod_as_a_whole_go_before_those_of_its_containers() {
    let mut object = pod();
    object["spec"]["resources"] = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
    let made = created("pods", object.clone());
    assert_eq!(made["spec"]["resources"]["requests"], json!({"cpu": "100m", "memory": "64Mi"}));
    assert_eq!(made["status"]["qosClass"], "Burstable");
    object["spec"]["resources"]["requests"] = json!({"cpu": "2", "memory": "1Gi"});
    assert_eq!(created("pods", object.clone())["status"]["qosClass"], "Guaranteed");
    object["spec"]["resources"] = json!({"requests": {"cpu": "1m"}});
    assert_eq!(
        faults("pods", object, None),
        [
            "spec.resources.requests[cpu]: Invalid value: \"1m\": must be greater than or equal to aggregate container requests of 100m"
        ]
    );
}

#[test]
fn older_ways_are_warned_of() {
    let rows = [
        (
            "serviceaccounts",
            json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}),
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets",
        ),
        (
            "nodes",
            json!({"spec": {"externalID": "x"}}),
            "spec.externalID: this field is deprecated, and is unused by Kubernetes",
        ),
        (
            "persistentvolumes",
            json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "beta.kubernetes.io/arch", "operator": "Exists"}]}]}}}}),
            "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        ),
        (
            "persistentvolumeclaims",
            json!({"spec": {"resources": {"requests": {"storage": "1500m"}}}}),
            "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
        ),
    ];
    for (kind, object, sentence) in rows {
        assert_eq!(find(kind).behaviour.warnings(&object), [sentence], "{kind}");
    }
}
