//! The loop against a scripted server.

use std::sync::Arc;

use base::Tasks;
use base::metrics::Metrics;
use client::events::Recorder;
use client::informers::Informer;
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;

use super::{node, pod};
use crate::Config;
use crate::bind::Binder;
use crate::metrics::SchedulerMetrics;
use crate::run::{Scheduler, Watched};
use crate::volumes::Volumes;

struct Stage {
    watched: Watched,
    bound: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
}

impl Stage {
    /// A scheduler whose server binds pods to what they are told, and lets pods go that are deleted.
    fn open() -> Self {
        let watched = Watched {
            pods: Informer::empty(),
            nodes: Informer::<Node>::empty(),
            namespaces: Informer::empty(),
            budgets: Informer::empty(),
            volumes: Volumes::default(),
        };
        let (bound, tasks) = (Arc::new(Mutex::new(Vec::new())), Tasks::new());
        let client = server(&watched.pods, bound.clone());
        let events = Recorder::new(client.clone(), &tasks, "default-scheduler", None);
        let binder = Binder::new(client, vec![("default-scheduler".to_owned(), events)]);
        let metrics = SchedulerMetrics::new(&Metrics::default());
        tasks.job("scheduler", Scheduler::new(watched.clone(), binder, Config::default(), metrics).run());
        watched.namespaces.replace([]);
        watched.budgets.replace([]);
        watched.volumes.claims.replace([]);
        watched.volumes.volumes.replace([]);
        watched.volumes.classes.replace([]);
        Self { watched, bound, tasks }
    }

    async fn until(&self, count: usize) -> Vec<String> {
        let mut changed = self.watched.pods.changed();
        while self.bound.lock().len() < count {
            changed.changed().await.unwrap();
        }
        self.bound.lock().clone()
    }
}

fn server(pods: &Informer<Pod>, bound: Arc<Mutex<Vec<String>>>) -> client::Client {
    let pods = pods.clone();
    client::in_process(
        tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            if let Some(name) = path.strip_suffix("/binding").map(name) {
                bound.lock().push(name.clone());
                if let Some(pod) = pods.get("a", &name) {
                    let mut pod = pod.as_ref().clone();
                    pod.spec.as_mut().unwrap().node_name = Some("one".into());
                    pod.metadata.resource_version = Some("2".into());
                    pods.apply(pod);
                }
            } else if request.method() == Method::DELETE
                && let Some(pod) = pods.get("a", &name(&path))
            {
                pods.remove(pod.as_ref().clone());
            }
            let body = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#;
            async move { Ok::<_, std::convert::Infallible>(Response::new(Body::from(body.to_vec()))) }
        }),
        "default",
    )
}

fn fresh(mut pod: Pod) -> Pod {
    pod.metadata.resource_version = Some("1".into());
    pod
}

#[tokio::test]
async fn a_thousand_pods_are_bound_and_what_is_not_ours_is_left_alone() {
    let stage = Stage::open();
    let mut all: Vec<Pod> = (0..1000).map(|index| pod(&format!("p{index}"), "cpu=1m", json!({}))).collect();
    all.push(pod("gated", "", json!({"spec": {"schedulingGates": [{"name": "x"}]}})));
    all.push(pod("foreign", "", json!({"spec": {"schedulerName": "other"}})));
    stage.watched.pods.replace(all.into_iter().map(fresh));
    // The pods come first and fit nowhere: the node wakes them.
    stage.watched.nodes.replace([]);
    stage.watched.nodes.apply(node("one cpu=8 memory=64Gi pods=5000").as_ref().clone());
    let bound = stage.until(1000).await;
    assert!(!bound.iter().any(|name| name == "gated" || name == "foreign"));
    // Its gates open.
    stage.watched.pods.apply(pod("gated", "", json!({"metadata": {"resourceVersion": "3"}})));
    assert_eq!(stage.until(1001).await.last().unwrap(), "gated");
    assert!(stage.tasks.stop(std::time::Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_lesser_pod_goes_and_the_greater_one_takes_its_room() {
    let stage = Stage::open();
    stage.watched.nodes.replace([node("one cpu=2 memory=8Gi pods=10").as_ref().clone()]);
    stage.watched.pods.replace([fresh(pod("low", "cpu=2", json!({"spec": {"priority": 1}})))]);
    stage.until(1).await;
    stage.watched.pods.apply(fresh(pod("vip", "cpu=2", json!({"spec": {"priority": 9}}))));
    assert_eq!(stage.until(2).await, ["low", "vip"]);
    assert!(stage.watched.pods.get("a", "low").is_none());
}
