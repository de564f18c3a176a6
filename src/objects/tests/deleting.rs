//! Grace, finalizers, propagation, namespaces.

use super::*;

#[tokio::test]
async fn a_plain_object_goes_at_once_and_under_the_revision_of_its_deletion() {
    let world = World::new().await;
    let made = world.config_map("a", "1").await;
    let Deleted::Gone(gone) = world.delete("configmaps", "a", DeleteOptions::default()).await.unwrap() else {
        panic!("not gone")
    };
    assert!(gone.revision > made.revision);
    assert_eq!(gone.meta.resource_version, gone.revision.0);
    assert_eq!(gone.meta.deletion_timestamp, None);
    assert_eq!(world.get("configmaps", "a").await.unwrap_err().code, 404);
    assert_eq!(world.delete("configmaps", "a", DeleteOptions::default()).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn preconditions_are_compared() {
    let world = World::new().await;
    let made = world.config_map("a", "1").await;
    let uid = DeleteOptions { uid: Some("another".into()), ..DeleteOptions::default() };
    let refused = world.delete("configmaps", "a", uid).await.unwrap_err();
    assert_eq!(refused.code, 409);
    assert!(refused.message.contains("Precondition failed: UID in precondition: another"), "{refused}");
    let revision = DeleteOptions { resource_version: Some("1".into()), ..DeleteOptions::default() };
    assert_eq!(world.delete("configmaps", "a", revision).await.unwrap_err().code, 409);
    let right = DeleteOptions {
        uid: Some(made.meta.uid.to_string()),
        resource_version: Some(made.revision.to_string()),
        ..DeleteOptions::default()
    };
    world.delete("configmaps", "a", right).await.unwrap();
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_taken_away_by_any_verb() {
    let world = World::new().await;
    for verb in ["update", "patch"] {
        let object = json!({"metadata": {"name": verb, "finalizers": ["a.example/x"]}});
        world.create("configmaps", object).await.unwrap();
        let Deleted::Marked(marked) = world.delete("configmaps", verb, DeleteOptions::default()).await.unwrap() else {
            panic!("gone")
        };
        assert!(marked.meta.deletion_timestamp.is_some());
        let again = world.delete("configmaps", verb, DeleteOptions::default()).await.unwrap();
        assert_eq!(again.object().revision, marked.revision, "asking again changes nothing");
        let mut value = marked.value();
        value["metadata"]["finalizers"] = json!(["a.example/x", "b.example/y"]);
        assert_eq!(world.update("configmaps", verb, Sub::None, value.clone()).await.unwrap_err().code, 422);
        value["metadata"]["deletionTimestamp"] = Value::Null;
        value["metadata"]["finalizers"] = json!(["a.example/x"]);
        let kept = world.update("configmaps", verb, Sub::None, value.clone()).await.unwrap();
        assert!(kept.meta.deletion_timestamp.is_some(), "a deletion cannot be taken back");
        value["metadata"]["finalizers"] = json!([]);
        if verb == "update" {
            world.update("configmaps", verb, Sub::None, value).await.unwrap();
        } else {
            world.patch("configmaps", verb, Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
        }
        assert_eq!(world.get("configmaps", verb).await.unwrap_err().code, 404);
    }
}

#[tokio::test]
async fn a_pod_on_a_node_gets_its_grace_period_which_can_only_get_shorter() {
    let world = World::new().await;
    world.pod("p", "n").await;
    let grace = |seconds| DeleteOptions { grace_seconds: seconds, ..DeleteOptions::default() };
    let marked = world.delete("pods", "p", grace(None)).await.unwrap();
    let first = marked.object().meta.clone();
    assert_eq!(first.deletion_grace_seconds, Some(30));
    assert!(matches!(marked, Deleted::Marked(_)));
    let longer = world.delete("pods", "p", grace(Some(60))).await.unwrap();
    assert_eq!(longer.object().meta.deletion_grace_seconds, Some(30));
    let shorter = world.delete("pods", "p", grace(Some(5))).await.unwrap();
    assert_eq!(shorter.object().meta.deletion_grace_seconds, Some(5));
    assert!(shorter.object().meta.deletion_timestamp < first.deletion_timestamp);
    assert!(matches!(world.delete("pods", "p", grace(Some(0))).await.unwrap(), Deleted::Gone(_)));
    world.pod("unscheduled", "").await;
    assert!(matches!(world.delete("pods", "unscheduled", grace(Some(30))).await.unwrap(), Deleted::Gone(_)));
}

#[tokio::test]
async fn propagation_is_kept_as_a_finalizer() {
    let world = World::new().await;
    let rows = [("fg", Propagation::Foreground, "foregroundDeletion"), ("orphan", Propagation::Orphan, "orphan")];
    for (name, propagation, finalizer) in rows {
        world.config_map(name, "1").await;
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let Deleted::Marked(marked) = world.delete("configmaps", name, options).await.unwrap() else { panic!("gone") };
        assert_eq!(marked.meta.finalizers.iter().map(|name| &**name).collect::<Vec<_>>(), [finalizer]);
    }
    let background = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    assert!(matches!(world.delete("configmaps", "fg", background).await.unwrap(), Deleted::Gone(_)));
}

#[tokio::test]
async fn a_namespace_ends_when_its_last_finalizer_is_taken_away() {
    let world = World::new().await;
    let Deleted::Marked(marked) = world.delete("namespaces", "other", DeleteOptions::default()).await.unwrap() else {
        panic!("gone")
    };
    assert_eq!(marked.value()["status"]["phase"], "Terminating");
    let kind = world.kind("configmaps");
    let options = WriteOptions::default();
    let object = json!({"metadata": {"name": "late"}});
    let refused = world.objects.create(&kind, Some("other"), object, &options).await.unwrap_err();
    assert_eq!(refused.code, 403);
    assert_eq!(refused.causes[0].reason, "NamespaceTerminating");
    assert_eq!(
        refused.message,
        "configmaps \"late\" is forbidden: unable to create new content in namespace other because it is being terminated"
    );
    let mut value = marked.value();
    value["spec"]["finalizers"] = json!([]);
    let kept = world.update("namespaces", "other", Sub::None, value.clone()).await.unwrap();
    assert_eq!(kept.value()["spec"]["finalizers"], json!(["kubernetes"]), "only finalize may");
    value["metadata"]["resourceVersion"] = json!(kept.revision.to_string());
    world.update("namespaces", "other", Sub::Finalize, value).await.unwrap();
    assert_eq!(world.get("namespaces", "other").await.unwrap_err().code, 404);
    let kept = world.delete("namespaces", "default", DeleteOptions::default()).await.unwrap_err();
    assert_eq!(kept.message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn a_collection_goes_by_selector() {
    let world = World::new().await;
    for (name, value) in [("a", "x"), ("b", "y"), ("c", "x")] {
        world.config_map(name, value).await;
    }
    let list = ListOptions { label_selector: "app=x".parse().unwrap(), ..ListOptions::default() };
    let kind = world.kind("configmaps");
    let options = DeleteOptions::default();
    let gone = world.objects.delete_collection(&kind, Some("default"), &list, &options).await.unwrap();
    assert_eq!(names(&gone), ["a", "c"]);
    assert_eq!(names(&world.list("configmaps", ListOptions::default()).await.unwrap()), ["b"]);
}
