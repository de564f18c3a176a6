//! Asking a container whether it is well, over the pod network.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use http::{Method, Request};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use network::{CallError, Connection, PodNetwork, body};

use crate::machine::{Outcome, ProbeKind};

/// The probe of a container that is for `kind`.
pub(crate) fn spec(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_ref(),
        ProbeKind::Readiness => container.readiness_probe.as_ref(),
        ProbeKind::Liveness => container.liveness_probe.as_ref(),
    }
}

/// Why a container's probes cannot be run, if so.
pub(crate) fn unsupported(container: &Container) -> Option<String> {
    ProbeKind::ALL.into_iter().find_map(|kind| {
        let probe = spec(container, kind)?;
        let what = if probe.exec.is_some() {
            "exec"
        } else if probe.grpc.is_some() {
            "grpc"
        } else {
            return None;
        };
        let word = kind.word();
        Some(format!("{word}Probe of container {}: {what} is not there yet; use httpGet or tcpSocket", container.name))
    })
}

/// Runs one probe.
pub(crate) async fn run(network: &PodNetwork, pod: IpAddr, container: &Container, probe: &Probe) -> Outcome {
    let timeout =
        Duration::from_secs(probe.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1).max(1));
    if let Some(action) = &probe.http_get {
        return http_get(network, pod, container, action, timeout).await;
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.as_deref().and_then(|host| host.parse().ok()).unwrap_or(pod);
        return match port(&action.port, container) {
            Ok(port) if network.listening(SocketAddr::new(host, port)) => Outcome::Success,
            Ok(port) => Outcome::Failure(refused(SocketAddr::new(host, port))),
            Err(why) => Outcome::Failure(why),
        };
    }
    Outcome::Failure("the probe names no httpGet and no tcpSocket".to_owned())
}

fn refused(address: SocketAddr) -> String {
    format!("dial tcp {address}: connect: connection refused")
}

fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| match port {
        IntOrString::String(name) => format!("couldn't find port {name:?} in container {}", container.name),
        IntOrString::Int(number) => format!("invalid port number: {number}"),
    })
}

async fn http_get(
    network: &PodNetwork,
    pod: IpAddr,
    container: &Container,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Outcome {
    let port = match port(&action.port, container) {
        Ok(port) => port,
        Err(why) => return Outcome::Failure(why),
    };
    let host = action.host.as_deref().and_then(|host| host.parse().ok()).unwrap_or(pod);
    let address = SocketAddr::new(host, port);
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let url = format!("http://{address}{slash}{path}");
    if action.scheme.as_deref() == Some("HTTPS") {
        return Outcome::Failure(format!(
            "Get \"{url}\": HTTPS is not spoken inside of the pod network; use scheme HTTP"
        ));
    }
    let mut request = Request::builder().method(Method::GET).uri(&url);
    let mut named_host = false;
    for header in action.http_headers.iter().flatten() {
        named_host |= header.name.eq_ignore_ascii_case("host");
        request = request.header(&header.name, &header.value);
    }
    if !named_host {
        request = request.header(http::header::HOST, address.to_string());
    }
    let request = match request.header(http::header::USER_AGENT, "kube-probe/1.36").body(body::empty()) {
        Ok(request) => request,
        Err(error) => return Outcome::Failure(format!("Get \"{url}\": {error}")),
    };
    let connection = Connection::default().by(Instant::now() + timeout);
    match tokio::time::timeout(timeout, network.call(address, request, connection)).await {
        Ok(Ok(response)) if (200..400).contains(&response.status().as_u16()) => Outcome::Success,
        Ok(Ok(response)) => {
            Outcome::Failure(format!("HTTP probe failed with statuscode: {}", response.status().as_u16()))
        }
        Ok(Err(CallError::Refused { .. })) => Outcome::Failure(format!("Get \"{url}\": {}", refused(address))),
        Ok(Err(error)) => Outcome::Failure(format!("Get \"{url}\": {error}")),
        Err(_) => Outcome::Failure(format!("Get \"{url}\": context deadline exceeded")),
    }
}
