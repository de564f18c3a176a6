//! CustomResourceDefinitions and their resources over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use objects::{WatchEvent, WatchOptions, WebhookCaller, WebhookError};
use serde_json::{Value, json};

use super::harness::{Cluster, cluster};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

fn definition(spec: Value) -> Value {
    json!({
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "description": "A thing.", "properties": { "spec": spec, "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } } },
            }],
        },
    })
}

fn sized() -> Value {
    json!({
        "type": "object", "required": ["size"],
        "properties": {
            "size": { "type": "integer", "minimum": 0, "description": "How large it is." }, "color": { "type": "string", "default": "red" },
            "nothing": { "type": "object" },
        },
        "x-kubernetes-validations": [{ "rule": "self.size < 100", "message": "too large" }],
    })
}

fn widget(name: &str, size: i64) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name }, "spec": { "size": size } })
}

/// Waits until a definition is as wished.
async fn until(cluster: &Cluster, name: &str, wished: impl Fn(Option<&Value>) -> bool) {
    let objects = cluster.server.objects();
    let kind = objects.kinds().by_resource("apiextensions.k8s.io", "v1", "customresourcedefinitions").unwrap().clone();
    let mut watch = objects.watch(&kind, None, &WatchOptions::default()).await.unwrap();
    let wait = async {
        while let Some(event) = watch.next().await {
            let (object, there) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                WatchEvent::Deleted(object) => (object, false),
                _ => continue,
            };
            let value = object.value();
            if value["metadata"]["name"] == name && wished(there.then_some(&value)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the definition gets there");
}

fn has(definition: Option<&Value>, condition: &str, status: &str) -> bool {
    let conditions = definition.and_then(|definition| definition["status"]["conditions"].as_array());
    conditions.is_some_and(|all| all.iter().any(|each| each["type"] == condition && each["status"] == status))
}

async fn install(cluster: &Cluster, definition: &Value) {
    cluster.post(DEFINITIONS, definition).await;
    let name = definition["metadata"]["name"].as_str().unwrap();
    until(cluster, name, |definition| has(definition, "Established", "True")).await;
}

#[tokio::test]
async fn a_definition_makes_a_kind_that_is_served_at_once() {
    let cluster = cluster().await;
    assert_eq!(cluster.get(WIDGETS).await.refusal(), "404 NotFound the server could not find the requested resource");
    install(&cluster, &definition(sized())).await;
    let made = cluster.post(WIDGETS, &widget("a", 5)).await.json();
    assert_eq!(made["spec"], json!({ "size": 5, "color": "red" }));
    assert_eq!(made["metadata"]["generation"], 1);

    let group = cluster.get("/apis/example.com/v1").await.json();
    assert_eq!(group["resources"][0]["shortNames"], json!(["wd"]));
    let explained = cluster.get("/openapi/v3/apis/example.com/v1").await.json();
    let schema = &explained["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["description"], "A thing.");
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["description"], "How large it is.");
    let merged = cluster.get("/openapi/v2").await.json();
    assert!(merged["definitions"]["com.example.v1.Widget"]["properties"]["spec"].is_object());

    let patched = cluster.ask("PATCH", &format!("{WIDGETS}/a"), &[MERGE], r#"{"spec":{"color":"blue"}}"#).await;
    assert_eq!((patched.code, patched.json()["metadata"]["generation"].as_i64()), (200, Some(2)));
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    assert_eq!(cluster.ask("PATCH", &format!("{WIDGETS}/a"), &[strategic], "{}").await.code, 415);
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let rows = cluster.ask("GET", WIDGETS, &[table], "").await.json();
    assert_eq!(rows["columnDefinitions"][1]["name"], "Age");
}

#[tokio::test]
async fn wrong_resources_are_refused_with_causes() {
    let cluster = cluster().await;
    install(&cluster, &definition(sized())).await;
    let send = async |object: Value| cluster.ask("POST", WIDGETS, &[JSON], object.to_string()).await;
    let typed = send(json!({ "metadata": { "name": "a" }, "spec": { "size": "big" } })).await;
    let wanted = "422 Invalid Widget.example.com \"a\" is invalid: [spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \
         \"string\", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]";
    assert_eq!(typed.refusal(), wanted);
    assert_eq!(typed.json()["details"]["causes"][0]["reason"], "FieldValueTypeInvalid");
    let missing = send(json!({ "metadata": { "name": "a" }, "spec": {} })).await;
    assert!(missing.refusal().contains("spec.size: Required value"), "{}", missing.refusal());
    let ruled = send(widget("a", 100)).await;
    assert_eq!(
        ruled.refusal(),
        "422 Invalid Widget.example.com \"a\" is invalid: spec: Invalid value: \"object\": too large"
    );
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let unknown = cluster
        .ask(
            "POST",
            &strict,
            &[JSON],
            json!({ "metadata": { "name": "a" }, "spec": { "size": 1, "sise": 1 } }).to_string(),
        )
        .await;
    assert!(unknown.refusal().contains("strict decoding error: unknown field \"spec.sise\""), "{}", unknown.refusal());
    let no_rule = definition(json!({ "type": "object", "x-kubernetes-validations": [{ "rule": "self.z == 1" }] }));
    let refused = cluster.ask("POST", DEFINITIONS, &[JSON], no_rule.to_string()).await;
    assert!(refused.refusal().contains("undefined field 'z'"), "{}", refused.refusal());
}

#[tokio::test]
async fn status_and_scale_are_their_own() {
    let cluster = cluster().await;
    let mut with = definition(json!({ "type": "object", "properties": { "replicas": { "type": "integer" } } }));
    with["spec"]["versions"][0]["subresources"] = json!({
        "status": {}, "scale": { "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector" },
    });
    with["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        { "name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas" }, { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ]);
    with["spec"]["versions"][0]["selectableFields"] = json!([{ "jsonPath": ".spec.replicas" }]);
    install(&cluster, &with).await;
    let mut object = widget("a", 0);
    object["spec"] = json!({ "replicas": 2 });
    object["status"] = json!({ "replicas": 9 });
    let made = cluster.post(WIDGETS, &object).await.json();
    assert!(made.get("status").is_none());
    let status = json!({ "status": { "replicas": 2, "selector": "a=b" }, "spec": { "replicas": 50 } });
    let said = cluster.ask("PATCH", &format!("{WIDGETS}/a/status"), &[MERGE], status.to_string()).await.json();
    assert_eq!(
        (&said["spec"]["replicas"], &said["status"]["replicas"], &said["metadata"]["generation"]),
        (&json!(2), &json!(2), &json!(1))
    );
    let scale = cluster.get(&format!("{WIDGETS}/a/scale")).await.json();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("a=b")));
    let scaled = cluster.ask("PATCH", &format!("{WIDGETS}/a/scale"), &[MERGE], r#"{"spec":{"replicas":7}}"#).await;
    assert_eq!(scaled.json()["spec"]["replicas"], 7);
    assert_eq!(cluster.get(&format!("{WIDGETS}/a")).await.json()["metadata"]["generation"], 2);
    let found = cluster.get(&format!("{WIDGETS}?fieldSelector=spec.replicas=7")).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let none = cluster.get(&format!("{WIDGETS}?fieldSelector=spec.replicas=8")).await.json();
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
    assert_eq!(cluster.get(&format!("{WIDGETS}?fieldSelector=spec.other=8")).await.code, 400);
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let rows = cluster.ask("GET", WIDGETS, &[table], "").await.json();
    assert_eq!(rows["rows"][0]["cells"][1], 7);
}

#[tokio::test]
async fn a_new_default_shows_in_what_is_stored() {
    let cluster = cluster().await;
    install(
        &cluster,
        &definition(
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } } }),
        ),
    )
    .await;
    let object = json!({ "metadata": { "name": "x" }, "spec": { "a": "1", "b": "2" } });
    cluster.post(WIDGETS, &object).await;
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let patch = json!([{ "op": "replace", "path": schema, "value": { "a": { "type": "string" }, "c": { "type": "string", "default": "new" } } }]);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let media = ("content-type", "application/json-patch+json");
    assert_eq!(cluster.ask("PATCH", &path, &[media], patch.to_string()).await.code, 200);
    let fresh = async {
        while cluster.get(&format!("{WIDGETS}/x")).await.json()["spec"] != json!({ "a": "1", "c": "new" }) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), fresh).await.expect("the new schema is in force");
    assert_eq!(cluster.get(WIDGETS).await.json()["items"][0]["spec"], json!({ "a": "1", "c": "new" }));
}

#[tokio::test]
async fn deleting_a_definition_takes_its_resources_along() {
    let cluster = cluster().await;
    install(&cluster, &definition(sized())).await;
    let mut held = widget("held", 1);
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    cluster.post(WIDGETS, &held).await;
    cluster.post(WIDGETS, &widget("free", 1)).await;
    let objects = cluster.server.objects();
    let kind = objects.kinds().by_resource("example.com", "v1", "widgets").unwrap().clone();
    let mut watch = objects.watch(&kind, None, &WatchOptions::default()).await.unwrap();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    assert_eq!(cluster.ask("DELETE", &path, &[], "").await.code, 200);
    until(&cluster, "widgets.example.com", |definition| has(definition, "Terminating", "True")).await;
    let refused = async {
        loop {
            let answer = cluster.ask("POST", WIDGETS, &[JSON], widget("late", 1).to_string()).await;
            if answer.code == 405 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("nothing new is made");
    let release =
        cluster.ask("PATCH", &format!("{WIDGETS}/held"), &[MERGE], r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!(release.code, 200, "{}", release.text());
    let over = async { while watch.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("watches end");
    assert_eq!(cluster.get(WIDGETS).await.code, 404);
    assert_eq!(cluster.get(&path).await.code, 404);
    // The same again, from nothing.
    install(&cluster, &definition(sized())).await;
    assert_eq!(cluster.get(WIDGETS).await.json()["items"], json!([]));
}

/// Turns `size: 5` into `sizeText: "5"` and back.
struct Converter(AtomicUsize);

#[async_trait]
impl WebhookCaller for Converter {
    async fn call(&self, _client: &Value, body: Value, _timeout: Duration) -> Result<Value, WebhookError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let wanted = body["request"]["desiredAPIVersion"].as_str().unwrap_or_default().to_owned();
        let turn = |object: &Value| {
            let mut object = object.clone();
            object["apiVersion"] = json!(wanted);
            if wanted.ends_with("/v2") {
                object["spec"] = json!({ "sizeText": object["spec"]["size"].to_string() });
            } else {
                let size: i64 = object["spec"]["sizeText"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
                object["spec"] = json!({ "size": size });
            }
            object
        };
        let turned: Vec<Value> = body["request"]["objects"].as_array().into_iter().flatten().map(turn).collect();
        Ok(
            json!({ "kind": "ConversionReview", "response": { "uid": body["request"]["uid"], "result": { "status": "Success" }, "convertedObjects": turned } }),
        )
    }
}

#[tokio::test]
async fn versions_are_converted_by_a_webhook() {
    let cluster = cluster().await;
    let converter = Arc::new(Converter(AtomicUsize::new(0)));
    cluster.server.objects().set_webhook_caller(converter.clone());
    let mut both = definition(json!({ "type": "object", "properties": { "size": { "type": "integer" } } }));
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({ "type": "object", "properties": { "sizeText": { "type": "string" } } });
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    both["spec"]["conversion"] = json!({
        "strategy": "Webhook", "webhook": { "conversionReviewVersions": ["v1"], "clientConfig": { "service": { "namespace": "default", "name": "convert" } } },
    });
    install(&cluster, &both).await;
    let v2 = WIDGETS.replace("/v1/", "/v2/");
    let object = json!({ "apiVersion": "example.com/v2", "kind": "Widget", "metadata": { "name": "a" }, "spec": { "sizeText": "5" } });
    let made = cluster.post(&v2, &object).await.json();
    assert_eq!((&made["apiVersion"], &made["spec"]), (&json!("example.com/v2"), &json!({ "sizeText": "5" })));
    let stored = cluster.get(&format!("{WIDGETS}/a")).await.json();
    assert_eq!((&stored["apiVersion"], &stored["spec"]), (&json!("example.com/v1"), &json!({ "size": 5 })));
    cluster.post(WIDGETS, &widget("b", 7)).await;
    let before = converter.0.load(Ordering::Relaxed);
    let listed = cluster.get(&v2).await.json();
    assert_eq!(listed["items"][1]["spec"], json!({ "sizeText": "7" }));
    assert_eq!(converter.0.load(Ordering::Relaxed), before + 1, "a list is one review");
    let patched = cluster.ask("PATCH", &format!("{v2}/b"), &[MERGE], r#"{"spec":{"sizeText":"8"}}"#).await;
    assert_eq!(patched.json()["spec"], json!({ "sizeText": "8" }), "{}", patched.text());
    assert_eq!(cluster.get(&format!("{WIDGETS}/b")).await.json()["spec"], json!({ "size": 8 }));
    let objects = cluster.server.objects();
    let kind = objects.kinds().by_resource("example.com", "v2", "widgets").unwrap().clone();
    let mut watch = objects.watch(&kind, None, &WatchOptions::default()).await.unwrap();
    let Some(WatchEvent::Added(first)) = watch.next().await else { panic!("nothing was there") };
    assert_eq!(first.value()["spec"], json!({ "sizeText": "5" }));
}

#[tokio::test]
async fn without_a_webhook_only_the_version_changes() {
    let cluster = cluster().await;
    let mut both = definition(json!({ "type": "object", "properties": { "size": { "type": "integer" } } }));
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["additionalPrinterColumns"] = json!([{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }]);
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    install(&cluster, &both).await;
    cluster.post(WIDGETS, &widget("a", 3)).await;
    let v2 = WIDGETS.replace("/v1/", "/v2/");
    let seen = cluster.get(&format!("{v2}/a")).await.json();
    assert_eq!((&seen["apiVersion"], &seen["spec"]["size"]), (&json!("example.com/v2"), &json!(3)));
    let changed = cluster.ask("PATCH", &format!("{v2}/a"), &[MERGE], r#"{"spec":{"size":4}}"#).await;
    assert_eq!(changed.json()["apiVersion"], "example.com/v2");
    // Objects stored in a version that is no longer the one to store are read in any.
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let swap = json!([
        { "op": "replace", "path": "/spec/versions/0/storage", "value": false }, { "op": "replace", "path": "/spec/versions/1/storage", "value": true },
    ]);
    let swapped =
        cluster.ask("PATCH", &path, &[("content-type", "application/json-patch+json")], swap.to_string()).await;
    assert_eq!(swapped.json()["status"]["storedVersions"], json!(["v1", "v2"]), "{}", swapped.text());
    let read = async {
        for at in [WIDGETS, v2.as_str()] {
            let wanted = if at == WIDGETS { "example.com/v1" } else { "example.com/v2" };
            let seen = cluster.get(&format!("{at}/a")).await.json();
            assert_eq!((&seen["apiVersion"], &seen["spec"]["size"]), (&json!(wanted), &json!(4)));
        }
    };
    read.await;
    let gone = json!([{ "op": "remove", "path": "/spec/versions/0" }]);
    let refused =
        cluster.ask("PATCH", &path, &[("content-type", "application/json-patch+json")], gone.to_string()).await;
    assert!(
        refused.refusal().contains("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions"),
        "{}",
        refused.refusal()
    );
}

#[tokio::test]
async fn a_version_that_asks_for_less_is_enough() {
    let cluster = cluster().await;
    let mut both = definition(
        json!({ "type": "object", "required": ["size"], "properties": { "size": { "type": "integer" }, "color": { "type": "string" } } }),
    );
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({ "type": "object", "properties": { "size": { "type": "integer" }, "color": { "type": "string", "enum": ["red", "blue"] } } });
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    install(&cluster, &both).await;
    let v2 = WIDGETS.replace("/v1/", "/v2/");
    let object = json!({ "apiVersion": "example.com/v2", "kind": "Widget", "metadata": { "name": "a" }, "spec": { "color": "red" } });
    cluster.post(&v2, &object).await;
    let path = format!("{v2}/a");
    let blue = cluster.ask("PATCH", &path, &[MERGE], r#"{"spec":{"color":"blue"}}"#).await;
    assert_eq!(blue.code, 200, "{}", blue.text());
    let green = cluster.ask("PATCH", &path, &[MERGE], r#"{"spec":{"color":"green"}}"#).await;
    assert!(green.refusal().contains("spec.color: Unsupported value: \"green\""), "{}", green.refusal());
    let other =
        cluster.ask("POST", WIDGETS, &[JSON], json!({ "metadata": { "name": "b" }, "spec": {} }).to_string()).await;
    assert!(other.refusal().contains("spec.size: Required value"), "{}", other.refusal());
}
