//! Two kinds with the same objects.

use futures::StreamExt;

use super::*;

#[tokio::test]
async fn an_event_is_the_same_object_in_both_groups() {
    let world = World::new().await;
    let kinds = world.objects.kinds();
    let core = kinds.by_resource("", "v1", "events").unwrap();
    let new = kinds.by_resource("events.k8s.io", "v1", "events").unwrap();
    let place = Some("default");
    let mut watch = world.objects.watch(new, place, &WatchOptions::default()).await.unwrap();
    let sent = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "hello", "action": "Run",
        "reason": "Started", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reportingController": "a.example/b", "reportingInstance": "b-1",
    });
    let options = WriteOptions::default();
    let made = world.objects.create(new, place, sent, &options).await.unwrap();
    assert_eq!((&made.value()["note"], &made.value()["apiVersion"]), (&json!("hello"), &json!("events.k8s.io/v1")));
    let about = ListOptions { field_selector: "involvedObject.name=p".parse().unwrap(), ..ListOptions::default() };
    let listed = world.objects.list(core, place, &about).await.unwrap();
    let stored = listed.items[0].value();
    assert_eq!((&stored["message"], &stored["apiVersion"]), (&json!("hello"), &json!("v1")));
    assert_eq!(stored["metadata"]["resourceVersion"], made.revision.to_string());
    let patch = Patch::Merge(json!({"note": "again"}));
    let patched = world.objects.patch(new, place, "e", Sub::None, patch, &options).await.unwrap();
    assert_eq!(patched.object.value()["note"], "again");
    let got = world.objects.get(core, place, "e", &Revisions::default()).await.unwrap();
    assert_eq!(got.value()["message"], "again");
    let gone = world.objects.delete(new, place, "e", &DeleteOptions::default()).await.unwrap();
    assert_eq!(gone.object().value()["note"], "again");
    for note in ["hello", "again", "again"] {
        let (WatchEvent::Added(told) | WatchEvent::Modified(told) | WatchEvent::Deleted(told)) =
            watch.next().await.unwrap()
        else {
            panic!("no object")
        };
        assert_eq!(told.value()["note"], note);
    }
    let wrong = json!({"metadata": {"name": "x"}, "regarding": {"namespace": "default"}});
    let refused = world.objects.create(new, place, wrong, &options).await.unwrap_err();
    assert_eq!(refused.code, 422, "{refused}");
}
