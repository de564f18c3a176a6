//! HTTP to Services and pods from within the server: the `proxy` subresources, aggregated APIs and webhooks use it.

use std::net::IpAddr;

use api::Status;
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};

/// A port as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The Service's port of this number; for a pod, the port itself.
    Number(u16),
    /// The Service's port of this name. An empty name is a Service's only port without a name.
    Name(String),
}

impl std::fmt::Display for TargetPort {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

/// How the other side is spoken to.
#[derive(Clone, Debug, Default)]
pub enum Scheme {
    /// As it is.
    #[default]
    Http,
    /// Over TLS.
    Https(TlsOptions),
}

/// What TLS to a target is checked by.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Whether the other side must prove who it is. Without it any certificate is good.
    pub verify: bool,
    /// The certificates (PEM) that the other side's must be signed by; the machine's own roots when there are none.
    pub ca_bundle: Option<Bytes>,
    /// The name that the certificate must be for; `NAME.NAMESPACE.svc` when there is none.
    pub server_name: Option<String>,
    /// A certificate chain and key (PEM) to show when asked for one.
    pub identity: Option<(Bytes, Bytes)>,
}

/// The key stays out of logs.
impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = out.debug_struct("TlsOptions");
        shown.field("verify", &self.verify).field("server_name", &self.server_name);
        shown.field("ca_bundle", &self.ca_bundle.is_some()).field("identity", &self.identity.is_some()).finish()
    }
}

/// A Service's port.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ServiceTarget {
    pub namespace: String,
    pub name: String,
    pub port: TargetPort,
    pub scheme: Scheme,
}

/// A port of one pod.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PodTarget {
    pub namespace: String,
    pub name: String,
    pub ip: IpAddr,
    pub port: u16,
    pub scheme: Scheme,
}

/// HTTP to what runs in the cluster. The request's URI is in origin form (`/path?query`) and `Host` is the caller's to
/// set (the target's own name when it is missing). A response of 101 carries a `hyper::upgrade::OnUpgrade` among its
/// extensions where the target can be upgraded.
#[async_trait]
pub trait ServiceTransport: Send + Sync + 'static {
    /// Calls one of the Service's ready endpoints.
    ///
    /// # Errors
    /// 404 when there is no such Service, 503 when it has no such port, has no endpoints, or cannot be reached.
    async fn call(&self, target: &ServiceTarget, request: Request<Body>) -> Result<Response<Body>, Status>;

    /// Calls a pod.
    ///
    /// # Errors
    /// 503 when it cannot be reached.
    async fn call_pod(&self, target: &PodTarget, request: Request<Body>) -> Result<Response<Body>, Status>;
}

/// Reaches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTransport;

#[async_trait]
impl ServiceTransport for NoTransport {
    async fn call(&self, target: &ServiceTarget, _: Request<Body>) -> Result<Response<Body>, Status> {
        Err(Status::unavailable(format!("no endpoints available for service {:?}", target.name)))
    }
    async fn call_pod(&self, target: &PodTarget, _: Request<Body>) -> Result<Response<Body>, Status> {
        Err(Status::unavailable(format!("pod {:?} cannot be reached from this server", target.name)))
    }
}
