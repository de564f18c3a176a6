//! The API as pods reach it: an address of the pod network behind the `kubernetes` Service.
//!
//! A component's request to `https://kubernetes.default.svc` never leaves the process, so that it needs no TLS; who asks is
//! known from the request's credentials alone, as on any listener.

use apiserver::ApiServer;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use network::{Body, BodyError, CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse};
use tower::ServiceExt;

/// The API server as somebody on the pod network.
pub struct KubernetesService {
    router: axum::Router,
}

impl KubernetesService {
    /// An endpoint for `server`.
    pub fn new(server: &ApiServer) -> Self {
        Self { router: server.router() }
    }
}

impl HttpEndpoint for KubernetesService {
    fn call(
        &self,
        request: HttpRequest,
        _connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let router = self.router.clone();
        // The router wants a body that may be shared between threads; ours may not.
        async move {
            let (head, body) = request.into_parts();
            let stream = futures::stream::unfold(body, |mut body| async move {
                let frame = body.frame().await?;
                Some((frame.map(|frame| frame.into_data().unwrap_or_default()), body))
            });
            let request = http::Request::from_parts(head, axum::body::Body::from_stream(stream));
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Ok(response.map(|body| Body::new(body.map_err(|error| BodyError::Other(error.to_string())))))
        }
        .boxed()
    }
}
