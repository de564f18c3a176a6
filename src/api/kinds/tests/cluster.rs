//! The kinds that a cluster is set up with: classes, storage, networks, admission, priorities, devices.

use super::*;

const STORAGE: &str = "storage.k8s.io";
const NETWORK: &str = "networking.k8s.io";

#[test]
fn priority_classes_keep_their_value() {
    let kind = "scheduling.k8s.io/priorityclasses";
    let good = json!({"metadata": {"name": "high"}, "value": 1000});
    let system = "priority class names with 'system-' prefix are reserved for system use only. error:";
    check_faults(
        kind,
        &good,
        &[
            (
                "/value",
                json!(1_000_000_001),
                &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
            ),
            (
                "/preemptionPolicy",
                json!("x"),
                &["preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\""],
            ),
            (
                "/metadata/name",
                json!("system-x"),
                &[&format!("metadata.name: Forbidden: {system} system-x is not a known system priority class")],
            ),
            (
                "/metadata/name",
                json!("system-node-critical"),
                &[&format!(
                    "metadata.name: Forbidden: {system} value of system-node-critical PriorityClass must be 2000001000"
                )],
            ),
        ],
    );
    let old = created(kind, good);
    assert_eq!(
        faults(kind, changed(&old, "/value", &json!(5)), Some(&old)),
        ["value: Forbidden: may not be changed in an update."]
    );
    assert_eq!(headings(kind), "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY");
    assert_eq!(cells(kind, &old, true)[1..3], [json!(1000), json!(false)]);
}

#[test]
fn storage_classes_keep_what_they_are() {
    let kind = &format!("{STORAGE}/storageclasses");
    let good = json!({"metadata": {"name": "a", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "example.com/disk"});
    check_faults(
        kind,
        &good,
        &[
            ("/provisioner", json!(""), &["provisioner: Required value"]),
            (
                "/reclaimPolicy",
                json!("x"),
                &["reclaimPolicy: Unsupported value: \"x\": supported values: \"Delete\", \"Retain\""],
            ),
        ],
    );
    let mut zoned = good.clone();
    let zone = "failure-domain.beta.kubernetes.io/zone";
    zoned["allowedTopologies"] = json!([{"matchLabelExpressions": [{"key": zone, "values": ["a"]}]}]);
    assert_eq!(
        find(kind).behaviour.warnings(&zoned),
        [
            "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        ]
    );
    let old = created(kind, good);
    assert_eq!((&old["reclaimPolicy"], &old["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
    for (field, value) in [("provisioner", json!("other")), ("parameters", json!({"a": "b"}))] {
        let found = faults(kind, changed(&old, &format!("/{field}"), &value), Some(&old));
        assert_eq!(found, [format!("{field}: Forbidden: updates to {field} are forbidden.")]);
    }
    assert_eq!(headings(kind), "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE");
    assert_eq!(cells(kind, &old, true)[0], "a (default)");
}

#[test]
fn drivers_and_attachments_are_checked() {
    let driver = created(
        &format!("{STORAGE}/csidrivers"),
        json!({"metadata": {"name": "a.example.com"}, "spec": {"tokenRequests": [{"audience": "x"}]}}),
    );
    assert_eq!(driver["spec"]["volumeLifecycleModes"], json!(["Persistent"]));
    let shown = cells(&format!("{STORAGE}/csidrivers"), &driver, true);
    assert_eq!(shown[1..7], [json!(true), json!(false), json!(false), json!("x"), json!(false), json!("Persistent")]);
    check_faults(
        &format!("{STORAGE}/csinodes"),
        &json!({"metadata": {"name": "n"}, "spec": {"drivers": [{"name": "d.example.com", "nodeID": "1"}]}}),
        &[("/spec/drivers/0/nodeID", json!(""), &["spec.drivers[0].nodeID: Required value"])],
    );
    let both = "spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    check_faults(
        &format!("{STORAGE}/volumeattachments"),
        &json!({"metadata": {"name": "a"}, "spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        &[
            ("/spec/attacher", json!(""), &["spec.attacher: Required value"]),
            ("/spec/source/inlineVolumeSpec", json!({}), &[both]),
        ],
    );
}

#[test]
fn network_policies_are_filled_in_and_checked() {
    let kind = &format!("{NETWORK}/networkpolicies");
    let good = json!({"metadata": {"name": "a"}, "spec": {"podSelector": {},
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]}]}});
    let port = "spec.ingress[0].ports[0]";
    check_faults(
        kind,
        &good,
        &[
            ("/spec/ingress/0/from/0", json!({}), &["spec.ingress[0].from[0]: Required value: must specify a peer"]),
            (
                "/spec/ingress/0/from/0/podSelector",
                json!({}),
                &["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
            ),
            (
                "/spec/ingress/0/from/0/ipBlock/except/0",
                json!("11.0.0.0/16"),
                &[
                    "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
                ],
            ),
            (
                "/spec/ingress/0/ports/0/endPort",
                json!(70),
                &[&format!("{port}.endPort: Invalid value: 70: must be greater than or equal to `port`")],
            ),
            (
                "/spec/policyTypes",
                json!(["x"]),
                &["spec.policyTypes[0]: Unsupported value: \"x\": supported values: \"Ingress\", \"Egress\""],
            ),
        ],
    );
    let made = created(kind, good);
    assert_eq!(made["spec"]["policyTypes"], json!(["Ingress"]));
    assert_eq!(made["spec"]["ingress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(cells(kind, &made, true)[1], "<none>");
}

#[test]
fn ranges_grow_by_the_other_family_only() {
    let kind = &format!("{NETWORK}/servicecidrs");
    let old = json!({"metadata": {"name": "a"}, "spec": {"cidrs": ["10.96.0.0/16"]}});
    check_faults(
        kind,
        &old,
        &[
            ("/spec/cidrs", json!([]), &["spec.cidrs: Required value: at least one CIDR required"]),
            (
                "/spec/cidrs",
                json!(["10.96.0.1/16"]),
                &["spec.cidrs[0]: Invalid value: \"10.96.0.1/16\": must not have bits set beyond the prefix length"],
            ),
            (
                "/spec/cidrs",
                json!(["x"]),
                &[
                    "spec.cidrs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                ],
            ),
        ],
    );
    let wider = changed(&old, "/spec/cidrs", &json!(["10.96.0.0/16", "fd00::/108"]));
    assert_eq!(faults(kind, wider, Some(&old)), Vec::<String>::new());
    let other = changed(&old, "/spec/cidrs", &json!(["10.97.0.0/16"]));
    assert_eq!(faults(kind, other, Some(&old)), ["spec.cidrs[0]: Invalid value: \"10.97.0.0/16\": field is immutable"]);
    let address = find(&format!("{NETWORK}/ipaddresses"));
    assert!(address.behaviour.validate_name("10.96.0.1").is_empty());
    assert_eq!(address.behaviour.validate_name("2001:DB8::1"), ["must be in canonical form (\"2001:db8::1\")"]);
    let held = json!({"metadata": {"name": "10.96.0.1"},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}});
    assert_eq!(cells(&format!("{NETWORK}/ipaddresses"), &held, true)[1], "services/default/kubernetes");
}

#[test]
fn certificate_requests_change_by_their_subresources() {
    use crate::kinds::certificate_signing_request::{approval, issuance, requested_by};
    let kind = "certificates.k8s.io/certificatesigningrequests";
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let good = json!({"metadata": {"name": "a"}, "spec": {"request": pem, "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client", "username": "somebody else"}});
    check_faults(
        kind,
        &good,
        &[
            ("/spec/request", json!("AA=="), &["spec.request: Invalid value: \"AA==\": PEM block type must be"]),
            ("/spec/usages", json!([]), &["spec.usages: Required value"]),
            ("/spec/usages", json!(["x"]), &["spec.usages[0]: Unsupported value: \"x\": supported values: \"any\""]),
            (
                "/spec/signerName",
                json!("x"),
                &[
                    "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
                ],
            ),
            (
                "/spec/expirationSeconds",
                json!(5),
                &[
                    "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
                ],
            ),
        ],
    );
    let mut made = created(kind, good);
    requested_by(&mut made, &crate::UserInfo::new("u", ["g"]));
    assert_eq!((&made["spec"]["username"], &made["spec"]["groups"][0]), (&json!("u"), &json!("g")));
    assert_eq!(cells(kind, &made, true)[5], "Pending");
    let mut approved = changed(&made, "/spec/signerName", &json!("other"));
    approved["status"] = json!({"certificate": "AA==", "conditions": [{"type": "Approved", "status": "True"}]});
    approval(&mut approved, &made, now());
    assert_eq!(approved["spec"], made["spec"]);
    assert!(approved["status"].get("certificate").is_none());
    assert_eq!(approved["status"]["conditions"][0]["lastUpdateTime"], "2026-01-01T01:00:00Z");
    let mut issued = approved.clone();
    issued["status"] = json!({"certificate": "AA==", "conditions": [{"type": "Denied", "status": "True"}]});
    issuance(&mut issued, &approved, now());
    assert_eq!(cells(kind, &issued, true)[5], "Approved,Issued");
    let row = find(kind);
    let mut both = approved.clone();
    both["status"]["conditions"] =
        json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "False"}]);
    let told: Vec<String> =
        row.behaviour.validate_status(&both, &made).iter().map(|fault| fault.field.clone()).collect();
    assert_eq!(told, ["status.conditions[1].status", "status.conditions[1].type"]);
    for (certificate, wanted) in [
        ("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==", None),
        ("Zm9v", Some("must contain one or more CERTIFICATE PEM blocks")),
        (pem, Some("only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"")),
    ] {
        let issued = changed(&approved, "/status/certificate", &json!(certificate));
        let told: Vec<String> =
            row.behaviour.validate_status(&issued, &approved).iter().map(ToString::to_string).collect();
        let wanted = wanted.map(|why| format!("status.certificate: Invalid value: \"<certificate data>\": {why}"));
        assert_eq!(told, wanted.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn webhooks_are_filled_in_and_checked() {
    let kind = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
    let good = json!({"metadata": {"name": "a"}, "webhooks": [{"name": "a.example.com", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "clientConfig": {"service": {"namespace": "n", "name": "s"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]});
    check_faults(
        kind,
        &good,
        &[
            (
                "/webhooks/0/name",
                json!("a"),
                &[
                    "webhooks[0].name: Invalid value: \"a\": should be a domain with at least three segments separated by dots",
                ],
            ),
            (
                "/webhooks/0/sideEffects",
                json!("Some"),
                &["webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""],
            ),
            (
                "/webhooks/0/timeoutSeconds",
                json!(31),
                &["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
            ),
            (
                "/webhooks/0/clientConfig",
                json!({}),
                &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
            ),
            (
                "/webhooks/0/clientConfig",
                json!({"url": "http://x.example.com/a?b"}),
                &[
                    "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                    "webhooks[0].clientConfig.url: Invalid value: \"b\": query parameters are not permitted in the URL",
                ],
            ),
            (
                "/webhooks/0/rules/0/resources",
                json!(["*", "pods"]),
                &[
                    "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
                ],
            ),
            (
                "/webhooks/0/admissionReviewVersions",
                json!([]),
                &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
            ),
        ],
    );
    let made = created(kind, good);
    let hook = &made["webhooks"][0];
    assert_eq!(
        json!([hook["failurePolicy"], hook["matchPolicy"], hook["reinvocationPolicy"], hook["timeoutSeconds"]]),
        json!(["Fail", "Equivalent", "Never", 10])
    );
    assert_eq!((&hook["clientConfig"]["service"]["port"], &hook["rules"][0]["scope"]), (&json!(443), &json!("*")));
}

#[test]
fn policies_need_rules() {
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let good = json!({"metadata": {"name": "a"}, "spec": {"matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "true"}]}});
    let neither = "validations or auditAnnotations must contain at least one item";
    check_faults(
        "admissionregistration.k8s.io/validatingadmissionpolicies",
        &good,
        &[
            ("/spec/matchConstraints", Value::Null, &["spec.matchConstraints: Required value"]),
            (
                "/spec/validations",
                json!([]),
                &[
                    &format!("spec.validations: Required value: {neither}"),
                    &format!("spec.auditAnnotations: Required value: {neither}"),
                ],
            ),
            (
                "/spec/variables",
                json!([{"name": "in", "expression": "1"}]),
                &["spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier"],
            ),
            (
                "/spec/paramKind",
                json!({"apiVersion": "v1", "kind": "a b"}),
                &["spec.paramKind.kind: Invalid value: \"a b\": may have mixed case, but should otherwise match:"],
            ),
        ],
    );
    check_faults(
        "admissionregistration.k8s.io/validatingadmissionpolicybindings",
        &json!({"metadata": {"name": "a"}, "spec": {"policyName": "a", "validationActions": ["Deny"]}}),
        &[
            ("/spec/policyName", json!(""), &["spec.policyName: Required value"]),
            (
                "/spec/validationActions",
                json!([]),
                &["spec.validationActions: Required value: at least one validation action is required"],
            ),
            ("/spec/paramRef", json!({"name": "a"}), &["spec.paramRef.parameterNotFoundAction: Required value"]),
        ],
    );
    let patch = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]);
    check_faults(
        "admissionregistration.k8s.io/mutatingadmissionpolicies",
        &json!({"metadata": {"name": "a"}, "spec": {"matchConstraints": {"resourceRules": rules}, "mutations": patch}}),
        &[(
            "/spec/mutations",
            json!([]),
            &["spec.mutations: Required value: mutations must contain at least one item"],
        )],
    );
}

#[test]
fn api_services_are_named_for_their_version() {
    let kind = "apiregistration.k8s.io/apiservices";
    let good = json!({"metadata": {"name": "v1.example.com"}, "spec": {"group": "example.com", "version": "v1",
        "groupPriorityMinimum": 1000, "versionPriority": 15, "service": {"namespace": "n", "name": "s"}}});
    check_faults(
        kind,
        &good,
        &[
            (
                "/metadata/name",
                json!("a"),
                &["metadata.name: Invalid value: \"a\": must be `spec.version+\".\"+spec.group`: \"v1.example.com\""],
            ),
            (
                "/spec/groupPriorityMinimum",
                json!(0),
                &["spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000"],
            ),
        ],
    );
    let made = created(kind, good);
    assert_eq!(cells(kind, &made, true)[1..3], [json!("n/s"), json!("Unknown")]);
    let local = created(kind, changed(&made, "/spec/service", &Value::Null));
    assert_eq!(cells(kind, &local, true)[1..3], [json!("Local"), json!("True")]);
}

#[test]
fn flows_go_to_levels() {
    let kind = "flowcontrol.apiserver.k8s.io/flowschemas";
    let good = json!({"metadata": {"name": "a"}, "spec": {"priorityLevelConfiguration": {"name": "l"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "u"}}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}]}});
    check_faults(
        kind,
        &good,
        &[
            (
                "/spec/matchingPrecedence",
                json!(1),
                &[
                    "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                ],
            ),
            (
                "/spec/rules/0/subjects/0/group",
                json!({"name": "g"}),
                &["spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"],
            ),
            (
                "/spec/rules/0/nonResourceRules/0/nonResourceURLs/0",
                json!("x"),
                &["spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start with slash"],
            ),
        ],
    );
    let mut exempt = json!({"metadata": {"name": "exempt"}, "spec": flow_schema::mandatory("exempt").unwrap()});
    assert_eq!(faults(kind, exempt.clone(), None), Vec::<String>::new());
    exempt["spec"]["rules"] = json!([]);
    assert!(faults(kind, exempt, None)[0].contains("spec of 'exempt' must equal the fixed value"));
    let level = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";
    let good = json!({"metadata": {"name": "a"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}});
    check_faults(
        level,
        &good,
        &[
            (
                "/spec/type",
                json!("Exempt"),
                &[
                    "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
                    "spec.limited: Forbidden: must be nil if the type is not Limited",
                ],
            ),
            (
                "/spec/limited/limitResponse/queuing/handSize",
                json!(65),
                &[
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)",
                ],
            ),
        ],
    );
    let made = created(level, good);
    assert_eq!(cells(level, &made, true)[1..6], [json!("Limited"), json!(30), json!(64), json!(8), json!(50)]);
}

#[test]
fn devices_are_claimed_and_offered() {
    let kind = "resource.k8s.io/resourceclaims";
    let good = json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [
        {"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}]}}});
    check_faults(
        kind,
        &good,
        &[
            (
                "/spec/devices/requests/0",
                json!({"name": "gpu"}),
                &["spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"],
            ),
            (
                "/spec/devices/requests/0/exactly/deviceClassName",
                json!(""),
                &["spec.devices.requests[0].exactly.deviceClassName: Required value"],
            ),
        ],
    );
    let made = created(kind, good);
    assert_eq!(made["spec"]["devices"]["requests"][0]["exactly"]["count"], 1);
    assert_eq!(cells(kind, &made, true)[1], "pending");
    check_faults(
        "resource.k8s.io/resourceslices",
        &json!({"metadata": {"name": "a"}, "spec": {"driver": "d", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1}}}),
        &[
            ("/spec/nodeName", Value::Null, &["spec: Required value: exactly one of"]),
            (
                "/spec/pool/resourceSliceCount",
                json!(0),
                &["spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"],
            ),
        ],
    );
}

#[test]
fn the_parts_of_the_control_plane_are_told_of() {
    let all = component_status::all();
    let names: Vec<&Value> = all.iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["controller-manager", "etcd-0", "scheduler"]);
    assert_eq!(cells("componentstatuses", &all[0], true)[1..], [json!("Healthy"), json!("ok"), json!("")]);
}
