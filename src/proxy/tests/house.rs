//! A running ingress over loopback, with native endpoints behind it and an API that records what it is told.

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use base::metrics::Metrics;
use bytes::Bytes;
use client::informers::Informers;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use network::{
    Body, CallError, Connection, DataThreads, HttpEndpoint, HttpRequest, HttpResponse, Listener, PodNetwork, body,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::object;
use crate::{Config, Early, Ready, Running, class, services, start};

/// An endpoint that is a function.
pub(super) struct Native<F>(pub(super) F);

impl<F, R> HttpEndpoint for Native<F>
where
    F: Fn(HttpRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<HttpResponse, CallError>> + Send + 'static,
{
    fn call(&self, request: HttpRequest, _: Connection) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        Box::pin((self.0)(request))
    }
}

/// What the API was asked: `METHOD path` and the body.
pub(super) type Asked = Arc<Mutex<Vec<(String, Value)>>>;

pub(super) struct House {
    pub(super) network: PodNetwork,
    pub(super) informers: Informers,
    pub(super) running: Running,
    pub(super) services: Ready,
    pub(super) early: Early,
    pub(super) metrics: Metrics,
    pub(super) asked: Asked,
    tasks: Tasks,
    watches: Tasks,
    threads: DataThreads,
}

impl House {
    pub(super) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// The API takes writes and is away for reads: what is known comes from the test.
    pub(super) async fn with(config: Config) -> Self {
        let asked = Asked::default();
        let client = {
            let asked = Arc::clone(&asked);
            client::in_process(tower::service_fn(move |request| api(Arc::clone(&asked), request)), "default")
        };
        let (tasks, watches) = (Tasks::new(), Tasks::new());
        let informers = Informers::new(client.clone(), &watches);
        let network = PodNetwork::new(network::Config { settle: Duration::from_millis(20), ..Default::default() });
        let threads = DataThreads::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let metrics = Metrics::default();
        let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let (services, early) = services::keep(&informers, &network, &tasks);
        let running =
            start(config, client, &informers, network.clone(), threads.clone(), &metrics, &tasks).await.unwrap();
        informers.of::<IngressClass>().replace([class::wanted()]);
        informers.of::<Ingress>().replace([]);
        informers.of::<Service>().replace([]);
        informers.of::<EndpointSlice>().replace([]);
        running.ready.ready().await;
        services.ready().await;
        Self { network, informers, running, services, early, metrics, asked, tasks, watches, threads }
    }

    pub(super) async fn stop(self) -> bool {
        let ended = self.tasks.stop(Duration::from_secs(20)).await;
        self.watches.stop(Duration::from_secs(20)).await;
        self.threads.stop().await;
        ended
    }

    /// Asks the ingress to stop and leaves it to end.
    pub(super) fn begin_stop(&self) {
        self.tasks.shutdown().cancel();
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.ingress_address
    }

    /// A pod that answers as `endpoint`, a Service for it and an Ingress for `host`, and waits until they are in force.
    pub(super) async fn serve<F, R>(&self, host: &str, endpoint: F) -> Listener
    where
        F: Fn(HttpRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<HttpResponse, CallError>> + Send + 'static,
    {
        let pod = self.network.allocate().unwrap().ip();
        let listener = self.network.listen_http(SocketAddr::new(pod, 8080), Arc::new(Native(endpoint))).unwrap();
        let name = host.split('.').next().unwrap_or_default();
        self.service(name, &[&pod.to_string()]);
        self.route(host, name);
        self.settled(host).await;
        listener
    }

    pub(super) fn service(&self, name: &str, pods: &[&str]) {
        let metadata = json!({ "namespace": "default", "name": name });
        let spec = json!({ "clusterIP": "None", "ports": [{ "port": 80 }] });
        self.informers.of::<Service>().apply(object(json!({ "metadata": metadata, "spec": spec })));
        let labels = json!({ "kubernetes.io/service-name": name });
        let endpoints: Vec<_> = pods.iter().map(|pod| json!({ "addresses": [pod] })).collect();
        self.informers.of::<EndpointSlice>().apply(object(json!({
            "metadata": { "namespace": "default", "name": format!("{name}-1"), "labels": labels },
            "addressType": "IPv4", "ports": [{ "port": 8080 }], "endpoints": endpoints,
        })));
    }

    pub(super) fn route(&self, host: &str, service: &str) {
        let backend = json!({ "service": { "name": service, "port": { "number": 80 } } });
        let paths = json!([{ "pathType": "Prefix", "path": "/", "backend": backend }]);
        self.informers.of::<Ingress>().apply(object(json!({
            "metadata": { "namespace": "default", "name": host },
            "spec": { "rules": [{ "host": host, "http": { "paths": paths } }] },
        })));
    }

    /// Waits until the ingress no longer says that it knows nothing of `host`.
    pub(super) async fn settled(&self, host: &str) {
        eventually(async || {
            let (status, text) = get(self.address(), host, "/").await;
            !(status == StatusCode::NOT_FOUND || text.contains("does not exist") || text.contains("ready endpoints"))
        })
        .await;
    }
}

async fn api(
    asked: Asked,
    request: Request<kube::client::Body>,
) -> Result<Response<http_body_util::Full<Bytes>>, std::convert::Infallible> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if what.starts_with("GET") {
        let mut away = Response::new(http_body_util::Full::new(Bytes::from_static(b"away")));
        *away.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(away);
    }
    let value = serde_json::from_slice(&body).unwrap_or_default();
    asked.lock().push((what, value));
    Ok(Response::new(http_body_util::Full::new(Bytes::from_static(b"{\"metadata\":{}}"))))
}

/// Polls until it holds.
pub(super) async fn eventually(holds: impl AsyncFn() -> bool) {
    let tries = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tries).await.expect("it never came to hold");
}

/// The status and the text of one GET over a connection of its own.
pub(super) async fn get(at: SocketAddr, host: &str, path: &str) -> (StatusCode, String) {
    let mut connection = Http1::open(at).await;
    let response = connection.send(request(host, path)).await;
    (response.status(), text(response).await)
}

pub(super) fn request(host: &str, path: &str) -> Request<Body> {
    Request::builder().uri(path).header("host", host).body(body::empty()).unwrap()
}

pub(super) async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// An HTTP/1.1 client on one connection.
pub(super) struct Http1 {
    sender: hyper::client::conn::http1::SendRequest<Body>,
    connection: tokio::task::JoinSet<()>,
}

impl Http1 {
    pub(super) async fn open(at: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let (sender, served) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut connection = tokio::task::JoinSet::new();
        connection.spawn(async move {
            let _ = served.await;
        });
        Self { sender, connection }
    }

    pub(super) async fn send(&mut self, request: Request<Body>) -> Response<hyper::body::Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub(super) async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Response<hyper::body::Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// Waits until the server has closed the connection.
    pub(super) async fn closed(mut self) {
        tokio::time::timeout(Duration::from_secs(20), self.connection.join_next()).await.expect("it stays open");
    }
}

/// An HTTP/2 client with prior knowledge.
pub(super) async fn http2(at: SocketAddr) -> (hyper::client::conn::http2::SendRequest<Body>, tokio::task::JoinSet<()>) {
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (sender, served) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut connection = tokio::task::JoinSet::new();
    connection.spawn(async move {
        let _ = served.await;
    });
    (sender, connection)
}
