//! Asking a container whether it is well: over the pod network, or by a command that runs in it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use network::PodNetwork;

use crate::machine::{Outcome, ProbeKind};
use crate::sandbox::Container as Running;

mod command;
mod grpc;
mod http_get;

pub(crate) use command::{Failed, run as command};
pub(crate) use http_get::get;

/// The probe of a container that is for `kind`.
pub(crate) fn spec(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_ref(),
        ProbeKind::Readiness => container.readiness_probe.as_ref(),
        ProbeKind::Liveness => container.liveness_probe.as_ref(),
    }
}

/// Whom a probe asks.
pub(crate) struct Asked<'a> {
    pub network: &'a PodNetwork,
    pub pod: IpAddr,
    pub container: &'a Container,
    /// Nothing when it has ended in the meantime.
    pub running: Option<Arc<dyn Running>>,
}

/// Runs one probe.
pub(crate) async fn run(asked: Asked<'_>, probe: &Probe) -> Outcome {
    let timeout =
        Duration::from_secs(probe.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1).max(1));
    if let Some(action) = &probe.http_get {
        return http_get::probe(&asked, action, timeout).await;
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.as_deref().and_then(|host| host.parse().ok()).unwrap_or(asked.pod);
        return match port(&action.port, asked.container) {
            Ok(port) => tcp(&asked, SocketAddr::new(host, port), timeout).await,
            Err(why) => Outcome::Unknown(why),
        };
    }
    if let Some(action) = &probe.exec {
        return command::probe(&asked, action, timeout).await;
    }
    if let Some(action) = &probe.grpc {
        return grpc::probe(&asked, action, timeout).await;
    }
    Outcome::Unknown("missing probe handler".to_owned())
}

async fn tcp(asked: &Asked<'_>, address: SocketAddr, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, asked.network.connect(address, asked.pod)).await {
        Ok(Ok(_connection)) => Outcome::Success,
        Ok(Err(network::CallError::Refused { .. })) => Outcome::Failure(refused(address)),
        Ok(Err(error)) => Outcome::Failure(format!("dial tcp {address}: {error}")),
        Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
    }
}

pub(crate) fn refused(address: SocketAddr) -> String {
    format!("dial tcp {address}: connect: connection refused")
}

/// A port as probes and hooks name it.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.ok_or_else(|| match port {
        IntOrString::String(name) => format!("couldn't find port: {name:?} in container {}", container.name),
        IntOrString::Int(number) => format!("invalid port number: {number}"),
    })?;
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {number}"))
}
