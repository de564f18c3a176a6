//! A byte stream into an HTTP pod: pods have no sockets of the host, so the HTTP on the stream is read here.

use std::net::SocketAddr;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use network::{Body, BodyError, Connection, PodNetwork};
use tokio::io::DuplexStream;

use crate::outbound::with_host;

/// Bytes under way in each direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// Opens a stream on which the pod at `address` answers. It ends when either side closes it.
#[allow(clippy::disallowed_methods)]
pub fn connect(network: PodNetwork, address: SocketAddr) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    // The task's owner is the stream: it ends with it.
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(network.clone(), address, request));
        let served = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), service).await;
        if let Err(error) = served {
            tracing::debug!(%address, %error, "a forwarded connection ended");
        }
    });
    ours
}

async fn answer(
    network: PodNetwork,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let request = request.map(|body| Body::new(body.map_err(|error| BodyError::Other(error.to_string()))));
    let request = with_host(request);
    Ok(network.call(address, request, Connection::default()).await.unwrap_or_else(|error| {
        let mut response = Response::new(network::body::full(format!("{error}\n")));
        *response.status_mut() = if error.status().is_success() { StatusCode::BAD_GATEWAY } else { error.status() };
        response
    }))
}
