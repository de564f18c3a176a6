//! The ingress listener: connections on data threads, and each request straight into the pod network.
//!
//! *Guarantees*: a request keeps the route table that it began with, so that a change of routes drops nothing; bodies
//! stream both ways; a client that goes away cancels the component that works for it; on shutdown what is in flight is
//! finished within the grace period and clients are told to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base::Shutdown;
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use network::{Body, BodyError, Connection, DataThreads, PodNetwork, body};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::answers::Refusal;
use crate::forward::{Forwarded, strip_hop_by_hop, wanted_upgrade};
use crate::measure::Measures;
use crate::traffic::IngressTraffic;
use crate::{Backend, RouteTable, answers, host};

/// What a client may ask of a connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a request's head may take, and how long a connection may lie idle.
    pub header_timeout: Duration,
    /// The size of a request's head.
    pub header_bytes_max: usize,
    /// How many requests may run at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// How many connections may be open at once; whoever comes on top is hung up on.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(60),
            header_bytes_max: 64 << 10,
            streams_max: 256,
            connections_max: 10_000,
        }
    }
}

/// What all connections share.
pub(crate) struct Ingress {
    pub(crate) routes: ArcSwap<RouteTable>,
    pub(crate) network: PodNetwork,
    pub(crate) measures: Measures,
    pub(crate) limits: Limits,
    pub(crate) traffic: IngressTraffic,
}

impl Ingress {
    /// Serves until `shutdown`, and then at most `grace` longer.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: std::net::TcpListener,
        threads: DataThreads,
        shutdown: Shutdown,
        grace: Duration,
    ) {
        let (open, cut) = (TaskTracker::new(), Shutdown::new());
        let connections_max = self.limits.connections_max;
        let serve = {
            let (ingress, open, cut, shutdown) = (Arc::clone(&self), open.clone(), cut.clone(), shutdown.clone());
            move |stream, peer| {
                let served = Arc::clone(&ingress).connection(stream, peer, shutdown.child_token());
                let cut = cut.child_token();
                let is_full = open.len() >= connections_max;
                open.track_future(async move {
                    if is_full {
                        return;
                    }
                    tokio::select! {
                        biased;
                        () = served => {}
                        () = cut.cancelled() => {}
                    }
                })
            }
        };
        threads.accept(listener, shutdown, serve).await;
        open.close();
        if tokio::time::timeout(grace, open.wait()).await.is_err() {
            tracing::warn!(connections = open.len(), "ingress connections did not end in time and are cut");
            cut.cancel();
            open.wait().await;
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, shutdown: Shutdown) {
        let Ok(local) = stream.local_addr() else { return };
        let builder = self.protocol();
        let header_timeout = self.limits.header_timeout;
        let client = Arc::new(Client::new(self, peer, local));
        let _counted = OpenConnection::count(&client);
        let of_requests = Arc::clone(&client);
        let service = service_fn(move |request| answer(Arc::clone(&of_requests), request));
        let served = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(served);
        let first = tokio::time::sleep(header_timeout);
        tokio::pin!(first);
        let (mut awaits_first, mut stops) = (true, false);
        loop {
            tokio::select! {
                biased;
                ended = served.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error = base::report(&*error), "ingress connection ended");
                    }
                    return;
                }
                () = shutdown.cancelled(), if !stops => {
                    stops = true;
                    served.as_mut().graceful_shutdown();
                }
                // Before its first bytes nothing else watches over a connection.
                () = first.as_mut(), if awaits_first => {
                    if !client.spoke.load(Ordering::Relaxed) {
                        return;
                    }
                    awaits_first = false;
                }
            }
        }
    }

    fn protocol(&self) -> auto::Builder<TokioExecutor> {
        let limits = &self.limits;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The number of headers stays at hyper's own limit of 100: any other costs an allocation per request.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_concurrent_streams(limits.streams_max)
            .keep_alive_interval(Duration::from_secs(30));
        builder
    }
}

/// One client's connection.
struct Client {
    ingress: Arc<Ingress>,
    peer: SocketAddr,
    forwarded: Forwarded,
    spoke: AtomicBool,
}

impl Client {
    fn new(ingress: Arc<Ingress>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self { ingress, peer, forwarded: Forwarded::new(peer, local), spoke: AtomicBool::new(false) }
    }
}

struct OpenConnection(Arc<Client>);

impl OpenConnection {
    fn count(client: &Arc<Client>) -> Self {
        client.ingress.measures.connections.inc();
        Self(Arc::clone(client))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.ingress.measures.connections.dec();
    }
}

async fn answer(client: Arc<Client>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    client.spoke.store(true, Ordering::Relaxed);
    let pending = client.ingress.measures.begin();
    // Over HTTP/1 the body of an answer to HEAD is left out by hyper, which still takes its length from it.
    let bodiless = request.method() == Method::HEAD && request.version() == Version::HTTP_2;
    let mut response = client.forward(request).await;
    if bodiless {
        *response.body_mut() = body::empty();
    }
    pending.answered(response.status());
    Ok(response)
}

impl Client {
    /// The component's response, or ours that says why there is none.
    async fn forward(&self, mut request: Request<Incoming>) -> Response<Body> {
        let backend = match self.route(&mut request) {
            Ok(backend) => backend,
            Err(refusal) => return refusal.answer(),
        };
        self.forwarded.apply(request.headers_mut());
        let connection = Connection { source: self.peer.ip(), deadline: None, depth: 0 };
        let network = &self.ingress.network;
        let passing = self.ingress.traffic.begin(&backend.ingress);
        let called = network.call_service(&backend.service, &backend.port, request.map(incoming), connection).await;
        let response = match called {
            Ok(mut response) => {
                strip_hop_by_hop(response.headers_mut());
                response.map(body::in_turns)
            }
            Err(error) => answers::failure(&error, &backend, &network.services()),
        };
        if let Some(passing) = passing {
            passing.answered(response.status());
        }
        response
    }

    fn route(&self, request: &mut Request<Incoming>) -> Result<Arc<Backend>, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Tunnel);
        }
        if let Some(protocol) = wanted_upgrade(request.headers()) {
            return Err(Refusal::Upgrade { protocol: protocol.to_owned() });
        }
        host::settle(request)?;
        let routes = self.ingress.routes.load();
        Ok(Arc::clone(routes.find(host::name(request)?, request.uri().path())?))
    }
}

fn incoming(body: Incoming) -> Body {
    if body.is_end_stream() {
        return body::empty();
    }
    Body::new(body.map_err(|error| {
        if error.is_closed() || error.is_incomplete_message() {
            BodyError::Closed
        } else {
            BodyError::Other(error.to_string())
        }
    }))
}
