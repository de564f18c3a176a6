//! Watches, line by line and through kube's client.

use std::pin::pin;

use axum::body::Body;
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::harness::{Cluster, admin, cluster, request};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The lines of a watch, as they come.
struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(cluster: &Cluster, query: &str, accept: &str) -> Self {
        let path = format!("{MAPS}?watch=true&{query}");
        let response =
            cluster.server.in_process(admin()).oneshot(request("GET", &path, &[("accept", accept)], "")).await;
        let response = response.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event, or nothing when the watch is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

fn named(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
}

fn pair(event: &str, name: &str) -> (String, String) {
    (event.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_tells_what_happens_after_a_list() {
    let cluster = cluster().await;
    cluster.config_map("before").await;
    let list = cluster.get(MAPS).await.json();
    let from = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut lines = Lines::open(&cluster, &format!("resourceVersion={from}"), "application/json").await;
    cluster.config_map("a").await;
    let patch = [("content-type", "application/merge-patch+json")];
    cluster.ask("PATCH", &format!("{MAPS}/a"), &patch, r#"{"data":{"x":"y"}}"#).await;
    cluster.ask("DELETE", &format!("{MAPS}/a"), &[], "").await;
    for wanted in ["ADDED", "MODIFIED", "DELETED"] {
        assert_eq!(named(&lines.next().await.unwrap()), pair(wanted, "a"));
    }
}

#[tokio::test]
async fn selectors_hold_in_watches() {
    let cluster = cluster().await;
    let mut lines = Lines::open(&cluster, "labelSelector=app%3Db", "application/json").await;
    cluster.config_map("a").await;
    cluster.config_map("b").await;
    assert_eq!(named(&lines.next().await.unwrap()), pair("ADDED", "b"));
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_bookmark() {
    let cluster = cluster().await;
    cluster.config_map("a").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::open(&cluster, query, "application/json").await;
    assert_eq!(named(&lines.next().await.unwrap()), pair("ADDED", "a"));
    let bookmark = lines.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_may_be_a_table() {
    let cluster = cluster().await;
    cluster.config_map("a").await;
    cluster.config_map("b").await;
    let mut lines = Lines::open(&cluster, "", "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let (first, second) = (lines.next().await.unwrap(), lines.next().await.unwrap());
    assert_eq!((&first["object"]["kind"], &first["object"]["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert!(second["object"]["columnDefinitions"].as_array().is_none_or(Vec::is_empty));
    let mut lines = Lines::open(&cluster, "", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await;
    assert_eq!(lines.next().await.unwrap()["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn a_watch_ends_after_its_timeout() {
    let cluster = cluster().await;
    let mut lines = Lines::open(&cluster, "timeoutSeconds=1", "application/json").await;
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn kubes_client_reads_and_watches_in_process() {
    let cluster = cluster().await;
    let client = kube::Client::new(cluster.server.in_process(admin()), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    for strategy in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = pin!(watcher(maps.clone(), strategy).filter_map(|event| async move {
            match event.unwrap() {
                watcher::Event::Apply(object) => Some(("apply", object.metadata.name.unwrap())),
                watcher::Event::Delete(object) => Some(("delete", object.metadata.name.unwrap())),
                watcher::Event::InitDone => Some(("ready", String::new())),
                _ => None,
            }
        }));
        assert_eq!(events.next().await.unwrap().0, "ready");
        let object = ConfigMap {
            metadata: kube::core::ObjectMeta { name: Some("m".into()), ..Default::default() },
            ..Default::default()
        };
        maps.create(&PostParams::default(), &object).await.unwrap();
        assert_eq!(events.next().await.unwrap(), ("apply", "m".to_owned()));
        maps.delete("m", &DeleteParams::default()).await.unwrap();
        assert_eq!(events.next().await.unwrap(), ("delete", "m".to_owned()));
    }
    let missing = maps.get("none").await.unwrap_err();
    assert!(matches!(missing, kube::Error::Api(status) if status.code == 404 && status.reason == "NotFound"));
    let mut raw = pin!(maps.watch(&kube::api::WatchParams::default().timeout(1), "0").await.unwrap());
    while raw.try_next().await.unwrap().is_some() {}
}
