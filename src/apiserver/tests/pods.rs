//! What only pods have: logs, binding, eviction, ephemeral containers; and what admission gives them.

use std::sync::Arc;

use api::Status;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;

use super::harness::{Cluster, cluster, cluster_with, pod};
use crate::{Config, ContainerAddress, LogOptions, LogStream, NodeGateway};

const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A node that logs what it was asked.
struct Node;

#[async_trait]
impl NodeGateway for Node {
    async fn logs(&self, container: &ContainerAddress, options: &LogOptions) -> Result<LogStream, Status> {
        let lines =
            [format!("{}/{} on {}\n", container.pod, container.container, container.node), format!("{options:?}\n")];
        Ok(futures::stream::iter(lines.map(|line| Ok(Bytes::from(line)))).boxed())
    }
}

async fn bind(cluster: &Cluster, name: &str, node: &str) -> super::harness::Answer {
    let binding = json!({ "metadata": { "name": name }, "target": { "kind": "Node", "name": node } });
    cluster.ask("POST", &format!("{PODS}/{name}/binding"), &[JSON], binding.to_string()).await
}

#[tokio::test]
async fn a_pod_is_bound_to_one_node() {
    let cluster = cluster().await;
    cluster.post(PODS, &pod("p")).await;
    let bound = bind(&cluster, "p", "here").await;
    assert_eq!((bound.code, &bound.json()["status"]), (201, &json!("Success")), "{}", bound.text());
    let found = cluster.get(&format!("{PODS}/p")).await.json();
    assert_eq!(found["spec"]["nodeName"], "here");
    assert!(
        found["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["type"] == "PodScheduled" && one["status"] == "True")
    );
    let refused = bind(&cluster, "p", "there").await.refusal();
    assert!(
        refused
            .starts_with("409 Conflict Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned"),
        "{refused}"
    );
    assert_eq!(bind(&cluster, "p", "").await.code, 422);
    assert_eq!(bind(&cluster, "none", "here").await.code, 404);
}

#[tokio::test]
async fn logs_come_from_the_node() {
    let cluster = cluster_with(Config { node_gateway: Arc::new(Node), ..Config::default() }).await;
    cluster.post(PODS, &pod("p")).await;
    let log = format!("{PODS}/p/log");
    let unbound = cluster.get(&log).await;
    assert_eq!((unbound.code, unbound.text()), (200, String::new()));
    bind(&cluster, "p", "here").await;
    let waiting = cluster.get(&log).await.refusal();
    assert_eq!(waiting, "400 BadRequest container \"main\" in pod \"p\" is not available");

    let patch = [("content-type", "application/merge-patch+json")];
    let running = json!({ "status": { "containerStatuses": [{
        "name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} },
    }] } });
    let answer = cluster.ask("PATCH", &format!("{PODS}/p/status"), &patch, running.to_string()).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let text = cluster.get(&format!("{log}?container=main&tailLines=5&timestamps=true&follow=true&limitBytes=9")).await;
    assert_eq!(text.header("content-type"), "text/plain");
    let text = text.text();
    assert!(text.starts_with("p/main on here\n"), "{text}");
    for part in ["follow: true", "timestamps: true", "tail_lines: Some(5)", "limit_bytes: Some(9)", "previous: false"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for (query, wanted) in [
        ("?container=x", "400 BadRequest container x is not valid for pod p"),
        ("?previous=true", "400 BadRequest previous terminated container \"main\" in pod \"p\" not found"),
        ("?tailLines=-1", "422 Invalid"),
        ("?tailLines=x", "400 BadRequest"),
        ("?sinceTime=yesterday", "400 BadRequest"),
        ("?sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", "422 Invalid"),
    ] {
        let refused = cluster.get(&format!("{log}{query}")).await.refusal();
        assert!(refused.starts_with(wanted), "{query}: {refused}");
    }
}

#[tokio::test]
async fn an_eviction_deletes() {
    let cluster = cluster().await;
    cluster.post(PODS, &pod("p")).await;
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p", "namespace": "default" },
        "deleteOptions": { "gracePeriodSeconds": 0 },
    });
    let answer = cluster.ask("POST", &format!("{PODS}/p/eviction"), &[JSON], eviction.to_string()).await;
    assert_eq!((answer.code, &answer.json()["status"]), (201, &json!("Success")), "{}", answer.text());
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn a_deleted_pod_is_answered() {
    let cluster = cluster().await;
    cluster.post(PODS, &pod("p")).await;
    let answer = cluster.ask("DELETE", &format!("{PODS}/p?gracePeriodSeconds=0"), &[], "").await;
    assert_eq!((answer.code, &answer.json()["kind"]), (200, &json!("Pod")), "{}", answer.text());
}

#[tokio::test]
async fn ephemeral_containers_are_added_and_stay() {
    let cluster = cluster().await;
    cluster.post(PODS, &pod("p")).await;
    let path = format!("{PODS}/p/ephemeralcontainers");
    let patch = json!({ "spec": { "ephemeralContainers": [{ "name": "debug", "image": "x" }] } }).to_string();
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let answer = cluster.ask("PATCH", &path, &headers, patch).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    assert_eq!(answer.json()["spec"]["ephemeralContainers"][0]["securityContext"], json!({}));
    let none = json!({ "spec": { "ephemeralContainers": [] } }).to_string();
    let answer = cluster.ask("PATCH", &path, &[("content-type", "application/merge-patch+json")], none).await;
    assert_eq!(answer.code, 422, "{}", answer.text());
}

#[tokio::test]
async fn a_pod_without_a_node_has_nobody_to_connect_to() {
    let cluster = cluster().await;
    cluster.post(PODS, &pod("p")).await;
    for path in ["exec?command=sh&stdout=1", "attach?stdout=1", "portforward?ports=80"] {
        let refused = cluster.ask("POST", &format!("{PODS}/p/{path}"), &[], "").await.refusal();
        assert_eq!(refused, "400 BadRequest pod p does not have a host assigned");
    }
    assert_eq!(cluster.get(&format!("{PODS}/p/nothing")).await.code, 404);
}

#[tokio::test]
async fn a_new_pod_is_completed() {
    let cluster = cluster().await;
    let spec = cluster.post(PODS, &pod("p")).await.json()["spec"].clone();
    assert_eq!((&spec["serviceAccountName"], &spec["priority"]), (&json!("default"), &json!(0)));
    let tolerations = spec["tolerations"].as_array().unwrap();
    assert!(tolerations.iter().all(|one| one["tolerationSeconds"] == 300));
    assert_eq!(tolerations.len(), 2);
    let mut critical = pod("q");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(cluster.post(PODS, &critical).await.json()["spec"]["priority"], 2_000_001_000);
    critical["metadata"]["name"] = json!("r");
    critical["spec"]["priorityClassName"] = json!("none");
    let refused = cluster.ask("POST", PODS, &[JSON], critical.to_string()).await.refusal();
    assert_eq!(refused, "403 Forbidden pods \"r\" is forbidden: no PriorityClass with name none was found");
}
