//! Watches: order, selections, bookmarks, the past.

use std::time::Duration;

use futures::StreamExt;

use super::*;

/// What happened, in one word each: `+a` added, `~a` modified, `-a` deleted, `|` a bookmark, `!410` an error.
async fn told(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        let event = tokio::time::timeout(Duration::from_secs(100), watch.next()).await.expect("an event in time");
        told.push(match event {
            Some(WatchEvent::Added(object)) => format!("+{}", object.meta.name),
            Some(WatchEvent::Modified(object)) => format!("~{}", object.meta.name),
            Some(WatchEvent::Deleted(object)) => format!("-{}", object.meta.name),
            Some(WatchEvent::Bookmark { initial_events_end, .. }) => {
                (if initial_events_end { "||" } else { "|" }).into()
            }
            Some(WatchEvent::Error(status)) => format!("!{}", status.code),
            None => "end".into(),
        });
    }
    told
}

async fn relabel(world: &World, name: &str, value: &str) {
    world.patch("configmaps", name, Patch::Merge(json!({"metadata": {"labels": {"app": value}}}))).await.unwrap();
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_then_what_happens() {
    let world = World::new().await;
    world.config_map("a", "1").await;
    let mut watch = world.watch("configmaps", WatchOptions::default()).await;
    assert_eq!(told(&mut watch, 1).await, ["+a"]);
    world.config_map("b", "1").await;
    relabel(&world, "a", "2").await;
    let gone = world.delete("configmaps", "b", DeleteOptions::default()).await.unwrap().object().revision;
    assert_eq!(told(&mut watch, 2).await, ["+b", "~a"]);
    let Some(WatchEvent::Deleted(object)) = watch.next().await else { panic!("no deletion") };
    assert_eq!((object.revision, object.meta.resource_version), (gone, gone.0));
    let elsewhere = json!({"metadata": {"name": "c"}});
    let kind = world.kind("configmaps");
    world.objects.create(&kind, Some("other"), elsewhere, &WriteOptions::default()).await.unwrap();
    world.config_map("d", "1").await;
    assert_eq!(told(&mut watch, 1).await, ["+d"], "another namespace is not told");
}

#[tokio::test]
async fn a_watch_goes_on_after_a_revision() {
    let world = World::new().await;
    let first = world.config_map("a", "1").await;
    world.config_map("b", "1").await;
    let options = WatchOptions { resource_version: Some(first.revision.to_string()), ..WatchOptions::default() };
    let mut watch = world.watch("configmaps", options).await;
    assert_eq!(told(&mut watch, 1).await, ["+b"]);
}

#[tokio::test]
async fn objects_come_into_a_selection_and_go_out_of_it() {
    let world = World::new().await;
    let options = WatchOptions { label_selector: "app=x".parse().unwrap(), ..WatchOptions::default() };
    let mut watch = world.watch("configmaps", options).await;
    world.config_map("a", "y").await;
    relabel(&world, "a", "x").await;
    relabel(&world, "a", "z").await;
    relabel(&world, "a", "x").await;
    world.delete("configmaps", "a", DeleteOptions::default()).await.unwrap();
    assert_eq!(told(&mut watch, 1).await, ["+a"]);
    let Some(WatchEvent::Deleted(out)) = watch.next().await else { panic!("no deletion") };
    assert_eq!(out.meta.labels.get("app"), Some("x"), "as it was while it was in the selection");
    assert_eq!(out.value()["metadata"]["resourceVersion"], out.revision.to_string());
    assert_eq!(told(&mut watch, 2).await, ["+a", "-a"]);
}

#[tokio::test]
async fn a_watch_from_too_long_ago_ends_with_410() {
    let world = World::with(Config { changes_max: 3, ..Config::default() }).await;
    let first = world.config_map("a", "1").await;
    let options = WatchOptions { resource_version: Some(first.revision.to_string()), ..WatchOptions::default() };
    let mut slow = world.watch("configmaps", options).await;
    for name in ["b", "c", "d", "e", "f"] {
        world.config_map(name, "1").await;
    }
    let Some(WatchEvent::Error(status)) = slow.next().await else { panic!("no error") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(status.message.starts_with(&format!("too old resource version: {} (", first.revision)), "{status}");
    assert!(slow.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn streaming_lists_end_with_a_bookmark_and_quiet_watches_get_one_a_minute() {
    let world = World::new().await;
    world.config_map("a", "1").await;
    let options = WatchOptions {
        send_initial_events: Some(true),
        resource_version_match: Some(RevisionMatch::NotOlderThan),
        allow_bookmarks: true,
        timeout: Some(Duration::from_secs(90)),
        ..WatchOptions::default()
    };
    let mut watch = world.watch("configmaps", options).await;
    assert_eq!(told(&mut watch, 2).await, ["+a", "||"]);
    let elsewhere = world.pod("p", "").await;
    let Some(WatchEvent::Bookmark { revision, .. }) = watch.next().await else { panic!("no bookmark") };
    assert_eq!(revision, elsewhere.revision, "a bookmark tells of progress elsewhere");
    assert_eq!(told(&mut watch, 2).await, ["|", "end"], "one more when the time is over");
    let kind = world.kind("configmaps");
    let wrong = WatchOptions { send_initial_events: Some(true), ..WatchOptions::default() };
    assert_eq!(world.objects.watch(&kind, None, &wrong).await.unwrap_err().code, 422);
}
