//! HTTP towards somebody who listens for connections: the request is written as HTTP/1.1, the response is read.
//!
//! Each request has a connection of its own. One that is kept would hold up a server that serves one connection at a time,
//! and opening one costs microseconds here.

use std::net::SocketAddr;

use futures::future::BoxFuture;
use http::header::{CONNECTION, HOST, HeaderValue};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::tcp::SharedAcceptor;
use crate::{Body, BodyError, CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse};

/// The source port that such connections show; nobody answers there.
const NO_PORT: u16 = 0;

/// A listener for connections as an answerer of requests.
pub(crate) struct OverTcp(pub SharedAcceptor);

impl HttpEndpoint for OverTcp {
    fn call(
        &self,
        request: HttpRequest,
        connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let acceptor = SharedAcceptor::clone(&self.0);
        Box::pin(async move {
            let stream = acceptor.dial(SocketAddr::new(connection.source, NO_PORT), None).await?;
            let (mut sender, wire) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            drive(wire);
            let response = sender.send_request(for_the_wire(request)).await.map_err(broken)?;
            Ok(response.map(|body| Body::new(body.map_err(|error| BodyError::Other(base::report(&error))))))
        })
    }
}

/// Carries the bytes. It ends with the request and its response, which are its owners: dropping them closes the connection.
#[allow(clippy::disallowed_methods)]
fn drive(wire: http1::Connection<TokioIo<crate::Stream>, Body>) {
    tokio::spawn(async move {
        if let Err(error) = wire.await {
            tracing::debug!(%error, "a connection to a component ended");
        }
    });
}

fn for_the_wire(mut request: HttpRequest) -> HttpRequest {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(http::Uri::default, http::Uri::from);
    *request.version_mut() = http::Version::HTTP_11;
    let headers = request.headers_mut();
    if !headers.contains_key(HOST) {
        headers.insert(HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}

fn broken(error: hyper::Error) -> CallError {
    CallError::Broken(base::report(&error))
}
