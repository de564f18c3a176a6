//! Services whose ports speak TLS although their pods do not: the network does it for them.
//!
//! A Service with the annotation `coracle.dev/tls-secret` names a Secret of type `kubernetes.io/tls` in its namespace:
//! `SECRET` for all of its ports, `PORT=SECRET,…` for some, by number or name. Whoever calls such a port shakes hands as
//! over a wire, also when nothing leaves the process, so that the caller's checks of the certificate mean what they say.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use api::meta;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use network::{Body, BodyError, Connection, PodNetwork, PortRef};
use objects::Objects;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

use crate::outbound::with_host;

const ANNOTATION: &str = "coracle.dev/tls-secret";
/// Bytes under way in each direction.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long a handshake may take.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// The certificates that are in use, by Secret.
pub(super) struct Terminated {
    objects: Objects,
    network: PodNetwork,
    ready: Mutex<HashMap<String, (String, Arc<ServerConfig>)>>,
}

/// A port of a Service.
#[derive(Clone, Copy)]
pub(super) struct Port<'a> {
    pub namespace: &'a str,
    pub service: &'a str,
    pub number: u16,
    pub name: &'a str,
}

impl Terminated {
    pub fn new(objects: Objects, network: PodNetwork) -> Self {
        Self { objects, network, ready: Mutex::default() }
    }

    /// The Secret that the port's certificate is in, if the network speaks TLS for it.
    pub fn secret(&self, port: Port<'_>) -> Option<String> {
        let service = self.objects.shelf("", "services").get(Some(port.namespace), port.service)?.value();
        secret_of(meta::annotation(&service, ANNOTATION)?, port.number, port.name)
    }

    /// Opens a stream on which TLS is spoken, and behind it the Service's pods.
    ///
    /// # Errors
    /// Why the certificate cannot be used.
    #[allow(clippy::disallowed_methods)]
    pub fn connect(&self, port: Port<'_>, secret: &str) -> Result<DuplexStream, String> {
        let acceptor = TlsAcceptor::from(self.config(port.namespace, secret)?);
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        let network = self.network.clone();
        let (key, number) = (format!("{}/{}", port.namespace, port.service), port.number);
        // The task's owner is the stream: it ends with it.
        tokio::spawn(async move {
            let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(theirs)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(service = key, %error, "a TLS handshake failed"),
                Err(_) => return tracing::debug!(service = key, "a TLS handshake took too long"),
            };
            let place = key.clone();
            let service = service_fn(move |request| answer(network.clone(), place.clone(), number, request));
            let served = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!(service = key, %error, "a TLS connection ended");
            }
        });
        Ok(ours)
    }

    fn config(&self, namespace: &str, secret: &str) -> Result<Arc<ServerConfig>, String> {
        let place = format!("{namespace}/{secret}");
        let found = self.objects.shelf("", "secrets").get(Some(namespace), secret);
        let found = found.ok_or_else(|| format!("the Secret {place} that {ANNOTATION} names is not there"))?;
        let version = found.revision.to_string();
        if let Some((known, config)) = self.ready.lock().get(&place)
            && *known == version
        {
            return Ok(config.clone());
        }
        let made =
            server_config(&found.value()).map_err(|why| format!("the Secret {place} holds no certificate: {why}"))?;
        let config = Arc::new(made);
        self.ready.lock().insert(place, (version, config.clone()));
        Ok(config)
    }
}

/// What the annotation says of a port.
fn secret_of(annotation: &str, number: u16, name: &str) -> Option<String> {
    let entries = annotation.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    for entry in entries {
        match entry.split_once('=') {
            None => return Some(entry.to_owned()),
            Some((port, secret)) if port == number.to_string() || (!name.is_empty() && port == name) => {
                return Some(secret.trim().to_owned());
            }
            Some(_) => {}
        }
    }
    None
}

fn server_config(secret: &Value) -> Result<ServerConfig, String> {
    let part = |key: &str| {
        let encoded = secret.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
        let encoded = encoded.ok_or_else(|| format!("it has no {key}"))?;
        STANDARD.decode(encoded).map_err(|error| format!("{key}: {error}"))
    };
    let (chain, key) = (part("tls.crt")?, part("tls.key")?);
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("tls.crt: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("tls.key: {error}"))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn answer(
    network: PodNetwork,
    key: String,
    port: u16,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let request = request.map(|body| Body::new(body.map_err(|error| BodyError::Other(error.to_string()))));
    let called = network.call_service(&key, &PortRef::Number(port), with_host(request), Connection::default()).await;
    Ok(called.unwrap_or_else(|error| {
        let mut response = Response::new(network::body::full(format!("{error}\n")));
        *response.status_mut() = if error.status().is_success() { StatusCode::BAD_GATEWAY } else { error.status() };
        response
    }))
}

/// What a TLS server says to a client that speaks plain HTTP.
pub(super) fn spoken_to_plainly() -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from("Client sent an HTTP request to an HTTPS server.\n"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// An address for messages: the stream has none.
pub(super) fn no_address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

#[cfg(test)]
mod tests {
    use super::secret_of;

    #[test]
    fn an_annotation_is_for_all_ports_or_for_some() {
        for (annotation, number, name, wanted) in [
            ("certs", 443, "", Some("certs")),
            ("443=certs", 443, "", Some("certs")),
            ("443=certs", 80, "", None),
            ("https=certs, 9443=other", 9443, "", Some("other")),
            ("https=certs", 443, "https", Some("certs")),
            ("", 443, "", None),
        ] {
            assert_eq!(secret_of(annotation, number, name).as_deref(), wanted, "{annotation} {number} {name}");
        }
    }
}
