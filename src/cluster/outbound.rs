//! Where a component's own requests go: Services and pods by name, and the outside for those who may.

use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::HOST;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use network::{Body, BodyError, CallError, Connection, HttpRequest, HttpResponse, PodNetwork};
use runtime::{Outbound, Target};

use crate::egress::{Egress, Reach, reach};

/// One container's way out.
pub struct PodOutbound {
    network: PodNetwork,
    namespace: Arc<str>,
    egress: Egress,
}

impl PodOutbound {
    /// For a container in `namespace`, which leaves the cluster when `egress` says that it may.
    pub fn new(network: PodNetwork, namespace: &str, egress: Egress) -> Self {
        Self { network, namespace: namespace.into(), egress }
    }
}

impl Outbound for PodOutbound {
    fn call(
        &self,
        target: Target,
        request: HttpRequest,
        connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let (network, namespace, egress) = (self.network.clone(), Arc::clone(&self.namespace), self.egress.clone());
        async move {
            let Target { host, port, https } = target;
            match reach(&network, &host, &namespace) {
                Reach::Inside => network.call_host(&host, port, &namespace, with_host(request), connection).await,
                Reach::Nowhere => Err(CallError::NoSuchHost { host }),
                Reach::Outside(outside) => {
                    egress.check(&outside)?;
                    leave(&host, port, https, request).await
                }
            }
        }
        .boxed()
    }
}

/// What a server would find in the request's head.
pub fn with_host(mut request: HttpRequest) -> HttpRequest {
    if !request.headers().contains_key(HOST)
        && let Some(host) = request.uri().authority().and_then(|authority| authority.as_str().parse().ok())
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

type Outside = Client<HttpsConnector<HttpConnector>, Body>;

/// One client for the process: connections to the outside are shared by nobody but the pods that may use them.
fn outside() -> Result<&'static Outside, CallError> {
    static CLIENT: OnceLock<Result<Outside, String>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let roots = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| error.to_string())?;
        Ok(Client::builder(TokioExecutor::new()).build(roots.https_or_http().enable_http1().build()))
    });
    client.as_ref().map_err(|error| CallError::Denied(format!("cannot call the outside: {error}")))
}

async fn leave(host: &str, port: u16, https: bool, request: HttpRequest) -> Result<HttpResponse, CallError> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if https { "https" } else { "http" };
    let invalid = |_| CallError::NoSuchHost { host: host.to_owned() };
    let host_text = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    head.uri = format!("{scheme}://{host_text}:{port}{path}").parse().map_err(invalid)?;
    let sent = outside()?.request(http::Request::from_parts(head, body)).await;
    let response = sent.map_err(|error| CallError::Guest(base::report(&error)))?;
    Ok(response.map(|body| body.map_err(|error| BodyError::Other(error.to_string())).boxed_unsync()))
}
