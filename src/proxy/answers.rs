//! What the ingress itself says when no component does.

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use network::{Body, CallError, ServiceTable, body};

use thiserror::Error;

use crate::host::HostError;
use crate::{Backend, NoRoute};

/// Why a request goes to no component.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It asks for a tunnel.
    #[error("this ingress does not tunnel: CONNECT is not offered")]
    Tunnel,
    /// It asks for another protocol.
    #[error("this ingress cannot switch to {protocol}; WebSockets are not offered yet")]
    Upgrade {
        /// The protocol.
        protocol: String,
    },
    /// It does not say which host it is for.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No Ingress wants it.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
}

impl Refusal {
    /// The response.
    pub fn answer(&self) -> Response<Body> {
        let status = match self {
            Self::Tunnel | Self::Upgrade { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Host(_) => StatusCode::BAD_REQUEST,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
        };
        text(status, &self.to_string())
    }
}

/// A response in plain text.
pub fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{message}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The response to a call that failed, with what a person needs to see why.
pub fn failure(error: &CallError, backend: &Backend, services: &ServiceTable) -> Response<Body> {
    let Backend { service, port, ingress } = backend;
    match error {
        CallError::NoSuchHost { .. } => text(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("service {service} does not exist, but Ingress {ingress} names it"),
        ),
        CallError::Refused { .. } if services.get(service).is_some_and(|found| found.port(port).is_none()) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("service {service} has no port {port}, but Ingress {ingress} names it"),
        ),
        CallError::NoEndpoints { .. } => text(error.status(), &error.to_string()),
        other => text(other.status(), &format!("service {service}: {other}")),
    }
}
