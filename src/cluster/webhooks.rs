//! Calls webhooks: by URL over the network, by Service over the way that leads there.

use std::sync::Arc;
use std::time::Duration;

use apiserver::gateway::{Scheme, ServiceTarget, ServiceTransport, TargetPort, TlsOptions};
use async_trait::async_trait;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use objects::{WebhookCaller, WebhookError};
use serde_json::Value;

use crate::transport;

/// Answers are not longer than this.
const ANSWER_BYTES: usize = 8 << 20;
/// What a message repeats of an answer that is an error.
const EXCERPT_BYTES: usize = 512;

/// Calls webhooks from this process.
pub(crate) struct Webhooks {
    services: Arc<dyn ServiceTransport>,
}

impl Webhooks {
    /// Services are reached by `services`.
    pub fn new(services: Arc<dyn ServiceTransport>) -> Self {
        Self { services }
    }

    async fn send(&self, place: &Place, body: Bytes) -> Result<Response<Body>, WebhookError> {
        let unreachable = |why: String| WebhookError::Unreachable { url: place.url.clone(), why };
        let request = Request::post(place.path.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(HOST, place.host.as_str())
            .body(Body::from(body))
            .map_err(|error| WebhookError::Config(format!("invalid URL {:?}: {error}", place.url)))?;
        match &place.way {
            Way::Service(target) => self.services.call(target, request).await.map_err(|status| {
                if status.code == 404 {
                    return unreachable(format!("service {:?} not found", target.name));
                }
                let why = status.message.strip_prefix("error trying to reach service: ").unwrap_or(&status.message);
                unreachable(why.to_owned())
            }),
            Way::Url { host, port, tls } => transport::send_to(host, *port, tls, request).await.map_err(unreachable),
        }
    }
}

/// Where a client configuration leads.
struct Place {
    /// As messages name it.
    url: String,
    path: String,
    host: String,
    way: Way,
}

enum Way {
    Service(ServiceTarget),
    Url { host: String, port: u16, tls: TlsOptions },
}

impl Place {
    fn of(config: &Value, timeout: Duration) -> Result<Self, WebhookError> {
        let wrong = |why: &str| WebhookError::Config(format!("could not get REST client: {why}"));
        let ca_bundle = match config.get("caBundle").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let pem = STANDARD.decode(text).map_err(|_| wrong("the caBundle is no base64"))?;
                Some(Bytes::from(pem))
            }
        };
        let tls = |server_name| TlsOptions { verify: true, ca_bundle: ca_bundle.clone(), server_name, identity: None };
        let query = format!("timeout={}", go_duration(timeout));
        if let Some(service) = config.get("service").filter(|service| service.is_object()) {
            let text = |field: &str| service.get(field).and_then(Value::as_str).unwrap_or_default();
            let port =
                service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
            let name = format!("{}.{}.svc", text("name"), text("namespace"));
            let path = format!("/{}?{query}", text("path").trim_start_matches('/'));
            let target = ServiceTarget {
                namespace: text("namespace").to_owned(),
                name: text("name").to_owned(),
                port: TargetPort::Number(port),
                scheme: Scheme::Https(tls(Some(name.clone()))),
            };
            let host = format!("{name}:{port}");
            return Ok(Self { url: format!("https://{host}{path}"), path, host, way: Way::Service(target) });
        }
        let Some(url) = config.get("url").and_then(Value::as_str) else {
            return Err(wrong("webhook configuration must have either service or URL"));
        };
        let uri: Uri = url.parse().map_err(|_| wrong(&format!("Unparsable URL: {url:?}")))?;
        let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong(&format!("the URL {url:?} is no https URL")));
        };
        let separator = if uri.query().is_some() { "&" } else { "?" };
        let path = format!("{}{separator}{query}", uri.path_and_query().map_or("/", |path| path.as_str()));
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let way = Way::Url { host: bare, port: uri.port_u16().unwrap_or(443), tls: tls(None) };
        Ok(Self { url: format!("https://{authority}{path}"), path, host: authority.to_owned(), way })
    }
}

/// `10s`, `1m30s`, `1.5s`: as Go writes it.
fn go_duration(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs_f64() - (duration.as_secs() / 60 * 60) as f64);
    if minutes == 0 { format!("{seconds}s") } else { format!("{minutes}m{seconds}s") }
}

#[async_trait]
impl WebhookCaller for Webhooks {
    async fn call(&self, client_config: &Value, body: Value, timeout: Duration) -> Result<Value, WebhookError> {
        let place = Place::of(client_config, timeout)?;
        let body = serde_json::to_vec(&body).map_err(|error| WebhookError::Config(error.to_string()))?;
        let exchange = async {
            let response = self.send(&place, body.into()).await?;
            let code = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| WebhookError::Answer(format!("the answer of {}: {error}", place.url)))?;
            read(code, &body.to_bytes())
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WebhookError::Deadline { url: place.url }),
        }
    }
}

/// The JSON of a good answer, or what Kubernetes' client says of a bad one.
fn read(code: u16, body: &[u8]) -> Result<Value, WebhookError> {
    if (200..300).contains(&code) {
        return serde_json::from_slice(body)
            .map_err(|error| WebhookError::Answer(format!("couldn't get version/kind; json parse error: {error}")));
    }
    let excerpt = String::from_utf8_lossy(body.get(..body.len().min(EXCERPT_BYTES)).unwrap_or_default());
    let message = match code {
        404 => "the server could not find the requested resource".to_owned(),
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => format!("unknown: {}", excerpt.trim()),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned()
        }
        500..=599 => format!("an error on the server ({:?}) has prevented the request from succeeding", excerpt.trim()),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    };
    Err(WebhookError::Refused { code, message })
}

#[cfg(test)]
mod tests;
