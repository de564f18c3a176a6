//! Waiting until what was applied serves, so that the URLs that are printed answer.

use std::time::{Duration, Instant};

use cli::connection::Call;
use cli::{Connection, terminal};
use serde_json::Value;

const LONGEST: Duration = Duration::from_secs(30);

/// Waits until every Deployment has a pod that serves, and every Service knows one where one of its pods does.
pub async fn available(connection: &Connection) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < LONGEST {
        let deployments = items(connection, "/apis/apps/v1/deployments").await?;
        if !deployments.iter().any(is_unavailable) && !services_lag(connection).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    terminal::complain("some deployments are not available yet; kubectl get pods -A says why");
    Ok(())
}

async fn items(connection: &Connection, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut list = connection.json(Call::get(path)).await?;
    Ok(list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default())
}

fn is_unavailable(deployment: &Value) -> bool {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64);
    number("/spec/replicas") != Some(0) && number("/status/availableReplicas").unwrap_or(0) == 0
}

/// Pods are ready a moment before the endpoints of their Services say so.
async fn services_lag(connection: &Connection) -> anyhow::Result<bool> {
    let services = items(connection, "/api/v1/services").await?;
    let slices = items(connection, "/apis/discovery.k8s.io/v1/endpointslices").await?;
    let pods = items(connection, "/api/v1/pods").await?;
    let lags = |service: &Value| {
        pods.iter().any(|pod| is_ready(pod) && selects(service, pod))
            && !slices.iter().any(|slice| is_of(slice, service) && has_ready_endpoint(slice))
    };
    Ok(services.iter().any(lags))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn selects(service: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let selector = service.pointer("/spec/selector").and_then(Value::as_object).filter(|selector| !selector.is_empty());
    service["metadata"]["namespace"] == pod["metadata"]["namespace"]
        && selector.is_some_and(|selector| selector.iter().all(|(label, value)| labels.get(label) == Some(value)))
}

fn is_of(slice: &Value, service: &Value) -> bool {
    let name = &slice["metadata"]["labels"]["kubernetes.io/service-name"];
    *name == service["metadata"]["name"] && slice["metadata"]["namespace"] == service["metadata"]["namespace"]
}

fn has_ready_endpoint(slice: &Value) -> bool {
    let endpoints = slice["endpoints"].as_array();
    endpoints.into_iter().flatten().any(|endpoint| endpoint["conditions"]["ready"] != false)
}
