//! Get and list: selectors, pages, revisions.

use std::time::Duration;

use super::*;

fn at(revision: impl ToString, wanted: Option<RevisionMatch>) -> ListOptions {
    ListOptions {
        resource_version: Some(revision.to_string()),
        resource_version_match: wanted,
        ..ListOptions::default()
    }
}

#[tokio::test]
async fn pages_are_read_at_one_revision() {
    let world = World::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.config_map(name, name).await;
    }
    let first = world.list("configmaps", ListOptions { limit: 2, ..ListOptions::default() }).await.unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["a", "b"], Some(3)));
    world.config_map("bb", "later").await;
    world.delete("configmaps", "c", DeleteOptions::default()).await.unwrap();
    let next = ListOptions { limit: 2, continue_token: first.continue_token.clone(), ..ListOptions::default() };
    let second = world.list("configmaps", next).await.unwrap();
    assert_eq!((names(&second), second.revision), (vec!["c", "d"], first.revision), "as it was then");
    let last = ListOptions { limit: 2, continue_token: second.continue_token, ..ListOptions::default() };
    let third = world.list("configmaps", last).await.unwrap();
    assert_eq!((names(&third), third.continue_token.as_deref()), (vec!["e"], None));
    let wrong = ListOptions { continue_token: Some("nonsense!".into()), ..ListOptions::default() };
    assert_eq!(world.list("configmaps", wrong).await.unwrap_err().code, 400);
}

#[tokio::test]
async fn a_page_that_is_too_old_can_go_on_inconsistently() {
    let world = World::with(Config { changes_max: 3, ..Config::default() }).await;
    for name in ["a", "b", "c"] {
        world.config_map(name, name).await;
    }
    let first = world.list("configmaps", ListOptions { limit: 1, ..ListOptions::default() }).await.unwrap();
    for name in ["d", "e", "f", "g"] {
        world.config_map(name, name).await;
    }
    let next = ListOptions { continue_token: first.continue_token, ..ListOptions::default() };
    let expired = world.list("configmaps", next).await.unwrap_err();
    assert_eq!((expired.code, expired.reason.as_str()), (410, "Expired"));
    let token = expired.to_json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = ListOptions { continue_token: Some(token), ..ListOptions::default() };
    assert_eq!(names(&world.list("configmaps", rest).await.unwrap()), ["b", "c", "d", "e", "f", "g"]);
    let exact = world.list("configmaps", at(first.revision, Some(RevisionMatch::Exact))).await.unwrap_err();
    assert!(exact.message.starts_with("too old resource version: "), "{exact}");
}

#[tokio::test]
async fn selectors_pick() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    world.config_map("b", "y").await;
    let labels = ListOptions { label_selector: "app in (y,z)".parse().unwrap(), ..ListOptions::default() };
    assert_eq!(names(&world.list("configmaps", labels).await.unwrap()), ["b"]);
    let fields = ListOptions { field_selector: "metadata.name!=b".parse().unwrap(), ..ListOptions::default() };
    assert_eq!(names(&world.list("configmaps", fields).await.unwrap()), ["a"]);
    let unknown = ListOptions { field_selector: "spec.x=b".parse().unwrap(), ..ListOptions::default() };
    assert_eq!(world.list("configmaps", unknown).await.unwrap_err().code, 400);
    world.pod("p", "n1").await;
    world.pod("q", "n2").await;
    let node = ListOptions { field_selector: "spec.nodeName=n2".parse().unwrap(), ..ListOptions::default() };
    assert_eq!(names(&world.list("pods", node).await.unwrap()), ["q"]);
}

#[tokio::test]
async fn resource_versions_mean_what_kubernetes_says() {
    let world = World::new().await;
    let first = world.config_map("a", "1").await.revision;
    let second = world.config_map("b", "1").await.revision;
    let exact = world.list("configmaps", at(first, Some(RevisionMatch::Exact))).await.unwrap();
    assert_eq!((names(&exact), exact.revision), (vec!["a"], first));
    let limited = world.list("configmaps", ListOptions { limit: 5, ..at(first, None) }).await.unwrap();
    assert_eq!(limited.revision, first, "a limit makes the revision exact");
    let newer = world.list("configmaps", at(first, Some(RevisionMatch::NotOlderThan))).await.unwrap();
    assert_eq!((names(&newer), newer.revision), (vec!["a", "b"], second));
    assert_eq!(world.list("configmaps", at(0, None)).await.unwrap().revision, second);
    let rows = [
        ListOptions { resource_version: None, ..at(0, Some(RevisionMatch::Exact)) },
        at(0, Some(RevisionMatch::Exact)),
    ];
    for options in rows {
        assert_eq!(world.list("configmaps", options).await.unwrap_err().code, 422);
    }
    assert_eq!(world.list("configmaps", at("x", None)).await.unwrap_err().code, 400);
}

#[tokio::test(start_paused = true)]
async fn a_revision_from_the_future_is_waited_for_a_little() {
    let world = World::new().await;
    let made = world.config_map("a", "1").await;
    let refused = world.list("configmaps", at(made.revision.0 + 5, None)).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (504, "Timeout"));
    assert!(refused.message.starts_with("Too large resource version: "), "{refused}");
    assert_eq!(refused.causes[0].reason, "ResourceVersionTooLarge");
    let next = at(made.revision.0 + 1, None);
    let (listed, _) = tokio::join!(world.list("configmaps", next), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.config_map("b", "1").await
    });
    assert_eq!(names(&listed.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn everything_is_read_again_after_a_restart() {
    let store: SharedStore = Arc::new(Memory::new());
    let world = World::over(store.clone(), Config::default()).await;
    let made = world.pod("p", "n").await;
    let again = World::over(store, Config::default()).await;
    assert_eq!(again.get("pods", "p").await.unwrap().json, made.json);
    let node = ListOptions { field_selector: "spec.nodeName=n".parse().unwrap(), ..ListOptions::default() };
    assert_eq!(names(&again.list("pods", node).await.unwrap()), ["p"]);
}
