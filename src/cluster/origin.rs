//! The built-in registry of the server that this process joined.

use bytes::Bytes;
use client::Client;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use images::Origin;
use kube::client::Body;

/// Reads it over the same address and with the same credentials as the API.
pub(crate) struct ServerRegistry(pub Client);

impl Origin for ServerRegistry {
    fn get(&self, path: String) -> BoxFuture<'_, Result<Option<Bytes>, String>> {
        let read = async move {
            let request = Request::get(&path).header("accept", "*/*").body(Body::empty());
            let request = request.map_err(|error| error.to_string())?;
            let response = self.0.send(request).await.map_err(|error| base::report(&error))?;
            let status = response.status();
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if !status.is_success() {
                return Err(format!("the built-in registry answers {status} for {path}"));
            }
            let body = response.into_body().collect().await.map_err(|error| base::report(&error))?;
            Ok(Some(body.to_bytes()))
        };
        read.boxed()
    }
}
