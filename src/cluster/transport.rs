//! HTTP from the API server to Services and pods: without sockets to what runs on the pod network, over TCP to addresses
//! outside of it (a Service without selector may lead anywhere).

mod terminated;
mod tls;

use std::net::{IpAddr, SocketAddr};

use api::Status;
use apiserver::gateway::{PodTarget, Resolved, Scheme, ServiceTarget, ServiceTransport, TlsOptions, resolve};
use async_trait::async_trait;
use axum::body::Body;
use http::header::HOST;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use network::{BodyError, CallError, Connection, HttpResponse, PodNetwork, PortRef};
use objects::Objects;
use rand::seq::SliceRandom;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use terminated::{Port, Terminated};

/// How long a connection to the outside may take to be made.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// The way from one API server into one pod network.
pub struct Transport {
    objects: Objects,
    network: PodNetwork,
    terminated: Terminated,
}

impl Transport {
    /// What is in `objects` says where a Service leads.
    pub fn new(objects: Objects, network: PodNetwork) -> Self {
        let terminated = Terminated::new(objects.clone(), network.clone());
        Self { objects, network, terminated }
    }

    async fn anywhere(
        &self,
        addresses: &[SocketAddr],
        scheme: &Scheme,
        name: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        if let Some(address) = addresses.iter().find(|address| self.network.listening(**address)) {
            let request = inside(request, name);
            let response = match scheme {
                Scheme::Https(options) if options.verify => Err(no_tls(*address)),
                _ => self.network.call(*address, request, Connection::default()).await.or_else(|error| own(&error)),
            }?;
            return Ok(response.map(Body::new));
        }
        let outside = addresses.iter().filter(|address| !self.is_pod_address(**address));
        let mut why = None;
        for address in outside {
            match open(*address, scheme, name).await {
                Ok(stream) => return send(stream, request, name, *address).await,
                Err(error) => why = Some(error),
            }
        }
        let first = addresses.first().copied();
        let refused =
            || format!("dial tcp {}: connect: connection refused", first.map_or(String::new(), |at| at.to_string()));
        Err(unreached(&why.unwrap_or_else(refused)))
    }

    fn is_pod_address(&self, address: SocketAddr) -> bool {
        match address.ip() {
            // This machine's own address may happen to lie among those of pods.
            IpAddr::V4(ip) => self.network.config().pod_cidr.contains(&ip) && !is_own(address.ip()),
            IpAddr::V6(_) => false,
        }
    }
}

#[async_trait]
impl ServiceTransport for Transport {
    async fn call(&self, target: &ServiceTarget, request: Request<Body>) -> Result<Response<Body>, Status> {
        let Resolved { number, name: port_name, mut addresses, external, .. } = resolve(&self.objects, target).await?;
        if addresses.is_empty() || external {
            return Err(Status::unavailable(format!("no endpoints available for service {:?}", target.name)));
        }
        let name = format!("{}.{}.svc", target.name, target.namespace);
        let port = Port { namespace: &target.namespace, service: &target.name, number, name: &port_name };
        if let Some(secret) = self.terminated.secret(port) {
            let Scheme::Https(options) = &target.scheme else { return Ok(terminated::spoken_to_plainly()) };
            let stream = self.terminated.connect(port, &secret).map_err(|why| unreached(&why))?;
            let stream = secured(stream, options, &name).await.map_err(|why| unreached(&why))?;
            return send(stream, request, &name, terminated::no_address(number)).await;
        }
        addresses.shuffle(&mut rand::rng());
        let known = addresses.iter().any(|address| self.network.listening(*address) || !self.is_pod_address(*address));
        if known {
            return self.anywhere(&addresses, &target.scheme, &name, request).await;
        }
        // Its pods have just been replaced: the network waits for the next ones for a moment.
        let key = format!("{}/{}", target.namespace, target.name);
        let port = PortRef::Number(number);
        let called = self.network.call_service(&key, &port, inside(request, &name), Connection::default()).await;
        Ok(called.or_else(|error| own(&error))?.map(Body::new))
    }

    async fn call_pod(&self, target: &PodTarget, request: Request<Body>) -> Result<Response<Body>, Status> {
        let address = SocketAddr::new(target.ip, target.port);
        self.anywhere(&[address], &target.scheme, &address.to_string(), request).await
    }
}

/// Whether this machine has the address: only then it can be bound to.
fn is_own(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

fn unreached(why: &dyn std::fmt::Display) -> Status {
    Status::unavailable(format!("error trying to reach service: {why}"))
}

/// Who was reached and failed has answered so, as a server of its own would; the rest was not reached.
fn own(error: &CallError) -> Result<HttpResponse, Status> {
    match error {
        CallError::Deadline | CallError::Guest(_) | CallError::Overloaded | CallError::LoopDetected => {
            Ok(network::refusal(error))
        }
        _ => Err(unreached(error)),
    }
}

fn no_tls(address: SocketAddr) -> Status {
    unreached(&format!(
        "{address} speaks no TLS; the annotation coracle.dev/tls-secret of a Service gives it a certificate"
    ))
}

/// A request as the pod network takes it.
fn inside(request: Request<Body>, name: &str) -> network::HttpRequest {
    with_host(request, name).map(|body| network::Body::new(body.map_err(|error| BodyError::Other(error.to_string()))))
}

fn with_host(mut request: Request<Body>, name: &str) -> Request<Body> {
    if !request.headers().contains_key(HOST)
        && let Ok(host) = name.parse()
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// A byte stream, of whatever kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(address: SocketAddr, scheme: &Scheme, name: &str) -> Result<Box<dyn Stream>, String> {
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(format!("dial tcp {address}: connect: connection refused"));
        }
        Ok(Err(error)) => return Err(format!("dial tcp {address}: {error}")),
        Err(_) => return Err(format!("dial tcp {address}: i/o timeout")),
    };
    let _ = stream.set_nodelay(true);
    match scheme {
        Scheme::Http => Ok(Box::new(stream)),
        Scheme::Https(options) => secured(stream, options, name).await,
    }
}

/// One request over TLS to a host outside of the cluster.
pub(crate) async fn send_to(
    host: &str,
    port: u16,
    options: &TlsOptions,
    request: Request<Body>,
) -> Result<Response<Body>, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|_| format!("dial tcp: lookup {host}: no such host"))?.collect();
    let mut why = format!("dial tcp: lookup {host}: no such host");
    for address in addresses {
        match open(address, &Scheme::Https(options.clone()), host).await {
            Ok(stream) => {
                let sent = send(stream, request, host, address).await;
                return sent.map_err(|status| {
                    let message = status.message;
                    message.strip_prefix("error trying to reach service: ").unwrap_or(&message).to_owned()
                });
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// TLS over a stream, as a client. `name` is whom the certificate must be for when the options do not say.
pub(crate) async fn secured(
    stream: impl Stream + 'static,
    options: &TlsOptions,
    name: &str,
) -> Result<Box<dyn Stream>, String> {
    let handshake = tls::connect(stream, options, name);
    match tokio::time::timeout(CONNECT, handshake).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
    }
}

/// One request over one connection, which ends with the response's body or with what it was upgraded to.
#[allow(clippy::disallowed_methods)]
pub(crate) async fn send(
    stream: Box<dyn Stream>,
    request: Request<Body>,
    name: &str,
    address: SocketAddr,
) -> Result<Response<Body>, Status> {
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| unreached(&error))?;
    // The task's owner is the response: the connection ends with it.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "a connection to a Service ended");
        }
    });
    let mut request = with_host(request, name);
    *request.version_mut() = Version::HTTP_11;
    let response = sender.send_request(request).await.map_err(|error| unreached(&base::report(&error)))?;
    // The sender stays with the body: without it the connection would be closed under a body that is still coming.
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &sender;
            frame
        }))
    }))
}
