//! What a node answers on its own port: `/healthz`, `/pods`, `/metrics`, …

use api::{FieldSelector, Status, meta};
use http::Method;
use objects::ListOptions;
use serde_json::{Value, json};

use crate::gateway::{ContainerAddress, LogOptions, NodeUsage};
use crate::reply::Reply;
use crate::server::Call;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

pub(super) async fn answer(call: &mut Call, node: &Value, path: &str) -> Result<Reply, Status> {
    let name = meta::name(node);
    if !call.server.gateway.read().has(name) {
        let addresses = node.pointer("/status/addresses").and_then(Value::as_array).into_iter().flatten();
        let address = addresses.filter_map(|address| address.get("address")?.as_str()).next();
        let why = match address {
            Some(address) => format!("dial tcp {address}:10250: connect: connection refused"),
            None => format!("dial tcp: lookup {name}: no such host"),
        };
        return Err(Status::unavailable(format!("error trying to reach service: {why}")));
    }
    if call.method != Method::GET && call.method != Method::HEAD {
        return Ok(Reply::text(405, "Method Not Allowed\n"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts[..] {
        ["healthz", ..] => Ok(Reply::bytes(200, TEXT, "ok")),
        ["pods"] => pods(call, name, false).await,
        ["runningpods"] => pods(call, name, true).await,
        ["metrics"] => Ok(Reply::bytes(200, base::metrics::Metrics::CONTENT_TYPE, call.server.metrics.encode())),
        ["metrics", "resource"] => Ok(Reply::bytes(200, TEXT, resource_metrics(&usage(call, name)))),
        ["stats", "summary"] => Ok(Reply::bytes(200, JSON, summary(name, usage(call, name).as_ref()).to_string())),
        ["configz"] => {
            let config = json!({ "kubeletconfig": { "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1" } });
            Ok(Reply::bytes(200, JSON, config.to_string()))
        }
        ["containerLogs", namespace, pod, container] => logs(call, [name, namespace, pod, container]).await,
        _ => Ok(Reply::text(404, "404 page not found\n")),
    }
}

async fn pods(call: &Call, node: &str, running: bool) -> Result<Reply, Status> {
    let kinds = call.server.objects.kinds();
    let kind = kinds.by_resource("", "v1", "pods").cloned().ok_or_else(Status::no_such_path)?;
    let field_selector: FieldSelector =
        format!("spec.nodeName={node}").parse().map_err(|_| Status::internal("a node's name is no selector"))?;
    let options = ListOptions { field_selector, ..ListOptions::default() };
    let list = call.server.objects.list(&kind, None, &options).await?;
    let is_running = |pod: &Value| pod.pointer("/status/phase").and_then(Value::as_str) == Some("Running");
    let items: Vec<Value> =
        list.items.iter().map(|item| item.value()).filter(|pod| !running || is_running(pod)).collect();
    Ok(Reply::json(200, &json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items })))
}

async fn logs(call: &Call, [node, namespace, pod, container]: [&str; 4]) -> Result<Reply, Status> {
    let kinds = call.server.objects.kinds();
    let kind = kinds.by_resource("", "v1", "pods").cloned().ok_or_else(Status::no_such_path)?;
    let found = call.server.objects.get(&kind, Some(namespace), pod, &objects::Revisions::default()).await?.value();
    let address = ContainerAddress {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid: meta::uid(&found).to_owned(),
        container: container.to_owned(),
        node: node.to_owned(),
    };
    let gateway = call.server.gateway.read().clone();
    let options = LogOptions { follow: call.query.flag("follow"), ..LogOptions::default() };
    let stream = gateway.logs(&address, &options).await?;
    let stream = futures::StreamExt::take_until(stream, call.ending.clone().cancelled_owned());
    Ok(Reply::stream("text/plain", axum::body::Body::from_stream(stream)))
}

fn usage(call: &Call, node: &str) -> Option<NodeUsage> {
    call.server.usage.read().usage().into_iter().find(|usage| usage.node == node)
}

fn nanos(usage: std::time::Duration) -> u64 {
    u64::try_from(usage.as_nanos()).unwrap_or(u64::MAX)
}

/// The summary that the kubelet gives, as far as there are figures.
fn summary(node: &str, usage: Option<&NodeUsage>) -> Value {
    let Some(usage) = usage else { return json!({ "node": { "nodeName": node }, "pods": [] }) };
    let time = usage.taken.to_string();
    let figures = |cpu: u64, total: u64, memory: u64| {
        json!({
            "cpu": { "time": time, "usageNanoCores": cpu, "usageCoreNanoSeconds": total },
            "memory": { "time": time, "usageBytes": memory, "workingSetBytes": memory, "rssBytes": memory },
        })
    };
    let mut pods: Vec<Value> = Vec::new();
    for container in &usage.containers {
        let mut entry = figures(container.cpu_nanocores, nanos(container.cpu_time), container.memory_bytes);
        entry["name"] = json!(container.container);
        let known = pods.iter_mut().find(|pod| pod["podRef"]["uid"] == json!(container.uid));
        match known.and_then(|pod| pod["containers"].as_array_mut()) {
            Some(containers) => containers.push(entry),
            None => pods.push(json!({
                "podRef": { "name": container.pod, "namespace": container.namespace, "uid": container.uid },
                "containers": [entry],
            })),
        }
    }
    let mut whole = figures(usage.cpu_nanocores, nanos(usage.cpu_time), usage.memory_bytes);
    whole["nodeName"] = json!(node);
    json!({ "node": whole, "pods": pods })
}

/// The figures that autoscalers read, in Prometheus' text.
fn resource_metrics(usage: &Option<NodeUsage>) -> String {
    let Some(usage) = usage else { return String::new() };
    let mut text = format!(
        "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {}\n\
         # TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {}\n",
        usage.cpu_time.as_secs_f64(),
        usage.memory_bytes
    );
    let label = |one: &crate::gateway::ContainerUsage| {
        format!("container={:?},namespace={:?},pod={:?}", one.container, one.namespace, one.pod)
    };
    text.push_str("# TYPE container_cpu_usage_seconds_total counter\n");
    for one in &usage.containers {
        text.push_str(&format!("container_cpu_usage_seconds_total{{{}}} {}\n", label(one), one.cpu_time.as_secs_f64()));
    }
    text.push_str("# TYPE container_memory_working_set_bytes gauge\n");
    for one in &usage.containers {
        text.push_str(&format!("container_memory_working_set_bytes{{{}}} {}\n", label(one), one.memory_bytes));
    }
    text
}
