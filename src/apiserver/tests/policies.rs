//! Admission policies refuse, warn about, note and change requests.

use serde_json::{Value, json};

use super::harness::{Answer, Cluster, cluster};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules(group: &str, resource: &str) -> Value {
    json!({ "resourceRules": [{
        "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource],
    }] })
}

fn deployment(replicas: i64) -> Value {
    json!({
        "metadata": { "name": "d", "labels": { "app": "d" } },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "a": "b" } },
            "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
        },
    })
}

impl Cluster {
    async fn validating(&self, name: &str, spec: &Value, binding: &Value) {
        self.policy("validating", name, spec, binding).await;
    }

    async fn policy(&self, kind: &str, name: &str, spec: &Value, binding: &Value) {
        let policy = json!({ "metadata": { "name": name }, "spec": spec });
        self.post(&format!("{GROUP}/{kind}admissionpolicies"), &policy).await;
        let mut binding = binding.clone();
        binding["policyName"] = json!(name);
        let binding = json!({ "metadata": { "name": format!("{name}-binding") }, "spec": binding });
        self.post(&format!("{GROUP}/{kind}admissionpolicybindings"), &binding).await;
    }

    async fn send(&self, path: &str, object: &Value) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], object.to_string()).await
    }

    async fn deploy(&self, replicas: i64) -> Answer {
        let path = "/apis/apps/v1/namespaces/default/deployments?dryRun=All";
        self.send(path, &deployment(replicas)).await
    }
}

#[tokio::test]
async fn a_policy_refuses_with_its_message_and_reason() {
    let cluster = cluster().await;
    let spec = json!({
        "matchConstraints": rules("apps", "deployments"),
        "matchConditions": [{ "name": "labelled", "expression": "has(object.metadata.labels)" }],
        "variables": [
            { "name": "most", "expression": "5" },
            { "name": "wanted", "expression": "object.spec.replicas" },
            { "name": "tooMany", "expression": "variables.wanted > variables.most" },
        ],
        "validations": [
            {
                "expression": "!variables.tooMany",
                "messageExpression": "'at most ' + string(variables.most) + ', not ' + string(variables.wanted)",
                "reason": "Forbidden",
            },
            { "expression": "object.spec.replicas != 4", "message": "not four" },
            { "expression": "authorizer.requestResource.check('delete').allowed() && !authorizer.serviceAccount('default', 'x').path('/metrics').check('get').allowed()" },
            { "expression": "object.spec.replicas != 3" },
            { "expression": "object.spec.replicas != 2 || object.spec.nothing == 1" },
        ],
    });
    cluster.validating("limit", &spec, &json!({ "validationActions": ["Deny"] })).await;
    assert_eq!(cluster.deploy(1).await.code, 201);
    let denied = "deployments.apps \"d\" is forbidden: ValidatingAdmissionPolicy 'limit' with binding 'limit-binding' denied request:";
    for (replicas, wanted) in [
        (6, format!("403 Forbidden {denied} at most 5, not 6")),
        (4, format!("422 Invalid {denied} not four")),
        (3, format!("422 Invalid {denied} failed expression: object.spec.replicas != 3")),
        (
            2,
            format!(
                "422 Invalid {denied} expression 'object.spec.replicas != 2 || object.spec.nothing == 1' resulted in error: no such key: nothing"
            ),
        ),
    ] {
        let refused = cluster.deploy(replicas).await;
        assert_eq!(refused.refusal(), wanted);
        assert_eq!(refused.json()["details"]["kind"], "deployments");
        assert!(
            refused.json()["details"]["causes"][0]["message"]
                .as_str()
                .unwrap()
                .starts_with("ValidatingAdmissionPolicy")
        );
    }
}

#[tokio::test]
async fn bindings_warn_and_say_for_whom_a_policy_is() {
    let cluster = cluster().await;
    let spec = json!({
        "matchConstraints": rules("", "configmaps"),
        "validations": [{ "expression": "namespaceObject.metadata.name != 'other'", "message": "not here" }],
        "auditAnnotations": [{ "key": "who", "valueExpression": "request.userInfo.username" }],
    });
    let binding = json!({ "validationActions": ["Warn", "Audit"], "matchResources": { "objectSelector": { "matchLabels": { "a": "b" } } } });
    cluster.validating("place", &spec, &binding).await;
    let path = "/api/v1/namespaces/other/configmaps";
    let warned = cluster.send(path, &json!({ "metadata": { "name": "a", "labels": { "a": "b" } } })).await;
    let warning =
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'place' with binding 'place-binding': not here\"";
    assert_eq!((warned.code, warned.header("warning")), (201, warning));
    let quiet = cluster.send(path, &json!({ "metadata": { "name": "b" } })).await;
    assert_eq!((quiet.code, quiet.header("warning")), (201, ""));
}

#[tokio::test]
async fn parameters_come_from_objects() {
    let cluster = cluster().await;
    let spec = json!({
        "matchConstraints": rules("apps", "deployments"),
        "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
        "validations": [{ "expression": "object.spec.replicas <= int(params.data.most)", "messageExpression": "'most: ' + params.data.most" }],
    });
    let reference = json!({ "selector": { "matchLabels": { "limits": "yes" } }, "parameterNotFoundAction": "Deny" });
    cluster.validating("limit", &spec, &json!({ "validationActions": ["Deny"], "paramRef": reference })).await;
    let denied = "422 Invalid deployments.apps \"d\" is forbidden: ValidatingAdmissionPolicy 'limit' with binding 'limit-binding' denied request:";
    let none = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(cluster.deploy(1).await.refusal(), format!("{denied} {none}"));
    for (name, most) in [("a", "5"), ("b", "3")] {
        let limits = json!({ "metadata": { "name": name, "labels": { "limits": "yes" } }, "data": { "most": most } });
        cluster.post("/api/v1/namespaces/default/configmaps", &limits).await;
    }
    assert_eq!(cluster.deploy(3).await.code, 201);
    assert_eq!(cluster.deploy(4).await.refusal(), format!("{denied} most: 3"));
}

#[tokio::test]
async fn mutating_policies_apply_and_patch() {
    let cluster = cluster().await;
    let sidecar = json!({
        "matchConstraints": rules("", "pods"), "reinvocationPolicy": "Never", "failurePolicy": "Fail",
        "matchConditions": [{ "name": "none-yet", "expression": "!object.spec.containers.exists(c, c.name == 'mesh')" }],
        "mutations": [
            { "patchType": "ApplyConfiguration", "applyConfiguration": { "expression":
                "Object{ metadata: Object.metadata{ labels: {'meshed': 'yes'} }, spec: Object.spec{ containers: [Object.spec.containers{ name: 'mesh', image: 'proxy' }] } }" } },
            { "patchType": "JSONPatch", "jsonPatch": { "expression":
                "[JSONPatch{op: 'test', path: '/spec/containers/0/name', value: 'main'}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/env'), value: 'test'}]" } },
        ],
    });
    cluster.policy("mutating", "mesh", &sidecar, &json!({})).await;
    let made = cluster.send("/api/v1/namespaces/default/pods", &super::harness::pod("p")).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let pod = made.json();
    assert_eq!(pod["metadata"]["labels"], json!({ "meshed": "yes", "example.com/env": "test" }));
    let names: Vec<&str> =
        pod["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "mesh"]);
    assert_eq!(pod["spec"]["containers"][1]["terminationMessagePolicy"], "File");

    let atomic = json!({
        "matchConstraints": rules("", "services"), "reinvocationPolicy": "Never",
        "mutations": [{ "patchType": "ApplyConfiguration", "applyConfiguration": { "expression":
            "Object{ spec: Object.spec{ externalIPs: ['1.2.3.4'] } }" } }],
    });
    cluster.policy("mutating", "atomic", &atomic, &json!({})).await;
    let service = json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } });
    let refused = cluster.send("/api/v1/namespaces/default/services", &service).await;
    let why = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.externalIPs";
    assert_eq!(
        refused.refusal(),
        format!("403 Invalid policy 'atomic' with binding 'atomic-binding' denied request: {why}")
    );
}

#[tokio::test]
async fn expressions_that_mean_nothing_are_refused_with_the_policy() {
    let cluster = cluster().await;
    let policy = |expression: &str| {
        json!({ "metadata": { "name": "p" }, "spec": {
            "matchConstraints": rules("apps", "deployments"), "validations": [{ "expression": expression }],
        } })
    };
    for (expression, wanted) in [
        ("object.spec.replicas +", "compilation failed: ERROR: <input>:1:"),
        ("nothing == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')"),
        ("variables.x == 1", "compilation failed: ERROR: <input>:1:10: undefined field 'x'"),
        ("'text'", "must evaluate to bool"),
        ("params.x == 1", "undeclared reference to 'params'"),
    ] {
        let refused = cluster.send(&format!("{GROUP}/validatingadmissionpolicies"), &policy(expression)).await;
        assert_eq!(refused.code, 422, "{expression}: {}", refused.text());
        let cause = &refused.json()["details"]["causes"][0];
        assert_eq!(cause["field"], "spec.validations[0].expression");
        let message = cause["message"].as_str().unwrap();
        assert!(message.contains(wanted), "{expression}: {message}");
    }
}

#[tokio::test]
async fn the_status_tells_of_types_that_do_not_fit() {
    let cluster = cluster().await;
    let keeper =
        crate::admission::keep_policy_status(cluster.server.objects().clone(), objects::WriteOptions::default());
    cluster.tasks.job("policy status", keeper);
    let spec = json!({
        "matchConstraints": rules("apps", "deployments"),
        "validations": [{ "expression": "object.spec.replicas > '1'" }, { "expression": "object.spec.nothing > 1" }],
    });
    cluster.validating("typed", &spec, &json!({ "validationActions": ["Deny"] })).await;
    let reader = cluster.server.objects().reader();
    let status = reader.wait(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        std::time::Duration::from_secs(20),
        || {
            let found = reader.get("admissionregistration.k8s.io", "validatingadmissionpolicies", None, "typed")?;
            found.value().get("status").cloned()
        },
    );
    let status = status.await.unwrap();
    assert_eq!(status["observedGeneration"], 1);
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[0].expression");
    let warning = warnings[0]["warning"].as_str().unwrap();
    assert!(
        warning.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_'"),
        "{warning}"
    );
    assert!(warnings[1]["warning"].as_str().unwrap().contains("undefined field 'nothing'"), "{warnings:?}");
}

#[tokio::test]
async fn connections_and_deletions_are_requests_as_well() {
    let cluster = cluster().await;
    let rules = json!({ "resourceRules": [
        { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": ["pods/exec"] },
        { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["pods"] },
        { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"] },
    ] });
    let spec = json!({ "matchConstraints": rules, "validations": [
        { "expression": "request.operation != 'CONNECT' || object.command.all(word, word != 'rm')", "message": "no rm" },
        { "expression": "request.operation != 'DELETE' || !('keep' in oldObject.metadata.?labels.orValue({}))", "message": "kept" },
        { "expression": "request.subResource != 'eviction'", "message": "nobody is evicted" },
    ] });
    cluster.validating("gate", &spec, &json!({ "validationActions": ["Deny"] })).await;
    let mut pod = super::harness::pod("p");
    pod["metadata"]["labels"] = json!({ "keep": "" });
    cluster.post("/api/v1/namespaces/default/pods", &pod).await;
    let path = "/api/v1/namespaces/default/pods/p";
    let denied = "422 Invalid pods \"p\" is forbidden: ValidatingAdmissionPolicy 'gate' with binding 'gate-binding' denied request:";
    let gone = cluster.ask("DELETE", path, &[], "").await;
    assert_eq!(gone.refusal(), format!("{denied} kept"));
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } });
    let evicted = cluster.send(&format!("{path}/eviction"), &eviction).await;
    assert_eq!(evicted.refusal(), format!("{denied} nobody is evicted"));
}

#[tokio::test]
async fn who_has_a_policy_read_parameters_must_be_allowed_to_read_them() {
    let cluster = cluster().await;
    let spec = json!({
        "matchConstraints": rules("apps", "deployments"), "validations": [{ "expression": "params == null" }],
        "paramKind": { "apiVersion": "v1", "kind": "Secret" },
    });
    let policy = json!({ "metadata": { "name": "p" }, "spec": spec });
    let kinds = cluster.server.objects().kinds();
    let kind = kinds.by_kind("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy").unwrap();
    let somebody = objects::WriteOptions::by(api::UserInfo::new("somebody", Vec::<String>::new()));
    let refused = cluster.server.objects().create(kind, None, policy, &somebody).await.unwrap_err();
    assert_eq!((refused.code, refused.causes[0].field.as_str()), (422, "spec.paramKind"));
    let wanted = "must have \"get\" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)";
    assert!(refused.message.contains(wanted), "{refused}");
}
