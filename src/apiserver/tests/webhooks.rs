//! Webhooks have their say in requests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::{WebhookCaller, WebhookError};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::harness::{Answer, Cluster, cluster};

type Reply = dyn Fn(&str, &Value) -> Result<Value, WebhookError> + Send + Sync;

/// Programs outside of the cluster: what is sent to which URL, and what they answer.
struct Outside {
    reply: Box<Reply>,
    seen: Mutex<Vec<(String, Value)>>,
}

#[async_trait]
impl WebhookCaller for Outside {
    async fn call(&self, client_config: &Value, body: Value, _: Duration) -> Result<Value, WebhookError> {
        let url = client_config["url"].as_str().unwrap_or_default().to_owned();
        self.seen.lock().push((url.clone(), body.clone()));
        let response = (self.reply)(&url, &body["request"])?;
        let mut response = response;
        if response["uid"].is_null() {
            response["uid"] = body["request"]["uid"].clone();
        }
        Ok(json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response }))
    }
}

impl Outside {
    fn requests(&self) -> Vec<Value> {
        self.seen.lock().iter().map(|(_, body)| body["request"].clone()).collect()
    }
    fn urls(&self) -> Vec<String> {
        self.seen.lock().iter().map(|(url, _)| url.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }
}

fn outside(
    cluster: &Cluster,
    reply: impl Fn(&str, &Value) -> Result<Value, WebhookError> + Send + Sync + 'static,
) -> Arc<Outside> {
    let outside = Arc::new(Outside { reply: Box::new(reply), seen: Mutex::default() });
    cluster.server.objects().set_webhook_caller(outside.clone());
    outside
}

fn webhook(name: &str, more: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": { "url": format!("https://hooks.example.com/{name}") },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"] }],
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        webhook[field] = value.clone();
    }
    webhook
}

const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

impl Cluster {
    async fn configure(&self, kind: &str, name: &str, webhooks: &[Value]) {
        let path = format!("{HOOKS}/{}webhookconfigurations", kind.to_lowercase());
        self.post(&path, &json!({ "metadata": { "name": name }, "webhooks": webhooks })).await;
    }

    async fn try_config_map(&self, object: &Value, query: &str) -> Answer {
        let path = format!("/api/v1/namespaces/default/configmaps{query}");
        self.ask("POST", &path, &[("content-type", "application/json")], object.to_string()).await
    }
}

fn patch(operations: Value) -> Value {
    json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string()) })
}

#[tokio::test]
async fn a_validating_webhook_is_told_of_the_request_and_may_refuse_it() {
    let cluster = cluster().await;
    let outside = outside(&cluster, |_, request| {
        let bad = request["object"]["data"]["bad"] == "yes";
        let status = json!({ "message": "bad data", "code": 403, "reason": "Forbidden" });
        Ok(
            json!({ "allowed": !bad, "status": status, "warnings": ["mind the data"], "auditAnnotations": { "k": "v" } }),
        )
    });
    cluster.configure("Validating", "v", &[webhook("check", json!({}))]).await;
    let refused = cluster.try_config_map(&json!({ "metadata": { "name": "a" }, "data": { "bad": "yes" } }), "").await;
    let message = "admission webhook \"check.example.com\" denied the request: bad data";
    assert_eq!(refused.refusal(), format!("403 Forbidden {message}"));
    let made = cluster
        .try_config_map(&json!({ "metadata": { "name": "a" }, "data": { "bad": "no" } }), "?fieldManager=me")
        .await;
    assert_eq!((made.code, made.header("warning")), (201, "299 - \"mind the data\""));
    let asked = outside.requests().remove(1);
    let kind = json!({ "group": "", "version": "v1", "kind": "ConfigMap" });
    let resource = json!({ "group": "", "version": "v1", "resource": "configmaps" });
    assert_eq!((&asked["kind"], &asked["requestKind"]), (&kind, &kind));
    assert_eq!((&asked["resource"], &asked["requestResource"]), (&resource, &resource));
    assert_eq!((&asked["name"], &asked["namespace"]), (&json!("a"), &json!("default")));
    assert_eq!((&asked["operation"], &asked["dryRun"]), (&json!("CREATE"), &json!(false)));
    assert_eq!(asked["userInfo"]["username"], "admin");
    assert_eq!((&asked["oldObject"], &asked["options"]["kind"]), (&json!(null), &json!("CreateOptions")));
    assert_eq!(asked["object"]["data"]["bad"], "no");

    let gone = cluster.ask("DELETE", "/api/v1/namespaces/default/configmaps/a", &[], "").await;
    assert_eq!(gone.code, 200);
    let asked = outside.requests().pop().unwrap();
    assert_eq!((&asked["operation"], &asked["object"]), (&json!("DELETE"), &json!(null)));
    assert_eq!(asked["oldObject"]["data"]["bad"], "no");
    assert_eq!(asked["options"]["kind"], "DeleteOptions");
}

#[tokio::test]
async fn mutating_webhooks_change_what_is_written_and_are_asked_again_when_they_want() {
    let cluster = cluster().await;
    let outside = outside(&cluster, |url, request| {
        let has = |key: &str| request["object"]["data"].get(key).is_some();
        Ok(match url.rsplit('/').next() {
            Some("first") if has("late") && !has("again") => {
                patch(json!([{ "op": "add", "path": "/data/again", "value": "1" }]))
            }
            Some("late") if !has("late") => patch(json!([{ "op": "add", "path": "/data/late", "value": "1" }])),
            _ => json!({ "allowed": true }),
        })
    });
    let first = webhook("first", json!({ "reinvocationPolicy": "IfNeeded" }));
    cluster.configure("Mutating", "a", &[first, webhook("never", json!({}))]).await;
    cluster.configure("Mutating", "b", &[webhook("late", json!({}))]).await;
    let made = cluster.try_config_map(&json!({ "metadata": { "name": "a" }, "data": { "own": "1" } }), "").await;
    assert_eq!(made.json()["data"], json!({ "own": "1", "late": "1", "again": "1" }), "{}", made.text());
    assert_eq!(outside.urls(), ["first", "never", "late", "first"]);
}

#[tokio::test]
async fn a_webhook_that_fails_counts_by_its_policy() {
    let cluster = cluster().await;
    let reply = |url: &str, _: &Value| match url.rsplit('/').next() {
        Some("uid") => Ok(json!({ "allowed": true, "uid": "another" })),
        Some("patch") => Ok(patch(json!([]))),
        _ => Err(WebhookError::Deadline { url: "https://hooks.example.com/slow?timeout=1s".to_owned() }),
    };
    outside(&cluster, reply);
    let only = |name: &str| json!({ "objectSelector": { "matchLabels": { "hook": name } } });
    let mut ignored = only("ignored");
    ignored["failurePolicy"] = json!("Ignore");
    let webhooks = [
        webhook("slow", only("slow")),
        webhook("uid", only("uid")),
        webhook("patch", only("patch")),
        webhook("ignored", ignored),
    ];
    cluster.configure("Validating", "v", &webhooks).await;
    let failed = "500 InternalError Internal error occurred: failed calling webhook";
    for (hook, wanted) in [
        (
            "slow",
            "\"slow.example.com\": failed to call webhook: Post \"https://hooks.example.com/slow?timeout=1s\": context deadline exceeded",
        ),
        ("uid", "\"uid.example.com\": received invalid webhook response: expected response.uid="),
        (
            "patch",
            "\"patch.example.com\": received invalid webhook response: validating webhook may not return response.patch",
        ),
    ] {
        let object = json!({ "metadata": { "name": "a", "labels": { "hook": hook } } });
        let refused = cluster.try_config_map(&object, "").await.refusal();
        assert!(refused.starts_with(&format!("{failed} {wanted}")), "{refused}");
    }
    for hook in ["ignored", "none"] {
        let object = json!({ "metadata": { "name": hook, "labels": { "hook": hook } } });
        assert_eq!(cluster.try_config_map(&object, "").await.code, 201);
    }
}

#[tokio::test]
async fn a_dry_run_asks_no_webhook_with_side_effects() {
    let cluster = cluster().await;
    let outside = outside(&cluster, |_, _| Ok(json!({ "allowed": true })));
    cluster.configure("Validating", "v", &[webhook("pure", json!({}))]).await;
    let object = json!({ "metadata": { "name": "a" } });
    assert_eq!(cluster.try_config_map(&object, "?dryRun=All").await.code, 201);
    let asked = outside.requests().remove(0);
    assert_eq!((&asked["dryRun"], &asked["options"]["dryRun"]), (&json!(true), &json!(["All"])));
}

#[tokio::test]
async fn webhooks_see_namespaces_conditions_and_subresources_as_they_are_told() {
    let cluster = cluster().await;
    let outside = outside(&cluster, |_, _| Ok(json!({ "allowed": true })));
    let label = json!({ "metadata": { "name": "watched", "labels": { "watch": "yes" } } });
    cluster.post("/api/v1/namespaces", &label).await;
    let selector = json!({ "matchLabels": { "watch": "yes" } });
    let rule = |resource: &str, operation: &str| json!([{ "apiGroups": ["*"], "apiVersions": ["*"], "operations": [operation], "resources": [resource] }]);
    let webhooks = [
        webhook("namespace", json!({ "namespaceSelector": selector })),
        webhook(
            "condition",
            json!({ "matchConditions": [
            { "name": "c", "expression": "request.operation == 'CREATE' && object.metadata.name.startsWith('x')" },
            { "name": "d", "expression": "authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()" },
        ] }),
        ),
        webhook("scale", json!({ "rules": rule("deployments/scale", "UPDATE") })),
        webhook("token", json!({ "rules": rule("pods/eviction", "CREATE") })),
    ];
    cluster.configure("Validating", "v", &webhooks).await;
    cluster.post("/api/v1/namespaces/watched/configmaps", &json!({ "metadata": { "name": "a" } })).await;
    cluster.post("/api/v1/namespaces/default/configmaps", &json!({ "metadata": { "name": "b" } })).await;
    cluster.post("/api/v1/namespaces/default/configmaps", &json!({ "metadata": { "name": "x1" } })).await;
    assert_eq!(outside.urls(), ["namespace", "condition"]);

    let deployment = json!({ "metadata": { "name": "d" }, "spec": {
        "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
    } });
    cluster.post("/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    let path = "/apis/apps/v1/namespaces/default/deployments/d/scale";
    let merge = [("content-type", "application/merge-patch+json")];
    let scaled = cluster.ask("PATCH", path, &merge, json!({ "spec": { "replicas": 3 } }).to_string()).await;
    assert_eq!(scaled.code, 200, "{}", scaled.text());
    let asked = outside.requests().pop().unwrap();
    assert_eq!(asked["kind"], json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" }));
    assert_eq!((&asked["subResource"], &asked["object"]["spec"]["replicas"]), (&json!("scale"), &json!(3)));
    assert_eq!(asked["oldObject"]["spec"]["replicas"], 1);
}

#[tokio::test]
async fn webhooks_have_no_say_about_webhooks_and_what_they_cannot_be_is_refused() {
    let cluster = cluster().await;
    outside(&cluster, |_, _| Ok(json!({ "allowed": false })));
    let rules = json!([{ "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"] }]);
    cluster.configure("Validating", "all", &[webhook("no", json!({ "rules": rules }))]).await;
    assert_eq!(cluster.try_config_map(&json!({ "metadata": { "name": "a" } }), "").await.code, 400);
    let path = format!("{HOOKS}/validatingwebhookconfigurations");
    let conditions = json!([{ "name": "c", "expression": "object.spec.replicas >" }]);
    let wrong =
        json!({ "metadata": { "name": "w" }, "webhooks": [webhook("w", json!({ "matchConditions": conditions }))] });
    let refused = cluster.ask("POST", &path, &[("content-type", "application/json")], wrong.to_string()).await;
    assert_eq!(refused.code, 422, "{}", refused.text());
    let cause = &refused.json()["details"]["causes"][0];
    assert_eq!(cause["field"], "webhooks[0].matchConditions[0].expression");
    assert!(cause["message"].as_str().unwrap().contains("compilation failed: ERROR: <input>:1:"), "{cause}");
    let gone = cluster.ask("DELETE", &format!("{path}/all"), &[], "").await;
    assert_eq!(gone.code, 200, "{}", gone.text());
    assert_eq!(cluster.try_config_map(&json!({ "metadata": { "name": "a" } }), "").await.code, 201);
}

#[tokio::test]
async fn a_rule_takes_in_other_versions_of_the_same_objects() {
    let cluster = cluster().await;
    let outside = outside(&cluster, |_, request| {
        let fits = request["object"]["spec"].get("targetCPUUtilizationPercentage").is_some();
        let path = "/spec/targetCPUUtilizationPercentage";
        Ok(if fits {
            patch(json!([{ "op": "replace", "path": path, "value": 70 }]))
        } else {
            json!({ "allowed": true })
        })
    });
    let rules = json!([{
        "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["horizontalpodautoscalers"],
    }]);
    let exact = webhook("exact", json!({ "rules": rules, "matchPolicy": "Exact" }));
    cluster.configure("Mutating", "m", &[webhook("any", json!({ "rules": rules })), exact]).await;
    let scaler = json!({ "metadata": { "name": "h" }, "spec": {
        "scaleTargetRef": { "kind": "Deployment", "name": "d", "apiVersion": "apps/v1" }, "maxReplicas": 3,
        "metrics": [{ "type": "Resource", "resource": {
            "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 },
        } }],
    } });
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let made = cluster.post(path, &scaler).await.json();
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70, "{made}");
    assert_eq!(made["apiVersion"], "autoscaling/v2");
    assert_eq!(outside.urls(), ["any"]);
    let asked = outside.requests().remove(0);
    assert_eq!((&asked["kind"]["version"], &asked["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!((&asked["resource"]["version"], &asked["requestResource"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(asked["object"]["apiVersion"], "autoscaling/v1");
}

#[tokio::test]
async fn nobody_makes_another_object_of_an_object() {
    let cluster = cluster().await;
    outside(&cluster, |_, request| {
        let wanted = request["object"]["data"].clone();
        let path = format!("/metadata/{}", wanted["field"].as_str().unwrap_or_default());
        Ok(patch(json!([{ "op": "add", "path": path, "value": wanted["value"] }])))
    });
    cluster.configure("Mutating", "m", &[webhook("thief", json!({}))]).await;
    let object =
        |field: &str, value: &str| json!({ "metadata": { "name": "a" }, "data": { "field": field, "value": value } });
    for (field, value, wanted) in [
        (
            "name",
            "b",
            "400 BadRequest the name of the object (b) does not match the name on the request (a): admission changed it",
        ),
        (
            "namespace",
            "other",
            "400 BadRequest the namespace of the provided object does not match the namespace sent on the request",
        ),
    ] {
        assert_eq!(cluster.try_config_map(&object(field, value), "").await.refusal(), wanted);
    }
    let made = cluster.try_config_map(&object("uid", "mine"), "").await;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_ne!(made.json()["metadata"]["uid"], "mine");
    let left = json!({ "data": { "field": "managedFields", "value": "nonsense" } });
    let merge = [("content-type", "application/merge-patch+json")];
    let path = "/api/v1/namespaces/default/configmaps/a";
    let changed = cluster.ask("PATCH", path, &merge, left.to_string()).await;
    assert!(changed.code < 600, "{}", changed.text());
}
