//! Carrying a client's own request on to somebody else, and the answer back: what is taken off, and connections that
//! change what they speak.

use api::Status;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::reply::Reply;
use crate::server::Call;

/// Whether the client wants to speak something else than HTTP on this connection.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    connection.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
        && headers.contains_key(UPGRADE)
}

/// The request as the other side is to see it.
pub(crate) fn outgoing(call: &mut Call, path: &str) -> Result<Request<Body>, Status> {
    let query = call.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri =
        format!("{path}{query}").parse().map_err(|_| Status::bad_request("the path cannot be carried on"))?;
    let mut request = Request::new(std::mem::take(call.body.get_mut()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri;
    let mut headers = call.headers.clone();
    let upgrade = is_upgrade(&headers).then(|| headers.get(UPGRADE).cloned()).flatten();
    strip(&mut headers);
    // What proves the client's identity here is nobody else's business.
    headers.remove(AUTHORIZATION);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(&host(call))
        && !host.is_empty()
    {
        headers.insert(HOST, host);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// The name that the client knows this server by.
pub(crate) fn host(call: &Call) -> String {
    let header = call.headers.get(HOST).and_then(|value| value.to_str().ok());
    header.or(call.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned()
}

/// Takes off what is about one connection only.
pub(crate) fn strip(headers: &mut HeaderMap) {
    const MORE: [HeaderName; 2] = [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    for name in named.into_iter().chain(fixed).chain(MORE) {
        headers.remove(name);
    }
}

/// Joins the two connections, once both sides have changed what they speak.
#[allow(clippy::disallowed_methods)]
pub(crate) fn upgraded(
    mut response: Response<Body>,
    client: Option<OnUpgrade>,
    ending: base::Shutdown,
) -> Result<Reply, Status> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if response.status().as_u16() < 400 {
            let code = response.status().as_u16();
            return Err(Status::internal(format!("invalid upgrade response: status code {code}")));
        }
        strip(response.headers_mut());
        return Ok(Reply::ready(response));
    }
    let (Some(client), Some(other)) = (client, response.extensions_mut().remove::<OnUpgrade>()) else {
        return Err(Status::internal("this connection cannot be upgraded"));
    };
    // The task's owner is the pair of connections: it ends with either of them.
    tokio::spawn(async move {
        let carry = async {
            let (Ok(client), Ok(other)) = (client.await, other.await) else { return };
            let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut other).await;
        };
        tokio::select! {
            () = carry => {}
            () = ending.cancelled() => {}
        }
    });
    Ok(Reply::ready(response.map(|_| Body::empty())))
}

/// Turns the request into a WebSocket.
pub(crate) async fn websocket(call: &Call) -> Result<WebSocketUpgrade, Status> {
    let mut request = Request::new(());
    *request.uri_mut() = call.uri.clone();
    *request.headers_mut() = call.headers.clone();
    *request.extensions_mut() = call.extensions.clone();
    // Opening by POST is as good as by GET; the handshake itself is the same.
    *request.method_mut() = Method::GET;
    let (mut parts, ()) = request.into_parts();
    let wrong = |rejection: WebSocketUpgradeRejection| {
        Status::bad_request(format!("Upgrade request required: a WebSocket, {rejection}"))
    };
    WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "close, x-own"), ("x-own", "1"), ("te", "gzip"), ("x-kept", "1")] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }
}
