//! One HTTP request in, one response out: the seam between whoever has a request and whoever runs components.

use futures::future::BoxFuture;
use std::net::SocketAddr;
use thiserror::Error;

use crate::{Body, Connection};

/// A request on the pod network. Its URI is in absolute or origin form; `Host` is set.
pub type HttpRequest = http::Request<Body>;
/// A response on the pod network.
pub type HttpResponse = http::Response<Body>;

/// Why there is no response. Each has an HTTP status of its own, which `proxy` and the caller's host functions use.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// Nobody listens at the address (502 at the ingress after retries; `ECONNREFUSED` for a component).
    #[error("nothing listens at {address}")]
    Refused {
        /// Where the call went.
        address: SocketAddr,
    },
    /// The name is no Service and no pod.
    #[error("no such host: {host}")]
    NoSuchHost {
        /// The name.
        host: String,
    },
    /// The Service has no ready endpoint (503).
    #[error("service {service} has no ready endpoints")]
    NoEndpoints {
        /// `namespace/name`
        service: String,
    },
    /// The pool or the container's queue is full (503 with Retry-After).
    #[error("too many requests at once; try again")]
    Overloaded,
    /// The deadline passed (504).
    #[error("no response within the deadline")]
    Deadline,
    /// The chain of calls is too deep (508).
    #[error("the request went through more than 16 components; do two of them call each other?")]
    LoopDetected,
    /// The component trapped or ended without a response (500).
    #[error("the component failed: {0}")]
    Guest(String),
    /// The server closed the connection, or did not speak HTTP on it (502).
    #[error("the connection ended before there was a response: {0}")]
    Broken(String),
    /// Policy does not let the source speak to this address (403).
    #[error("{0}")]
    Denied(String),
}

impl CallError {
    /// The status that a proxy answers with.
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode;
        match self {
            Self::Refused { .. } | Self::NoSuchHost { .. } | Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::NoEndpoints { .. } | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::Guest(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Denied(_) => StatusCode::FORBIDDEN,
        }
    }
}

/// Somebody who answers HTTP requests: an HTTP component, or the API server as the `kubernetes` Service.
///
/// Called on a data thread when the request comes from the ingress, else from wherever the caller runs. Implementations
/// do not block. Dropping the future or the response's body cancels the work.
pub trait HttpEndpoint: Send + Sync + 'static {
    /// Answers one request.
    fn call(&self, request: HttpRequest, connection: Connection)
    -> BoxFuture<'static, Result<HttpResponse, CallError>>;
}
