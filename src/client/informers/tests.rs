//! The cache, its indexes and listeners, and one feed over a scripted server.

use std::sync::Arc;

use base::Tasks;
use http::{Request, Response};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::client::Body;
use parking_lot::Mutex;

use super::{Informer, Informers, Key};

fn pod(namespace: &str, name: &str, revision: u64, node: Option<&str>) -> Pod {
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(revision.to_string()),
            owner_references: Some(vec![OwnerReference { uid: "owner".into(), ..OwnerReference::default() }]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { node_name: node.map(str::to_owned), ..PodSpec::default() }),
        ..Pod::default()
    }
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

#[test]
fn reads_by_namespace_owner_and_node_follow_every_change() {
    let pods = Informer::empty();
    pods.replace([pod("a", "one", 1, None), pod("a", "two", 2, Some("n")), pod("ab", "three", 3, Some("n"))]);
    assert_eq!(names(&pods.in_namespace("a")), ["one", "two"]);
    assert_eq!(names(&pods.on_node("n")), ["two", "three"]);
    assert_eq!(pods.owned_by("owner").len(), 3);

    pods.apply(pod("a", "one", 4, Some("n")));
    pods.remove(pod("ab", "three", 5, Some("n")));
    assert_eq!(names(&pods.on_node("n")), ["one", "two"]);
    assert_eq!(pods.revision(), 5);
    assert!(pods.get("ab", "three").is_none());
}

#[test]
fn a_choice_follows_what_comes_and_what_leaves() {
    let pods = Informer::empty();
    pods.apply(pod("a", "early", 1, Some("n")));
    let here = pods.those(|pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some("n")));
    assert!(!here.is_synced());
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    here.on_change(move |change| sink.lock().push((change.key.name.clone(), change.new.is_some())));
    pods.replace([pod("a", "early", 1, Some("n")), pod("a", "one", 2, None), pod("a", "two", 3, Some("n"))]);
    assert!(here.is_synced());
    assert_eq!(names(&here.list()), ["early", "two"]);
    pods.apply(pod("a", "one", 4, Some("n")));
    pods.apply(pod("a", "two", 5, Some("elsewhere")));
    pods.remove(pod("a", "early", 6, Some("n")));
    assert_eq!(names(&here.list()), ["one"]);
    // What was never in it is no news.
    pods.remove(pod("a", "two", 7, Some("elsewhere")));
    let wanted = [("early", true), ("two", true), ("one", true), ("two", false), ("early", false)];
    assert_eq!(*told.lock(), wanted.map(|(name, there)| (name.to_owned(), there)));
}

#[test]
fn a_fresh_list_tells_what_went_and_what_changed_only() {
    let pods = Informer::empty();
    pods.replace([pod("a", "stays", 1, None), pod("a", "goes", 2, None), pod("a", "changes", 3, None)]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    pods.on_change(move |change| sink.lock().push((change.key.name.clone(), change.new.is_some())));
    assert_eq!(told.lock().len(), 3);
    told.lock().clear();
    pods.replace([pod("a", "stays", 1, None), pod("a", "changes", 4, None)]);
    assert_eq!(*told.lock(), [("goes".to_owned(), false), ("changes".to_owned(), true)]);
}

#[tokio::test]
async fn changes_gather_while_the_reader_is_busy() {
    let pods = Informer::empty();
    pods.replace([pod("a", "one", 1, None)]);
    let mut changes = pods.changes();
    for revision in 2..100 {
        pods.apply(pod("a", "one", revision, None));
    }
    pods.apply(pod("a", "two", 100, None));
    let keys = changes.next().await;
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), [Key::new("a", "one"), Key::new("a", "two")]);
}

#[tokio::test]
async fn a_feed_reads_the_streamed_list_and_then_what_follows() {
    let lines = [
        r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"a","name":"one","resourceVersion":"7"}}}"#,
        r#"{"type":"BOOKMARK","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        r#"{"type":"MODIFIED","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"a","name":"one","resourceVersion":"8"}}}"#,
        "",
    ];
    let script = Arc::new(Mutex::new(Some(lines.join("\n"))));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = script.lock().take();
        async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            match answer {
                Some(text) => {
                    assert!(query.contains("sendInitialEvents=true"), "{query}");
                    Ok::<_, std::convert::Infallible>(Response::new(Body::from(text.into_bytes())))
                }
                None => std::future::pending().await,
            }
        }
    });
    let tasks = Tasks::new();
    let informers = Informers::new(crate::in_process(service, "default"), &tasks);
    let maps = informers.of::<ConfigMap>();
    let again = informers.of::<ConfigMap>();
    maps.synced().await;
    let mut changed = maps.changed();
    while again.revision() < 8 {
        changed.changed().await.unwrap();
    }
    assert_eq!(again.len(), 1);
}
