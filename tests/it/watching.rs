//! Watches: nothing is missed, nothing comes twice, and who asks from too far back is told so.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use testkit::TestCluster;

use crate::api::api;
use crate::support::raw;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PATIENCE: Duration = Duration::from_secs(60);

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "value": value } }, "data": { "value": value },
    }))
    .unwrap()
}

fn maps(cluster: &TestCluster) -> Api<ConfigMap> {
    Api::default_namespaced(cluster.client())
}

fn value(map: &ConfigMap) -> String {
    map.data.as_ref().and_then(|data| data.get("value")).cloned().unwrap_or_default()
}

async fn set(api: &Api<ConfigMap>, name: &str, value: &str) -> ConfigMap {
    let patch = json!({ "metadata": { "labels": { "value": value } }, "data": { "value": value } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

/// Feeds a watcher's events into a map until it is as wanted.
async fn mirror_until(
    events: impl futures::Stream<Item = watcher::Result<watcher::Event<ConfigMap>>>,
    wanted: impl Fn(&BTreeMap<String, String>) -> bool,
) {
    let mut seen = BTreeMap::new();
    let mut events = std::pin::pin!(events);
    let run = async {
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                watcher::Event::Init => seen.clear(),
                watcher::Event::InitApply(map) | watcher::Event::Apply(map) => {
                    seen.insert(map.metadata.name.clone().unwrap(), value(&map));
                }
                watcher::Event::Delete(map) => {
                    seen.remove(&map.metadata.name.unwrap());
                }
                watcher::Event::InitDone => {}
            }
            if wanted(&seen) {
                return;
            }
        }
        panic!("the watch ended");
    };
    let done = tokio::time::timeout(PATIENCE, run).await;
    assert!(done.is_ok(), "the watch does not tell what was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_to_begin_a_watch_lead_to_the_same() {
    let cluster = api().await;
    let api = maps(&cluster);
    for count in 0..30 {
        api.create(&PostParams::default(), &map(&format!("m{count}"), "0")).await.unwrap();
    }
    let listed = watcher::watcher(api.clone(), watcher::Config::default().page_size(7));
    let streamed = watcher::watcher(api.clone(), watcher::Config::default().streaming_lists());
    let write = async {
        for round in 1..=5 {
            for count in 0..30 {
                set(&api, &format!("m{count}"), &round.to_string()).await;
            }
        }
        for count in 0..15 {
            api.delete(&format!("m{count}"), &DeleteParams::default()).await.unwrap();
        }
    };
    let whole = |seen: &BTreeMap<String, String>| seen.len() == 15 && seen.values().all(|value| value == "5");
    tokio::join!(write, mirror_until(listed, whole), mirror_until(streamed, whole));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_a_list_ended() {
    let cluster = api().await;
    let api = maps(&cluster);
    api.create(&PostParams::default(), &map("a", "0")).await.unwrap();
    let from = api.list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();
    for value in 1..=5 {
        set(&api, "a", &value.to_string()).await;
    }
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let events = api.watch(&WatchParams::default(), &from).await.unwrap();
    let told: Vec<String> = events
        .map(|event| match event.unwrap() {
            WatchEvent::Added(map) => format!("added {}", value(&map)),
            WatchEvent::Modified(map) => format!("modified {}", value(&map)),
            WatchEvent::Deleted(map) => format!("deleted {}", value(&map)),
            other => format!("{other:?}"),
        })
        .take(6)
        .collect()
        .await;
    assert_eq!(told, ["modified 1", "modified 2", "modified 3", "modified 4", "modified 5", "deleted 5"]);

    // Seen through a selector, an object comes and goes as it begins and ceases to match.
    api.create(&PostParams::default(), &map("b", "0")).await.unwrap();
    let from = api.list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();
    for value in ["1", "2", "1"] {
        set(&api, "b", value).await;
    }
    let events = api.watch(&WatchParams::default().labels("value=1"), &from).await.unwrap();
    let kinds: Vec<&str> = events
        .map(|event| match event.unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            _ => "other",
        })
        .take(3)
        .collect()
        .await;
    assert_eq!(kinds, ["added", "deleted", "added"]);
    cluster.stop().await;
}

/// The events of a watch that the server ends.
async fn events(cluster: &TestCluster, query: &str) -> Vec<Value> {
    let (status, answer) =
        raw(cluster, Method::GET, &format!("{MAPS}?watch=true&timeoutSeconds=1{query}"), "application/json", "").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    match answer {
        Value::String(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        one => vec![one],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_list_ends_with_a_bookmark() {
    let cluster = api().await;
    let api = maps(&cluster);
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &map(name, "0")).await.unwrap();
    }
    let query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let told = events(&cluster, query).await;
    let kinds: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(&kinds[..3], ["ADDED", "ADDED", "BOOKMARK"]);
    assert_eq!(told[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{}", told[2]);
    let (status, answer) =
        raw(&cluster, Method::GET, &format!("{MAPS}?watch=true&sendInitialEvents=true"), "application/json", "").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    // A watch without a revision begins with what is there.
    let told = events(&cluster, "").await;
    assert_eq!(told.iter().filter(|event| event["type"] == "ADDED").count(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_long_gone_is_told_so() {
    let data = tempfile::tempdir().unwrap();
    let config = || cluster::Config {
        roles: cluster::Roles::parse(&["api".to_owned()]).unwrap(),
        data_dir: Some(data.path().to_owned()),
        ..cluster::Config::default()
    };
    let first = TestCluster::with(config()).await;
    let old =
        maps(&first).create(&PostParams::default(), &map("a", "0")).await.unwrap().metadata.resource_version.unwrap();
    for value in 1..=5 {
        set(&maps(&first), "a", &value.to_string()).await;
    }
    first.stop().await;
    // What happened before a restart is not told again.
    let second = TestCluster::with(config()).await;
    let events = events(&second, &format!("&resourceVersion={old}")).await;
    let whole = events.iter().filter(|event| event["type"] == "MODIFIED").count() == 5;
    let gone = events.first().is_some_and(|event| event["type"] == "ERROR" && event["object"]["code"] == 410);
    assert!(whole || gone, "{events:?}");
    // A client that keeps a watch gets over it.
    let whole = |seen: &BTreeMap<String, String>| seen.get("a").is_some_and(|value| value == "6");
    let watch = watcher::watcher(maps(&second), watcher::Config::default());
    tokio::join!(mirror_until(watch, whole), async { set(&maps(&second), "a", "6").await });
    let (status, answer) =
        raw(&second, Method::GET, &format!("{MAPS}?watch=true&resourceVersion=nonsense"), "application/json", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    second.stop().await;
}
