//! Create, update, patch, subresources.

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::options::Warnings;

#[tokio::test]
async fn a_new_object_gets_its_identity() {
    let world = World::new().await;
    let sent = json!({"metadata": {
        "name": "a", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "deletionTimestamp": "2001-01-01T00:00:00Z",
        "generation": 7, "managedFields": [{"manager": "me"}],
    }, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let made = world.create("deployments", sent).await.unwrap();
    let value = made.value();
    assert_eq!(value["apiVersion"], "apps/v1");
    assert_eq!(value["kind"], "Deployment");
    let meta = &value["metadata"];
    assert_ne!(meta["uid"], "mine");
    assert_eq!(meta["namespace"], "default");
    assert_eq!(meta["generation"], 1);
    assert_ne!(meta["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert_eq!(meta.get("deletionTimestamp"), None);
    assert_eq!(meta["managedFields"][0]["manager"], "unknown", "the server says who wrote it");
    assert_eq!(meta["resourceVersion"], made.revision.to_string());
    assert_eq!(world.get("deployments", "a").await.unwrap().json, made.json, "whoever wrote reads it");
    let again = world.create("deployments", value).await.unwrap_err();
    assert_eq!(again.code, 400, "a resourceVersion is refused: {again}");
}

#[tokio::test]
async fn wrong_creates_are_refused_in_kubernetes_words() {
    let world = World::new().await;
    let rows = [
        (json!({"metadata": {}}), 422, "Required value: name or generateName is required"),
        (json!({"metadata": {"name": "Not A Name"}}), 422, "Invalid value: \"Not A Name\""),
        (
            json!({"metadata": {"name": "a", "namespace": "other"}}),
            400,
            "namespace of the provided object does not match",
        ),
        (json!({"kind": "Secret", "metadata": {"name": "a"}}), 400, "cannot be handled as a ConfigMap"),
        (json!({"apiVersion": "v2", "metadata": {"name": "a"}}), 400, "does not match the expected API version"),
        (json!([1]), 400, "must be an object"),
        (json!({"metadata": {"name": "a"}, "binaryData": {"k": "x".repeat(1_700_000)}}), 0, ""),
    ];
    for (object, code, words) in rows {
        let refused = world.create("configmaps", object).await.unwrap_err();
        if code > 0 {
            assert_eq!(refused.code, code, "{refused}");
        }
        assert!(refused.message.contains(words), "{refused}");
    }
    world.config_map("a", "1").await;
    let taken = world.create("configmaps", json!({"metadata": {"name": "a"}})).await.unwrap_err();
    assert_eq!((taken.code, taken.message.as_str()), (409, "configmaps \"a\" already exists"));
    let kind = world.kind("configmaps");
    let options = WriteOptions::default();
    let nowhere =
        world.objects.create(&kind, Some("nowhere"), json!({"metadata": {"name": "a"}}), &options).await.unwrap_err();
    assert_eq!((nowhere.code, nowhere.message.as_str()), (404, "namespaces \"nowhere\" not found"));
}

#[tokio::test]
async fn an_object_that_is_too_large_is_refused() {
    let world = World::new().await;
    let annotations = json!({"metadata": {"name": "big"}, "spec": {"holderIdentity": "x".repeat(1_600_000)}});
    let refused = world.create("leases", annotations).await.unwrap_err();
    assert_eq!(refused.code, 413, "{refused}");
    assert!(refused.message.starts_with("etcdserver: request is too large"));
}

#[tokio::test]
async fn generated_names_are_the_prefix_and_five_letters() {
    let world = World::new().await;
    let made = world.create("configmaps", json!({"metadata": {"generateName": "a-"}})).await.unwrap();
    assert_eq!(made.meta.name.len(), 7);
    assert!(made.meta.name.starts_with("a-"));
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let world = World::new().await;
    let kind = world.kind("configmaps");
    let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let made =
        world.objects.create(&kind, Some("default"), json!({"metadata": {"name": "a"}}), &options).await.unwrap();
    assert!(!made.meta.uid.is_empty());
    assert_eq!(world.get("configmaps", "a").await.unwrap_err().code, 404);
    let there = world.config_map("b", "1").await;
    let mut changed = there.value();
    changed["data"]["key"] = json!("2");
    let written = world.objects.update(&kind, Some("default"), "b", Sub::None, changed, &options).await.unwrap();
    assert_eq!(written.object.value()["data"]["key"], "2");
    assert_eq!(world.get("configmaps", "b").await.unwrap().json, there.json);
    let gone = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
    world.delete("configmaps", "b", gone).await.unwrap();
    world.get("configmaps", "b").await.unwrap();
}

#[tokio::test]
async fn an_update_compares_revisions_and_uids() {
    let world = World::new().await;
    let first = world.config_map("a", "1").await.value();
    let mut second = first.clone();
    second["data"]["key"] = json!("2");
    world.update("configmaps", "a", Sub::None, second.clone()).await.unwrap();
    let stale = world.update("configmaps", "a", Sub::None, second.clone()).await.unwrap_err();
    assert_eq!(stale.code, 409);
    assert_eq!(
        stale.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    second["metadata"]["resourceVersion"] = json!("");
    second["data"]["key"] = json!("3");
    world.update("configmaps", "a", Sub::None, second.clone()).await.unwrap();
    second["metadata"]["uid"] = json!("another");
    let other = world.update("configmaps", "a", Sub::None, second.clone()).await.unwrap_err();
    assert!(
        other.message.contains("Precondition failed: UID in precondition: another, UID in object meta: "),
        "{other}"
    );
    let missing = world.update("configmaps", "b", Sub::None, json!({"metadata": {"name": "b"}})).await.unwrap_err();
    assert_eq!((missing.code, missing.message.as_str()), (404, "configmaps \"b\" not found"));
    let named = world.update("configmaps", "a", Sub::None, json!({"metadata": {"name": "b"}})).await.unwrap_err();
    assert_eq!(named.message, "the name of the object (b) does not match the name on the URL (a)");
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_not_written() {
    let world = World::new().await;
    let first = world.config_map("a", "1").await;
    let again = world.update("configmaps", "a", Sub::None, first.value()).await.unwrap();
    assert_eq!(again.revision, first.revision);
    let merged = world.patch("configmaps", "a", Patch::Merge(json!({"data": {"key": "1"}}))).await.unwrap();
    assert_eq!(merged.object.revision, first.revision);
}

fn deployment(replicas: u32) -> Value {
    json!({"metadata": {"name": "d"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_only() {
    let world = World::new().await;
    let made = world.create("deployments", deployment(1)).await.unwrap();
    let mut value = made.value();
    value["status"] = json!({"replicas": 5, "observedGeneration": 1});
    let status = world.update("deployments", "d", Sub::Status, value.clone()).await.unwrap();
    assert_eq!(status.meta.generation, 1);
    assert_eq!(status.value()["status"]["replicas"], 5);
    let mut value = status.value();
    value["metadata"]["labels"] = json!({"x": "y"});
    value["status"]["replicas"] = json!(9);
    let labelled = world.update("deployments", "d", Sub::None, value).await.unwrap();
    assert_eq!(labelled.meta.generation, 1);
    assert_eq!(labelled.value()["status"]["replicas"], 5, "the status is not written through the object");
    let mut value = labelled.value();
    value["spec"]["replicas"] = json!(3);
    assert_eq!(world.update("deployments", "d", Sub::None, value).await.unwrap().meta.generation, 2);
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let world = World::new().await;
    let made = world.create("deployments", deployment(1)).await.unwrap();
    let kind = world.kind("deployments");
    let mut wanted = scale::of(&kind, &made.value()).unwrap();
    assert_eq!(wanted["status"]["selector"], "a=b");
    wanted["spec"]["replicas"] = json!(4);
    let scaled = world.update("deployments", "d", Sub::Scale, wanted.clone()).await.unwrap();
    assert_eq!((scaled.value()["spec"]["replicas"].clone(), scaled.meta.generation), (json!(4), 2));
    assert_eq!(world.update("deployments", "d", Sub::Scale, wanted.clone()).await.unwrap_err().code, 409);
    wanted["metadata"] = json!({});
    wanted["spec"]["replicas"] = json!(-1);
    assert_eq!(world.update("deployments", "d", Sub::Scale, wanted).await.unwrap_err().code, 422);
    let patch = Patch::Merge(json!({"spec": {"replicas": 6}}));
    let options = WriteOptions::default();
    let patched = world.objects.patch(&kind, Some("default"), "d", Sub::Scale, patch, &options).await.unwrap();
    assert_eq!(patched.object.value()["spec"]["replicas"], 6);
}

#[tokio::test]
async fn an_apply_makes_what_is_not_there() {
    let world = World::new().await;
    let wish = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    let first = world.patch("configmaps", "a", Patch::Apply(wish.clone())).await.unwrap();
    assert!(first.created);
    let second = world.patch("configmaps", "a", Patch::Apply(wish)).await.unwrap();
    assert!(!second.created);
    assert_eq!(second.object.revision, first.object.revision);
}

#[tokio::test]
async fn patches_with_a_revision_conflict_and_without_do_not() {
    let world = World::new().await;
    let first = world.config_map("a", "1").await;
    world.patch("configmaps", "a", Patch::Merge(json!({"data": {"key": "2"}}))).await.unwrap();
    let stale = json!({"metadata": {"resourceVersion": first.revision.to_string()}, "data": {"key": "3"}});
    assert_eq!(world.patch("configmaps", "a", Patch::Merge(stale)).await.unwrap_err().code, 409);
    let renamed = json!({"metadata": {"name": "b"}});
    assert_eq!(world.patch("configmaps", "a", Patch::Merge(renamed)).await.unwrap_err().code, 400);
}

#[tokio::test]
async fn services_get_addresses_and_ports_that_nobody_else_has() {
    let world = World::new().await;
    let service = |name: &str, spec: Value| {
        let mut object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        object
    };
    let spec_of = |object: &Arc<Object>| object.value()["spec"].clone();
    let kubernetes = spec_of(&world.create("services", service("kubernetes", json!({}))).await.unwrap());
    assert_eq!((&kubernetes["clusterIP"], &kubernetes["clusterIPs"]), (&json!("10.96.0.1"), &json!(["10.96.0.1"])));
    let asked = json!({"clusterIP": "10.96.0.10", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    world.create("services", service("asked", asked.clone())).await.unwrap();
    let taken = world.create("services", service("again", asked)).await.unwrap_err();
    assert_eq!(taken.code, 422);
    assert!(taken.message.contains("already allocated"), "{taken}");
    let outside = world.create("services", service("outside", json!({"clusterIP": "192.168.0.1"}))).await.unwrap_err();
    assert!(outside.message.contains("The range of valid IPs is 10.96.0.0/12"), "{outside}");
    let headless = spec_of(&world.create("services", service("headless", json!({"clusterIP": "None"}))).await.unwrap());
    assert_eq!(headless["clusterIPs"], json!(["None"]));
    let picked = world.create("services", service("picked", json!({"type": "NodePort"}))).await.unwrap();
    let port = spec_of(&picked)["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30000..=32767).contains(&port));
    let kept =
        world.update("services", "picked", Sub::None, service("picked", json!({"type": "NodePort"}))).await.unwrap();
    assert_eq!(spec_of(&kept)["clusterIP"], spec_of(&picked)["clusterIP"], "an update keeps what was allocated");
    assert_eq!(spec_of(&kept)["ports"][0]["nodePort"], port);
    world.delete("services", "asked", DeleteOptions::default()).await.unwrap();
    let freed = json!({"clusterIP": "10.96.0.10"});
    world.create("services", service("freed", freed)).await.unwrap();
    let allocated = world.store.list("/allocated/", None, None, 0).await.unwrap().entries.len();
    assert_eq!(allocated, 4, "three addresses and one port");
}

struct Rule(&'static str);

#[async_trait]
impl Admission for Rule {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let had = review.object["data"]["rules"].as_str().unwrap_or_default().to_owned();
        review.object["data"]["rules"] = json!(had + self.0);
        review.warnings.push("looked at");
        Ok(())
    }
    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        if review.name == "forbidden" { Err(Status::new(403, "Forbidden", "no")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn admission_runs_in_order_and_can_refuse() {
    let world = World::new().await;
    world.objects.add_admission(Arc::new(Rule("a")));
    world.objects.add_admission(Arc::new(Rule("b")));
    let kind = world.kind("configmaps");
    let options = WriteOptions { warnings: Warnings::default(), ..WriteOptions::default() };
    let made =
        world.objects.create(&kind, Some("default"), json!({"metadata": {"name": "x"}}), &options).await.unwrap();
    assert_eq!(made.value()["data"]["rules"], "ab");
    assert_eq!(options.warnings.take(), ["looked at"]);
    let refused = world.create("configmaps", json!({"metadata": {"name": "forbidden"}})).await.unwrap_err();
    assert_eq!(refused.code, 403);
}
