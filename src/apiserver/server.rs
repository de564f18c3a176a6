//! The server itself, and the way that every request takes through it:
//! take apart → authenticate → take a seat → authorize → answer → pack → note.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use api::{AccessRequest, KindSet, Status, UserInfo};
use axum::body::Body;
use base::Shutdown;
use bytes::Bytes;
use futures::FutureExt;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, Method, Request, Response};
use objects::Objects;
use parking_lot::{Mutex, RwLock};
use tracing::Instrument;

use crate::accept::{self, Agreed, Encoding};
use crate::admission;
use crate::aggregation::Registry;
use crate::authentication::{Authenticator, Credentials, Rejected, acting, authenticate};
use crate::authorization::{Authorizer, refusal};
use crate::config::{Config, HealthCheck, Limits, Version};
use crate::documents::Documents;
use crate::flight::{Class, Flight};
use crate::gateway::{MetricsSource, NoMetrics, NoTraffic, NoTransport, NodeGateway, ServiceTransport, TrafficSource};
use crate::health::Endpoint;
use crate::journal::Journal;
use crate::path::{self, Asked};
use crate::query::Query;
use crate::reply::Reply;
use crate::tokens::TokenIssuer;
use crate::{packing, paths, registry_door, verbs};

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub objects: Objects,
    pub authorizer: Arc<dyn Authorizer>,
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    pub issuer: Option<Arc<TokenIssuer>>,
    pub limits: Limits,
    pub version: Version,
    pub metrics: base::metrics::Metrics,
    pub gateway: RwLock<Arc<dyn NodeGateway>>,
    pub transport: RwLock<Arc<dyn ServiceTransport>>,
    pub usage: RwLock<Arc<dyn MetricsSource>>,
    pub traffic: RwLock<Arc<dyn TrafficSource>>,
    pub images: RwLock<Option<axum::Router>>,
    pub checks: RwLock<Vec<HealthCheck>>,
    pub documents: Documents,
    pub aggregation: Registry,
    pub journal: Journal,
    flight: Flight,
}

impl ApiServer {
    /// A server over `objects`. Nothing listens until [`ApiServer::serve`].
    pub fn new(objects: Objects, config: Config) -> Self {
        admission::install_configured(&objects, &config.authorizer);
        let inner = Inner {
            objects,
            authorizer: config.authorizer,
            authenticators: config.authenticators,
            issuer: config.issuer,
            journal: Journal::new(&config.metrics),
            flight: Flight::new(config.limits.in_flight),
            limits: config.limits,
            version: config.version,
            metrics: config.metrics,
            gateway: RwLock::new(config.node_gateway),
            transport: RwLock::new(Arc::new(NoTransport)),
            usage: RwLock::new(Arc::new(NoMetrics)),
            traffic: RwLock::new(Arc::new(NoTraffic)),
            images: RwLock::new(config.images),
            checks: RwLock::new(config.checks),
            documents: Documents::default(),
            aggregation: Registry::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The nodes, once they are there: they are clients of this server, so that they start after it.
    pub fn set_node_gateway(&self, gateway: Arc<dyn NodeGateway>) {
        *self.inner.gateway.write() = gateway;
    }

    /// The way to Services and pods, for the `proxy` subresources and aggregated APIs.
    pub fn set_transport(&self, transport: Arc<dyn ServiceTransport>) {
        *self.inner.transport.write() = transport;
    }

    /// Whoever measures what pods and nodes use, for `metrics.k8s.io`.
    pub fn set_metrics_source(&self, source: Arc<dyn MetricsSource>) {
        *self.inner.usage.write() = source;
    }

    /// Whoever counts the requests of pods, for `custom.metrics.k8s.io`.
    pub fn set_traffic_source(&self, source: Arc<dyn TrafficSource>) {
        *self.inner.traffic.write() = source;
    }

    /// What it serves.
    pub fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    /// The images registry that is mounted at `/v2`. It finds the caller as a [`UserInfo`] among the request's extensions.
    pub fn set_images(&self, images: axum::Router) {
        *self.inner.images.write() = Some(images);
    }

    /// One more line of `/readyz?verbose`.
    pub fn add_check(&self, check: HealthCheck) {
        self.inner.checks.write().push(check);
    }

    /// The whole API for a listener: who asks is known from credentials alone.
    pub fn router(&self) -> axum::Router {
        let door = self.door(Identity::Credentials, Shutdown::new());
        axum::Router::new().fallback(move |request: Request<Body>| {
            let door = door.clone();
            async move { door.answer(request).await }
        })
    }

    /// The whole API for one part of this process, without a socket: every request is `user`'s, whatever it carries.
    /// It may do what its roles allow, as anybody.
    pub fn in_process(&self, mut user: UserInfo) -> InProcess {
        if !user.is_in(UserInfo::AUTHENTICATED) {
            user.groups.push(UserInfo::AUTHENTICATED.to_owned());
        }
        InProcess { door: self.door(Identity::Fixed(user), Shutdown::new()) }
    }

    pub(crate) fn door(&self, identity: Identity, ending: Shutdown) -> Door {
        Door { server: Arc::clone(&self.inner), identity: Arc::new(identity), ending }
    }
}

/// How it is known who asks.
pub(crate) enum Identity {
    /// From what the request carries.
    Credentials,
    /// It is always the same.
    Fixed(UserInfo),
}

/// One way into the server.
#[derive(Clone)]
pub(crate) struct Door {
    server: Arc<Inner>,
    identity: Arc<Identity>,
    /// Watches end with it.
    ending: Shutdown,
}

/// The API as one identity sees it, for `client::in_process`.
#[derive(Clone)]
pub struct InProcess {
    door: Door,
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let door = self.door.clone();
        let request = request.map(Body::new);
        Box::pin(async move { Ok(door.answer(request).await) })
    }
}

/// A request that was let in.
pub(crate) struct Call {
    pub server: Arc<Inner>,
    pub user: UserInfo,
    pub asked: Asked,
    pub query: Query,
    pub method: Method,
    pub headers: HeaderMap,
    pub extensions: http::Extensions,
    pub uri: http::Uri,
    /// A lock only because a body alone cannot be shared between threads, as a call is.
    pub body: Mutex<Body>,
    pub ending: Shutdown,
    pub kinds: Arc<KindSet>,
}

impl Call {
    pub fn accept(&self) -> Option<&str> {
        self.headers.get(ACCEPT).and_then(|value| value.to_str().ok())
    }

    /// How the answer is written. People who look with curl or a browser get lines and indents, as from Kubernetes.
    pub fn encoding(&self, agreed: Encoding) -> Encoding {
        let agent = self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let person = ["curl", "Wget", "Mozilla/5.0"].iter().any(|start| agent.starts_with(start));
        let pretty = self.query.optional_flag("pretty").unwrap_or(person);
        if agreed == Encoding::Json && pretty { Encoding::PrettyJson } else { agreed }
    }

    /// The form and encoding of an answer that shows objects.
    pub fn agreed(&self) -> Result<Agreed, Status> {
        let agreed = accept::objects(self.accept())?;
        Ok(Agreed { encoding: self.encoding(agreed.encoding), ..agreed })
    }

    /// The encoding of a document that has one form.
    pub fn plain(&self) -> Result<Encoding, Status> {
        Ok(self.encoding(accept::plain(self.accept())?))
    }

    pub fn content_type(&self) -> &str {
        let value = self.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }

    /// Reads the body, once.
    pub async fn bytes(&mut self) -> Result<Bytes, Status> {
        let body = std::mem::take(self.body.get_mut());
        packing::read(&self.headers, body, self.server.limits.body).await
    }
}

impl Door {
    pub async fn answer(self, request: Request<Body>) -> Response<Body> {
        let began = Instant::now();
        let server = Arc::clone(&self.server);
        let query = Query::parse(request.uri().query());
        let Some(asked) = path::parse(request.method(), request.uri().path(), query.flag("watch")) else {
            return Reply::status(&Status::no_such_path()).into_response();
        };
        let headers = request.headers().clone();
        let registry = registry_door::is_registry(&asked.path);
        let mut credentials = Credentials::of(&headers, request.extensions());
        if registry {
            credentials = registry_door::credentials(&headers, credentials);
        }
        let user = match self.user(&credentials).await {
            Ok(user) => user,
            Err(status) => {
                server.journal.note(&asked, false, "", status.code, began.elapsed());
                let reply = if registry { registry_door::refusal(&status, true) } else { Reply::status(&status) };
                return reply.into_response();
            }
        };
        let proved = user.name != UserInfo::ANONYMOUS;
        let kinds = server.documents.kinds(&server.objects.kinds());
        let known = asked
            .resource
            .as_ref()
            .is_some_and(|resource| kinds.by_resource(&resource.group, &resource.version, &resource.plural).is_some());
        let name = user.name.clone();
        let noted = asked.clone();
        let span = tracing::debug_span!("request", verb = asked.verb, path = %asked.path, user = %name);
        let placed = OnceLock::new();
        let work = self.guarded(user, asked, query, kinds, request, &placed).instrument(span);
        let mut reply = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(reply)) => reply,
            Ok(Err(status)) if registry => registry_door::refusal(&status, proved),
            Ok(Err(status)) => Reply::status(&status),
            Err(_) => {
                server.journal.panicked();
                tracing::error!(verb = noted.verb, path = %noted.path, "a request ended in a panic");
                Reply::status(&Status::internal("the request failed unexpectedly; the server's log has the reason"))
            }
        };
        reply.headers.extend(placed.get().into_iter().flat_map(Class::headers));
        let reply = packing::pack(&headers, reply).await;
        server.journal.note(&noted, known, &name, reply.code, began.elapsed());
        reply.into_response()
    }

    /// Who asks. Whoever proves nothing is nobody in particular; whoever proves something wrong gets no further.
    async fn user(&self, credentials: &Credentials) -> Result<UserInfo, Status> {
        let user = match &*self.identity {
            Identity::Fixed(user) => return Ok(user.clone()),
            Identity::Credentials => authenticate(&self.server.authenticators, credentials).await,
        };
        match user {
            Ok(user) => Ok(user.unwrap_or_else(UserInfo::anonymous)),
            Err(Rejected) => Err(Status::unauthorized()),
        }
    }

    async fn guarded(
        self,
        user: UserInfo,
        asked: Asked,
        query: Query,
        kinds: Arc<KindSet>,
        request: Request<Body>,
        placed: &OnceLock<Class>,
    ) -> Result<Reply, Status> {
        let server = Arc::clone(&self.server);
        let (parts, body) = request.into_parts();
        let user = acting(&parts.headers, user, &*server.authorizer).await?;
        let open = open_to_all(&parts.method, &asked.path);
        let long = is_long_running(&asked) || crate::forwarding::is_upgrade(&parts.headers);
        let most = server.limits.request;
        let access = access_request(&user, &asked, &query);
        // What runs in this process is bounded by itself, and keeps the cluster up.
        let _seat = match &*self.identity {
            Identity::Fixed(_) => None,
            Identity::Credentials => {
                let class = placed.get_or_init(|| server.flight.classify(&server.objects, &kinds, &access));
                if long { None } else { Some(server.flight.board(class, most).await?) }
            }
        };
        if !open {
            let decision = server.authorizer.authorize(&access).await;
            if !decision.is_allowed() {
                return Err(refusal(&access, &decision));
            }
        }
        let limit = if long { most } else { query.timeout(most)? };
        let call = Call {
            server,
            user,
            asked,
            query,
            method: parts.method,
            headers: parts.headers,
            extensions: parts.extensions,
            uri: parts.uri,
            body: Mutex::new(body),
            ending: self.ending,
            kinds,
        };
        let work =
            async { if call.asked.resource.is_some() { verbs::answer(call).await } else { paths::answer(call).await } };
        if long {
            return work.await;
        }
        match tokio::time::timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::timeout("request did not complete within the allotted timeout")),
        }
    }
}

/// The paths that need no rights: probes ask before there are any roles.
fn open_to_all(method: &Method, path: &str) -> bool {
    let reads = method == Method::GET || method == Method::HEAD;
    reads && Endpoint::of(path).is_some()
}

/// Requests that stay open for as long as somebody listens: they take no seat and have no time limit.
fn is_long_running(asked: &Asked) -> bool {
    let Some(resource) = &asked.resource else { return registry_door::is_registry(&asked.path) };
    asked.verb == "watch" || matches!(resource.subresource(), "log" | "exec" | "attach" | "portforward" | "proxy")
}

pub(crate) fn access_request(user: &UserInfo, asked: &Asked, query: &Query) -> AccessRequest {
    let mut access = AccessRequest { user: user.clone(), verb: asked.verb.to_owned(), ..AccessRequest::default() };
    let Some(resource) = &asked.resource else {
        access.path.clone_from(&asked.path);
        access.verb = registry_door::verb(&asked.path, asked.verb).to_owned();
        return access;
    };
    access.group.clone_from(&resource.group);
    access.version.clone_from(&resource.version);
    access.resource.clone_from(&resource.plural);
    access.subresource = resource.subresource().to_owned();
    access.namespace = resource.namespace.clone().unwrap_or_default();
    access.name = resource.name().to_owned();
    if matches!(asked.verb, "list" | "watch" | "deletecollection") {
        access.field_selector = query.get("fieldSelector").unwrap_or_default().to_owned();
        access.label_selector = query.get("labelSelector").unwrap_or_default().to_owned();
        if access.name.is_empty() {
            // A list of one name is about that name.
            access.name = access.demanded("metadata.name").unwrap_or_default();
        }
    }
    access
}
