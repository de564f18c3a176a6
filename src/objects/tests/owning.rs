//! Who owns what, over the whole path of a write.

use serde_json::{Value, json};

use super::*;

fn by(manager: &str) -> WriteOptions {
    WriteOptions { field_manager: manager.to_owned(), ..WriteOptions::default() }
}

async fn patch(world: &World, plural: &str, sub: Sub, patch: Patch, options: &WriteOptions) -> Result<Written, Status> {
    let kind = world.kind(plural);
    world.objects.patch(&kind, World::place(&kind), "a", sub, patch, options).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn owners(object: &Object) -> Vec<String> {
    let value = object.value();
    let entries = value["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| format!("{} {} {}", text(entry, "manager"), text(entry, "operation"), text(entry, "subresource")))
        .collect()
}

#[tokio::test]
async fn an_apply_makes_changes_conflicts_and_gives_up() {
    let world = World::new().await;
    let applied = |data: Value| Patch::Apply(map(data));
    let made = patch(&world, "configmaps", Sub::None, applied(json!({"a": "1"})), &by("one")).await.unwrap();
    assert!(made.created);
    assert_eq!(owners(&made.object), ["one Apply "]);
    let again = patch(&world, "configmaps", Sub::None, applied(json!({"a": "1"})), &by("one")).await.unwrap();
    assert_eq!((again.created, again.object.revision), (false, made.object.revision), "nothing was written");
    let refused = patch(&world, "configmaps", Sub::None, applied(json!({"a": "2"})), &by("two")).await.unwrap_err();
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let forced = WriteOptions { force: true, ..by("two") };
    let taken = patch(&world, "configmaps", Sub::None, applied(json!({"a": "2", "b": "2"})), &forced).await.unwrap();
    assert_eq!(owners(&taken.object), ["two Apply "]);
    let dry = WriteOptions { dry_run: true, ..by("two") };
    let dry = patch(&world, "configmaps", Sub::None, applied(json!({"b": "2"})), &dry).await.unwrap();
    assert_eq!(dry.object.value()["data"], json!({"b": "2"}));
    let less = patch(&world, "configmaps", Sub::None, applied(json!({"b": "2"})), &by("two")).await.unwrap();
    assert_eq!(less.object.value()["data"], json!({"b": "2"}));
    assert_eq!(less.object.revision.0, taken.object.revision.0 + 1, "the dry run wrote nothing");
}

#[tokio::test]
async fn every_part_of_an_object_has_owners_of_its_own() {
    let world = World::new().await;
    let kind = world.kind("deployments");
    world.objects.create(&kind, Some("default"), deployment(1), &by("kubectl-create")).await.unwrap();
    let status = json!({"status": {"replicas": 1}, "spec": {"replicas": 7}});
    patch(&world, "deployments", Sub::Status, Patch::Merge(status), &by("controller")).await.unwrap();
    let scale = json!({"spec": {"replicas": 3}});
    let scaled = patch(&world, "deployments", Sub::Scale, Patch::Merge(scale), &by("kubectl")).await.unwrap();
    assert_eq!(
        owners(&scaled.object),
        ["controller Update status", "kubectl Update scale", "kubectl-create Update "],
        "all in one second, by name"
    );
    let value = scaled.object.value();
    assert_eq!(value["metadata"]["managedFields"][1]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(value["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    let refused = patch(&world, "deployments", Sub::None, Patch::Apply(deployment(9)), &by("helm")).await.unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let wish =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 5}});
    let forced = WriteOptions { force: true, ..by("helm") };
    let applied = patch(&world, "deployments", Sub::Scale, Patch::Apply(wish), &forced).await.unwrap();
    assert_eq!(applied.object.value()["spec"]["replicas"], 5);
    assert_eq!(owners(&applied.object)[0], "helm Apply scale");
}

#[tokio::test]
async fn what_changes_nothing_is_not_written() {
    let world = World::new().await;
    let kind = world.kind("configmaps");
    let made = world.objects.create(&kind, Some("default"), map(json!({"a": "1"})), &by("one")).await.unwrap();
    let same = Patch::Merge(json!({"data": {"a": "1"}}));
    let merged = patch(&world, "configmaps", Sub::None, same, &by("two")).await.unwrap();
    assert_eq!(merged.object.revision, made.revision);
    let updated =
        world.objects.update(&kind, Some("default"), "a", Sub::None, map(json!({"a": "1"})), &by("two")).await.unwrap();
    assert_eq!(updated.object.revision, made.revision);
    let reset = Patch::Json(json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]));
    let reset = patch(&world, "configmaps", Sub::None, reset, &by("two")).await.unwrap();
    assert!(owners(&reset.object).is_empty());
    let applied =
        patch(&world, "configmaps", Sub::None, Patch::Apply(map(json!({"b": "1"}))), &by("one")).await.unwrap();
    assert_eq!(owners(&applied.object), ["one Apply ", "before-first-apply Update "]);
}

#[tokio::test]
async fn updates_make_or_overwrite_what_kubernetes_lets_them() {
    let world = World::new().await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}, "spec": {}});
    let kind = world.kind("leases");
    let made = world.objects.update(&kind, Some("default"), "a", Sub::None, lease.clone(), &by("one")).await.unwrap();
    assert!(made.created);
    let refused = world.objects.update(&kind, Some("default"), "a", Sub::None, lease, &by("one")).await.unwrap_err();
    assert_eq!(
        refused.message,
        "Lease.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    );
    let kind = world.kind("configmaps");
    let missing =
        world.objects.update(&kind, Some("default"), "a", Sub::None, map(json!({})), &by("one")).await.unwrap_err();
    assert_eq!(missing.code, 404);
}

#[tokio::test]
async fn annotations_count_for_the_generation_of_a_deployment() {
    let world = World::new().await;
    let made = world.create("deployments", deployment(1)).await.unwrap();
    assert_eq!(made.value()["metadata"]["generation"], 1);
    for (part, generation) in [("labels", 1), ("annotations", 2)] {
        let change = Patch::Merge(json!({"metadata": {part: {"x": "y"}}}));
        let written = patch(&world, "deployments", Sub::None, change, &by("one")).await.unwrap();
        assert_eq!(written.object.value()["metadata"]["generation"], generation, "{part}");
    }
    let change = Patch::Merge(json!({"metadata": {"annotations": {"x": "z"}}}));
    let written = patch(&world, "deployments", Sub::Status, change, &by("one")).await.unwrap();
    assert_eq!(written.object.value()["metadata"]["generation"], 2);
    assert_eq!(written.object.value()["metadata"]["annotations"]["x"], "z");
}

#[tokio::test]
async fn patches_that_do_not_fit_are_refused_as_by_kubernetes() {
    let world = World::new().await;
    world.create("configmaps", map(json!({"a": "1"}))).await.unwrap();
    let bare = "the server rejected our request due to an error in our request";
    let rows = [
        (Patch::Json(json!([{"op": "test", "path": "/data/a", "value": "2"}])), 422, bare),
        (Patch::Json(json!([{"op": "remove", "path": "/data/b"}])), 422, bare),
        (Patch::Merge(json!({"data": {"a": 1}})), 422, "\"\" is invalid: patch: Invalid value: \"{"),
        (Patch::Strategic(json!({"data": 1})), 422, "\"\" is invalid: patch: Invalid value: \"{"),
        (Patch::Merge(json!({"kind": "Secret"})), 422, "no kind \"Secret\" is registered"),
        (
            Patch::Merge(json!({"metadata": {"name": "b"}})),
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (Patch::Merge(json!({"metadata": {"resourceVersion": "1"}})), 409, "the object has been modified"),
        (Patch::Merge(json!({"metadata": {"uid": "u"}})), 409, "Precondition failed: UID in precondition: u"),
    ];
    for (change, code, words) in rows {
        let shown = format!("{change:?}");
        let refused = patch(&world, "configmaps", Sub::None, change, &by("one")).await.unwrap_err();
        assert_eq!(refused.code, code, "{shown}: {refused}");
        assert!(refused.message.contains(words), "{shown}: {refused}");
    }
    let strict = WriteOptions { field_validation: api::strict::FieldValidation::Strict, ..by("one") };
    let refused = patch(&world, "configmaps", Sub::None, Patch::Merge(json!({"dat": {}})), &strict).await.unwrap_err();
    assert!(refused.message.ends_with("strict decoding error: unknown field \"dat\""), "{refused}");
}
