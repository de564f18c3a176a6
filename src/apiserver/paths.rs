//! Paths that are no resources: health, version, metrics, discovery, OpenAPI, the images registry.

use api::Status;
use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use tower::ServiceExt;

use crate::aggregation::{self, discovery};
use crate::health::{self, Endpoint};
use crate::reply::Reply;
use crate::server::Call;
use crate::{registry_door, tokens};

const FIXED: [&str; 13] = [
    "/.well-known/openid-configuration",
    "/healthz",
    "/healthz/ping",
    "/livez",
    "/livez/ping",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/readyz/ping",
    "/readyz/shutdown",
    "/version",
];

pub(crate) async fn answer(call: Call) -> Result<Reply, Status> {
    let path = call.asked.path.trim_end_matches('/').to_owned();
    if registry_door::is_registry(&path) {
        return images(call).await;
    }
    if call.method != Method::GET && call.method != Method::HEAD {
        return Err(Status::method_not_allowed());
    }
    if let Some((endpoint, one)) = Endpoint::of(&path) {
        let checks = call.server.checks.read().clone();
        return Ok(health::answer(endpoint, one, &call.query, &checks, call.ending.is_cancelled()));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let remotes = call.server.aggregation.all();
    if !remotes.is_empty() {
        let find = |group: &str, version: &str| call.server.aggregation.find(group, version);
        match parts.as_slice() {
            ["apis"] => return discovery::groups(call).await,
            ["apis", group] if remotes.iter().any(|remote| remote.group == *group) => {
                return discovery::group(call, group).await;
            }
            ["apis", group, version] if let Some(remote) = find(group, version) => {
                return aggregation::forward(call, &remote).await;
            }
            ["openapi", "v3"] => return discovery::openapi_index(call).await,
            ["openapi", "v3", "apis", group, version] if let Some(remote) = find(group, version) => {
                return discovery::openapi(call, &remote).await;
            }
            _ => {}
        }
    }
    let documents = &call.server.documents;
    match parts.as_slice() {
        [] => Ok(root(&call)),
        [".well-known", "openid-configuration"] if call.server.issuer.is_some() => Ok(tokens::configuration()),
        ["openid", "v1", "jwks"] if let Some(issuer) = &call.server.issuer => Ok(tokens::key_set(issuer)),
        ["version"] => Ok(Reply::json(200, &call.server.version.to_json())),
        ["metrics"] => Ok(Reply::bytes(200, base::metrics::Metrics::CONTENT_TYPE, call.server.metrics.encode())),
        ["api"] => documents.legacy(&call).await,
        ["apis"] => documents.groups(&call).await,
        ["apis", group] => documents.group(&call, group).await,
        ["api", version] => documents.resources(&call, "", version).await,
        ["apis", group, version] => documents.resources(&call, group, version).await,
        ["openapi", "v2"] => documents.openapi_v2(&call).await,
        ["openapi", "v3"] => documents.openapi_v3_index(&call).await,
        ["openapi", "v3", rest @ ..] => documents.openapi_v3(&call, rest.join("/")).await,
        _ => Err(Status::no_such_path()),
    }
}

/// All paths, as a look at `/` shows them.
fn root(call: &Call) -> Reply {
    let mut paths: Vec<String> = FIXED.iter().map(|path| (*path).to_owned()).collect();
    paths.extend(["/api".to_owned(), "/apis".to_owned()]);
    for kind in call.kinds.iter() {
        if kind.group.is_empty() {
            paths.push(format!("/api/{}", kind.version));
        } else {
            paths.push(format!("/apis/{}", kind.group));
            paths.push(format!("/apis/{}/{}", kind.group, kind.version));
        }
    }
    paths.sort();
    paths.dedup();
    Reply::json(200, &json!({ "paths": paths }))
}

/// Hands a request on to the registry, with its caller.
async fn images(call: Call) -> Result<Reply, Status> {
    let Some(router) = call.server.images.read().clone() else { return Err(Status::no_such_path()) };
    let mut request = Request::new(call.body.into_inner());
    *request.method_mut() = call.method;
    *request.uri_mut() = call.uri;
    *request.headers_mut() = call.headers;
    *request.extensions_mut() = call.extensions;
    request.extensions_mut().insert(call.user);
    let answer = router.oneshot(request).await;
    let response = answer.unwrap_or_else(|never| match never {});
    Ok(Reply::ready(response.map(Body::new)))
}
