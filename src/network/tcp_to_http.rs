//! Connections to somebody who answers requests: the HTTP on them is read here, and each request becomes a call.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;

use crate::listener::Binding;
use crate::pod_network::run;
use crate::{Body, BodyError, CallError, Connection, Stream, body};

/// How long a client may take to write a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection from `source` on which `binding` answers.
pub(crate) fn dial(binding: Arc<Binding>, source: SocketAddr, address: SocketAddr) -> Stream {
    let (ours, theirs) = Stream::pair(source, address);
    serve(binding, theirs);
    ours
}

/// The task's owner is the stream: it ends when the client closes it, or with the listener.
#[allow(clippy::disallowed_methods)]
fn serve(binding: Arc<Binding>, stream: Stream) {
    tokio::spawn(async move {
        let peer = stream.peer_address();
        // A client that has said all may still read: plain programs close their side after the request.
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(true);
        let answering = Arc::clone(&binding);
        let service = service_fn(move |request| answer(Arc::clone(&answering), request, peer));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = binding.closed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "a connection to a component ended");
        }
    });
}

async fn answer(
    binding: Arc<Binding>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let Some(call) = binding.enter() else {
        let mut response = said(StatusCode::SERVICE_UNAVAILABLE, "the component is stopping");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    };
    let request = request.map(|body| Body::new(body.map_err(|error| BodyError::Other(base::report(&error)))));
    let connection = Connection { source: peer.ip(), ..Connection::default() };
    Ok(run(call, request, connection).await.unwrap_or_else(|error| refusal(&error)))
}

/// What a server says whose component did not.
pub fn refusal(error: &CallError) -> Response<Body> {
    let mut response = said(error.status(), &error.to_string());
    if matches!(error, CallError::Overloaded) {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{text}\n")));
    *response.status_mut() = status;
    response
}
