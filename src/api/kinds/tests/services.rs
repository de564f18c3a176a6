//! Services, Ingresses and what stands behind them.

use super::*;

fn service() -> Value {
    json!({"metadata": {"name": "web", "namespace": "b"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

#[test]
fn a_new_service_is_filled_in() {
    let made = created("services", service());
    assert_eq!(
        made["spec"],
        json!({
            "selector": {"app": "web"}, "type": "ClusterIP", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        })
    );
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    let mut sticky = service();
    sticky["spec"]["sessionAffinity"] = json!("ClientIP");
    sticky["spec"]["type"] = json!("LoadBalancer");
    sticky["spec"]["clusterIP"] = json!("10.0.0.1");
    let made = created("services", sticky);
    assert_eq!(made["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(made["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(made["spec"]["clusterIPs"], json!(["10.0.0.1"]));
}

#[test]
fn bad_services_are_told_what_is_wrong() {
    check_faults(
        "services",
        &service(),
        &[
            ("/spec/ports", json!([]), &["spec.ports: Required value"]),
            (
                "/spec/ports",
                json!([{"port": 80}, {"port": 81}]),
                &["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
            ),
            (
                "/spec/ports",
                json!([{"name": "a", "port": 80}, {"name": "a", "port": 81}]),
                &["spec.ports[1].name: Duplicate value: \"a\""],
            ),
            (
                "/spec/ports",
                json!([{"name": "a", "port": 80}, {"name": "b", "port": 80}]),
                &["spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"],
            ),
            (
                "/spec/ports/0/port",
                json!(0),
                &[
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].targetPort: Invalid value: 0",
                ],
            ),
            (
                "/spec/ports/0/targetPort",
                json!("UP"),
                &[
                    "spec.ports[0].targetPort: Invalid value: \"UP\": must contain only",
                    "spec.ports[0].targetPort: Invalid value: \"UP\": must contain at least",
                ],
            ),
            (
                "/spec/ports/0/nodePort",
                json!(30000),
                &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                "/spec/type",
                json!("Magic"),
                &[
                    "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            ("/spec/type", json!("ExternalName"), &["spec.externalName: Required value"]),
            (
                "/spec/sessionAffinity",
                json!("Sticky"),
                &["spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\""],
            ),
            (
                "/spec/clusterIP",
                json!("ten"),
                &["spec.clusterIPs[0]: Invalid value: \"ten\": must be a valid IP address"],
            ),
            ("/spec/selector", json!({"a b": ""}), &["spec.selector: Invalid value: \"a b\": name part"]),
        ],
    );
    assert!(find("services").behaviour.validate_name("1a").is_empty());
    assert!(!find("services").behaviour.validate_name("a.b").is_empty());
}

#[test]
fn an_allocated_address_stays() {
    let mut old = created("services", service());
    old["spec"]["clusterIP"] = json!("10.0.0.7");
    old["spec"]["clusterIPs"] = json!(["10.0.0.7"]);
    let mut new = service();
    let kind = find("services");
    kind.behaviour.default(&mut new);
    kind.behaviour.prepare_update(&mut new, &old);
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.7");
    assert_eq!(kind.behaviour.validate(&new, Some(&old)), []);
    let mut other = service();
    other["spec"]["clusterIP"] = json!("10.0.0.8");
    let found = faults("services", other, Some(&old));
    assert_eq!(found, ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.8\"]: may not change once set"]);
    assert!(super::super::service::needs_cluster_ip(&new["spec"]));
    assert!(!super::super::service::needs_cluster_ip(&json!({"clusterIP": "None"})));
}

#[test]
fn node_ports_are_kept() {
    let mut old = service();
    old["spec"]["type"] = json!("NodePort");
    old["spec"]["ports"][0]["nodePort"] = json!(30080);
    let old = created("services", old);
    let mut new = service();
    new["spec"]["type"] = json!("NodePort");
    let kind = find("services");
    kind.behaviour.default(&mut new);
    kind.behaviour.prepare_update(&mut new, &old);
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
}

fn ingress() -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    json!({
        "metadata": {"name": "web", "namespace": "b"},
        "spec": {"ingressClassName": "coracle", "rules": [{"host": "hello.localhost", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend},
        ]}}]},
    })
}

#[test]
fn bad_ingresses_are_told_what_is_wrong() {
    let path = "spec.rules[0].http.paths[0]";
    let told = |rest: &str| format!("{path}{rest}");
    let rows = [
        ("/spec/rules", json!([]), "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified".to_owned()),
        ("/spec/rules/0/host", json!("10.0.0.1"), "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address".to_owned()),
        ("/spec/rules/0/host", json!("*a.b"), "spec.rules[0].host: Invalid value: \"*a.b\": a wildcard DNS-1123 subdomain".to_owned()),
        ("/spec/rules/0/http/paths", json!([]), "spec.rules[0].http.paths: Required value".to_owned()),
        ("/spec/rules/0/http/paths/0/pathType", Value::Null, told(".pathType: Required value: pathType must be specified")),
        ("/spec/rules/0/http/paths/0/pathType", json!("Regex"), told(".pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"")),
        ("/spec/rules/0/http/paths/0/path", json!("x"), told(".path: Invalid value: \"x\": must be an absolute path")),
        ("/spec/rules/0/http/paths/0/path", json!("/a//b"), told(".path: Invalid value: \"/a//b\": must not contain '//'")),
        ("/spec/rules/0/http/paths/0/path", json!("/a/.."), told(".path: Invalid value: \"/a/..\": cannot end with '/..'")),
        ("/spec/rules/0/http/paths/0/backend", json!({}), told(".backend: Invalid value: \"\": resource or service backend is required")),
        ("/spec/rules/0/http/paths/0/backend/service/port", json!({}), told(".backend: Required value: port name or number is required")),
        ("/spec/rules/0/http/paths/0/backend/service/name", json!(""), told(".backend.service.name: Required value")),
        ("/metadata/annotations", json!({"kubernetes.io/ingress.class": "x"}), "annotations.kubernetes.io/ingress.class: Invalid value: \"x\": must match `ingressClassName` when both are specified".to_owned()),
    ];
    for (pointer, value, expected) in rows {
        check_faults("networking.k8s.io/ingresses", &ingress(), &[(pointer, value, &[&expected])]);
    }
    check_faults("networking.k8s.io/ingresses", &ingress(), &[("/spec/rules/0/host", json!("*.example.com"), &[])]);
}

#[test]
fn ingress_classes_name_their_controller_for_good() {
    let kind = "networking.k8s.io/ingressclasses";
    let good = json!({"metadata": {"name": "coracle"}, "spec": {"controller": "coracle.dev/ingress"}});
    check_faults(
        kind,
        &good,
        &[
            ("/spec/controller", json!(""), &["spec.controller: Required value"]),
            (
                "/spec/controller",
                json!("x"),
                &["spec.controller: Invalid value: \"x\": must be a domain-prefixed path"],
            ),
            (
                "/spec/parameters",
                json!({"kind": "a/b", "name": "n", "scope": "Namespace"}),
                &[
                    "spec.parameters.kind: Invalid value: \"a/b\": may not contain '/'",
                    "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
                ],
            ),
            (
                "/spec/controller",
                json!("x/".repeat(200)),
                &["spec.controller: Too long: may not be more than 250 bytes"],
            ),
        ],
    );
    let other = changed(&good, "/spec/controller", &json!("a.b/c"));
    assert_eq!(faults(kind, other, Some(&good)), ["spec.controller: Invalid value: \"a.b/c\": field is immutable"]);
}

#[test]
fn endpoint_slices_are_checked() {
    let kind = "discovery.k8s.io/endpointslices";
    let good = json!({
        "metadata": {"name": "web-x", "namespace": "b"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"]}], "ports": [{"name": "http", "port": 80}],
    });
    assert_eq!(created(kind, good.clone())["ports"][0]["protocol"], "TCP");
    let many: Vec<Value> = (0..1001).map(|_| json!({"addresses": ["10.1.0.1"]})).collect();
    check_faults(
        kind,
        &good,
        &[
            ("/addressType", Value::Null, &["addressType: Required value"]),
            (
                "/addressType",
                json!("IPX"),
                &["addressType: Unsupported value: \"IPX\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""],
            ),
            (
                "/endpoints/0/addresses",
                json!([]),
                &["endpoints[0].addresses: Required value: must contain at least 1 address"],
            ),
            (
                "/endpoints/0/addresses",
                json!(["x"]),
                &["endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IPv4 address"],
            ),
            ("/endpoints", json!(many), &["endpoints: Too many: 1001: must have at most 1000 items"]),
            ("/ports", json!([{"port": 1}, {"port": 2}]), &["ports[1].name: Duplicate value: \"\""]),
            ("/ports/0/port", json!(0), &["ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ],
    );
    let other = changed(&good, "/addressType", &json!("IPv6"));
    let found = faults(kind, other, Some(&good));
    assert_eq!(found.last().map(String::as_str), Some("addressType: Invalid value: \"IPv6\": field is immutable"));
}

#[test]
fn endpoints_are_checked() {
    let good =
        json!({"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 80}]}]});
    check_faults(
        "endpoints",
        &good,
        &[
            (
                "/subsets/0/addresses",
                json!([]),
                &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
            ),
            (
                "/subsets/0/addresses/0/ip",
                json!("x"),
                &["subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address"],
            ),
            ("/subsets/0/ports/0/port", json!(-1), &["subsets[0].ports[0].port: Invalid value: -1"]),
        ],
    );
}
