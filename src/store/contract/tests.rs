//! What every backend is held to. A backend's own tests call [`suite`] with a way to open an empty one.

use std::time::Duration;

use futures::StreamExt;

use super::*;

/// An empty store, and how many transactions it keeps for watches.
pub(crate) struct Opened {
    pub store: SharedStore,
    pub keeps: usize,
    /// Holds the folder that the store lies in.
    #[allow(dead_code)]
    pub folder: Option<tempfile::TempDir>,
}

/// Runs every promise against a fresh store each.
pub(crate) async fn suite(open: impl Fn() -> Opened) {
    a_commit_is_all_or_nothing(open()).await;
    checks_compare_the_revision_of_the_last_write(open()).await;
    lists_page_in_order_at_one_revision(open()).await;
    an_earlier_revision_can_be_listed_until_it_is_compacted(open()).await;
    a_watch_tells_everything_in_order(open()).await;
    a_watch_from_too_long_ago_says_compacted(open()).await;
    concurrent_commits_take_a_revision_each(open()).await;
    a_closed_store_refuses_commits_and_still_lists(open()).await;
}

fn put(key: &str, value: &'static str) -> Txn {
    Txn { puts: vec![(key.to_owned(), Bytes::from_static(value.as_bytes()))], ..Txn::default() }
}

async fn keys(store: &SharedStore, prefix: &str) -> Vec<String> {
    store.list(prefix, None, None, 0).await.unwrap().entries.into_iter().map(|entry| entry.key).collect()
}

async fn next(stream: &mut EventStream) -> Event {
    tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("an event in time").expect("no end")
}

async fn a_commit_is_all_or_nothing(Opened { store, folder: _folder, .. }: Opened) {
    let first = store.commit(put("/a/1", "x")).await.unwrap();
    let refused = store
        .commit(Txn {
            checks: vec![Check::Present("/a/1".into()), Check::Absent("/a/1".into())],
            puts: vec![("/a/2".into(), Bytes::from_static(b"y"))],
            deletes: vec!["/a/1".into()],
        })
        .await;
    assert!(matches!(refused, Err(CommitError::Stale { ref key }) if key == "/a/1"), "{refused:?}");
    assert_eq!(keys(&store, "/").await, ["/a/1"]);
    assert_eq!(store.revision().await.unwrap(), first, "a refused transaction takes no revision");
    let both = Txn {
        puts: vec![("/a/2".into(), Bytes::new())],
        deletes: vec!["/a/1".into(), "/none".into()],
        ..Txn::default()
    };
    let second = store.commit(both).await.unwrap();
    assert_eq!(second.0, first.0 + 1);
    assert_eq!(keys(&store, "/").await, ["/a/2"]);
}

async fn checks_compare_the_revision_of_the_last_write(Opened { store, folder: _folder, .. }: Opened) {
    let first = store.commit(put("/a", "1")).await.unwrap();
    let at = |revision| Txn { checks: vec![Check::At("/a".into(), revision)], ..put("/a", "2") };
    let second = store.commit(at(first)).await.unwrap();
    assert!(matches!(store.commit(at(first)).await, Err(CommitError::Stale { .. })));
    store.commit(put("/b", "elsewhere")).await.unwrap();
    store.commit(at(second)).await.unwrap();
    let missing = Txn { checks: vec![Check::At("/none".into(), first)], ..put("/c", "1") };
    assert!(matches!(store.commit(missing).await, Err(CommitError::Stale { .. })));
}

async fn lists_page_in_order_at_one_revision(Opened { store, folder: _folder, .. }: Opened) {
    for key in ["/p/c", "/p/a", "/q/a", "/p/b", "/p", "/p/é"] {
        store.commit(put(key, "v")).await.unwrap();
    }
    assert_eq!(keys(&store, "/p/").await, ["/p/a", "/p/b", "/p/c", "/p/é"]);
    let one = store.list("/p/", None, None, 2).await.unwrap();
    assert!(one.more && one.entries.len() == 2);
    store.commit(put("/p/bb", "later")).await.unwrap();
    let rest = store.list("/p/", Some(one.revision), Some("/p/b"), 2).await.unwrap();
    let rest_keys: Vec<&str> = rest.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(rest_keys, ["/p/c", "/p/é"], "a page at a revision does not see what came later");
    assert!(!rest.more);
    assert_eq!(rest.revision, one.revision);
}

async fn an_earlier_revision_can_be_listed_until_it_is_compacted(Opened { store, keeps, folder: _folder }: Opened) {
    let first = store.commit(put("/a", "old")).await.unwrap();
    store.commit(put("/b", "new")).await.unwrap();
    let last = store.commit(Txn { deletes: vec!["/a".into()], ..Txn::default() }).await.unwrap();
    let then = store.list("/", Some(first), None, 0).await.unwrap();
    assert_eq!(then.entries.len(), 1);
    assert_eq!((then.entries[0].key.as_str(), &then.entries[0].value[..]), ("/a", &b"old"[..]));
    assert_eq!(then.entries[0].revision, first);
    let future = store.list("/", Some(Revision(last.0 + 1)), None, 0).await;
    assert!(matches!(future, Err(ListError::Future { .. })), "{future:?}");
    let commits = (0..=keeps).map(|_| store.commit(put("/b", "again")));
    futures::future::try_join_all(commits).await.unwrap();
    let gone = store.list("/", Some(first), None, 0).await;
    assert!(matches!(gone, Err(ListError::Compacted { .. })), "{gone:?}");
}

async fn a_watch_tells_everything_in_order(Opened { store, folder: _folder, .. }: Opened) {
    let from = store.commit(put("/w/before", "1")).await.unwrap();
    let mut watch = store.watch("/w/", from);
    let first = store
        .commit(Txn {
            puts: vec![("/w/a".into(), Bytes::from_static(b"1")), ("/x".into(), Bytes::new())],
            ..Txn::default()
        })
        .await
        .unwrap();
    let event = next(&mut watch).await;
    assert!(matches!(&event, Event::Put { entry, existed: false } if entry.key == "/w/a" && entry.revision == first));
    assert_eq!(next(&mut watch).await, Event::Progress(first));
    let second = store.commit(Txn { deletes: vec!["/w/a".into()], ..put("/w/before", "2") }).await.unwrap();
    let event = next(&mut watch).await;
    assert!(matches!(&event, Event::Put { entry, existed: true } if entry.key == "/w/before"), "{event:?}");
    let last = Bytes::from_static(b"1");
    assert_eq!(next(&mut watch).await, Event::Delete { key: "/w/a".into(), revision: second, last });
    assert_eq!(next(&mut watch).await, Event::Progress(second));
    let elsewhere = store.commit(put("/y", "1")).await.unwrap();
    assert_eq!(next(&mut watch).await, Event::Progress(elsewhere), "progress is told without an event");
    let mut late = store.watch("/w/", from);
    assert!(matches!(next(&mut late).await, Event::Put { .. }), "a watch can begin in the past");
}

async fn a_watch_from_too_long_ago_says_compacted(Opened { store, keeps, folder: _folder }: Opened) {
    let from = store.commit(put("/a", "1")).await.unwrap();
    let mut slow = store.watch("/", from);
    futures::future::try_join_all((0..=keeps).map(|_| store.commit(put("/a", "2")))).await.unwrap();
    let newest = store.revision().await.unwrap();
    let said = next(&mut slow).await;
    assert!(matches!(said, Event::Compacted(oldest) if oldest > from && oldest < newest), "{said:?}");
    assert_eq!(slow.next().await, None);
}

async fn concurrent_commits_take_a_revision_each(Opened { store, folder: _folder, .. }: Opened) {
    let before = store.revision().await.unwrap();
    let claims = (0..40).map(|_| store.commit(Txn { checks: vec![Check::Absent("/one".into())], ..put("/one", "v") }));
    let won = futures::future::join_all(claims).await.iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 1, "one of many wins");
    let named: Vec<Txn> =
        (0..40).map(|n| Txn { puts: vec![(format!("/n/{n}"), Bytes::new())], ..Txn::default() }).collect();
    let mut revisions = futures::future::try_join_all(named.into_iter().map(|txn| store.commit(txn))).await.unwrap();
    revisions.sort_unstable();
    let expected: Vec<Revision> = (before.0 + 2..before.0 + 42).map(Revision).collect();
    assert_eq!(revisions, expected);
}

async fn a_closed_store_refuses_commits_and_still_lists(Opened { store, folder: _folder, .. }: Opened) {
    store.commit(put("/a", "1")).await.unwrap();
    store.close().await;
    assert!(matches!(store.commit(put("/b", "1")).await, Err(CommitError::Unavailable { .. })));
    store.close().await;
}
