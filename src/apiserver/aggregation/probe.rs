//! Whether an API that somebody else serves can be reached, and what it offers.

use std::time::Duration;

use api::Status;
use axum::body::Body;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Limited};
use objects::{ListOptions, Objects, Revisions};
use serde_json::Value;

use super::Remote;
use crate::gateway::{Scheme, ServiceTransport, TargetPort, resolve};

/// How long an API may take to say what it offers.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub available: bool,
    pub reason: &'static str,
    pub message: String,
    pub resources: Option<Value>,
    pub openapi: Option<String>,
}

impl Finding {
    fn failed(reason: &'static str, message: String) -> Self {
        Self { available: false, reason, message, resources: None, openapi: None }
    }
}

/// Checks step by step, as far as each step goes well.
pub(super) async fn probe(objects: &Objects, transport: &dyn ServiceTransport, remote: &Remote) -> Finding {
    match reachable(objects, remote).await {
        Ok(()) => {}
        Err(finding) => return finding,
    }
    let path = remote.path();
    let url = format!("https://{}:{}{path}", remote.host(), remote.target.port);
    let (code, body) = match tokio::time::timeout(PATIENCE, get(transport, remote, &path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => return failed_check(&url, &format!("Get {url:?}: {why}")),
        Err(_) => return failed_check(&url, &format!("Get {url:?}: context deadline exceeded")),
    };
    if !(200..300).contains(&code) {
        return failed_check(&url, &format!("bad status from {url}: {code}"));
    }
    let index = tokio::time::timeout(PATIENCE, get(transport, remote, "/openapi/v3")).await;
    let openapi = match index {
        Ok(Ok((200, Some(index)))) => openapi_path(&index, remote),
        _ => None,
    };
    let message = "all checks passed".to_owned();
    Finding { available: true, reason: "Passed", message, resources: body, openapi }
}

fn failed_check(url: &str, why: &str) -> Finding {
    Finding::failed("FailedDiscoveryCheck", format!("failing or missing response from {url}: {why}"))
}

/// Whether there is a Service with that port, and anybody behind it.
async fn reachable(objects: &Objects, remote: &Remote) -> Result<(), Finding> {
    let target = &remote.target;
    let (name, namespace) = (&target.name, &target.namespace);
    let kinds = objects.kinds();
    let Some(kind) = kinds.by_resource("", "v1", "services") else { return Ok(()) };
    let service = match objects.get(kind, Some(namespace), name, &Revisions::default()).await {
        Ok(service) => service.value(),
        Err(status) if status.code == 404 => {
            let message = format!("service/{name} in {namespace:?} is not present");
            return Err(Finding::failed("ServiceNotFound", message));
        }
        Err(status) => {
            let message = format!("service/{name} in {namespace:?} cannot be checked due to: {}", status.message);
            return Err(Finding::failed("ServiceAccessError", message));
        }
    };
    if service.pointer("/spec/type").and_then(Value::as_str).is_some_and(|kind| kind != "ClusterIP") {
        return Ok(());
    }
    let resolved = resolve(objects, target).await.map_err(|_| {
        let message = format!("service/{name} in {namespace:?} is not listening on port {}", target.port);
        Finding::failed("ServicePortError", message)
    })?;
    if !resolved.addresses.is_empty() {
        return Ok(());
    }
    if has_slices(objects, namespace, name).await {
        let port = resolved.name;
        let message =
            format!("endpointslices for service/{name} in {namespace:?} have no addresses with port name {port:?}");
        return Err(Finding::failed("MissingEndpoints", message));
    }
    let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
    Err(Finding::failed("EndpointsNotFound", message))
}

async fn has_slices(objects: &Objects, namespace: &str, name: &str) -> bool {
    let kinds = objects.kinds();
    let Some(kind) = kinds.by_resource("discovery.k8s.io", "v1", "endpointslices") else { return false };
    let Ok(label_selector) = format!("kubernetes.io/service-name={name}").parse() else { return false };
    let options = ListOptions { label_selector, limit: 1, ..ListOptions::default() };
    objects.list(kind, Some(namespace), &options).await.is_ok_and(|list| !list.items.is_empty())
}

/// Asks in the server's own name.
async fn get(transport: &dyn ServiceTransport, remote: &Remote, path: &str) -> Result<(u16, Option<Value>), String> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().map_err(|_| "the group cannot stand in a path".to_owned())?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("x-remote-user", HeaderValue::from_static("system:kube-aggregator"));
    headers.insert("x-remote-group", HeaderValue::from_static("system:masters"));
    if let Ok(host) = HeaderValue::from_str(&remote.host()) {
        headers.insert(HOST, host);
    }
    let mut target = remote.target.clone();
    if let Scheme::Https(options) = &mut target.scheme {
        // Whether it lives is asked before whether it is trusted.
        options.verify = false;
    }
    debug_assert!(matches!(target.port, TargetPort::Number(_)));
    let response = transport.call(&target, request).await.map_err(|status: Status| {
        let message = status.message;
        message.strip_prefix("error trying to reach service: ").map_or(message.clone(), str::to_owned)
    })?;
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|error| error.to_string())?;
    Ok((code, serde_json::from_slice(&body.to_bytes()).ok()))
}

/// Where its index says that the document of its group and version is.
fn openapi_path(index: &Value, remote: &Remote) -> Option<String> {
    let key = remote.path().trim_start_matches('/').to_owned();
    let entry = index.get("paths")?.get(&key)?;
    Some(entry.get("serverRelativeURL")?.as_str()?.to_owned())
}
