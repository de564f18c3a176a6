//! What a node answers on its own port: `/healthz`, `/pods`, `/metrics`, …

use api::{FieldSelector, Status, meta};
use http::Method;
use objects::ListOptions;
use serde_json::{Value, json};

use crate::gateway::{ContainerAddress, LogOptions, NodePage};
use crate::reply::Reply;
use crate::server::Call;

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
        ["containerLogs", namespace, pod, container] => logs(call, [name, namespace, pod, container]).await,
        _ => Ok(match own(call, &parts).await {
            Some(page) => Reply::bytes(200, page.content_type, page.body),
            None => Reply::text(404, "404 page not found\n"),
        }),
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

/// What the node itself has at this path. It may look at many files.
async fn own(call: &Call, parts: &[&str]) -> Option<NodePage> {
    let gateway = call.server.gateway.read().clone();
    let metrics = if *parts == ["metrics"] { call.server.metrics.encode() } else { String::new() };
    let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    let looking = tokio::task::spawn_blocking(move || {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        gateway.page(&parts, metrics)
    });
    looking.await.ok().flatten()
}
