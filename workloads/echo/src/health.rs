//! gRPC's health check, which is one call: `grpc.health.v1.Health/Check`.
//!
//! ```text
//! request   0 LENGTH(4) 0x0a LENGTH NAME        response  0 LENGTH(4) 0x08 STATUS      trailers   grpc-status: 0
//! ```

use wstd::http::body::util::{BodyExt, Full};
use wstd::http::body::{Body, Bytes};
use wstd::http::{Error, HeaderMap, HeaderValue, Request, Response};

pub const PATH: &str = "/grpc.health.v1.Health/Check";

const OK: &str = "0";
const NOT_FOUND: &str = "5";
const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

pub async fn check(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    let (status, code) = match service(request.body_mut().contents().await?) {
        Some(b"" | b"echo") => (Some(SERVING), OK),
        Some(b"resting") => (Some(NOT_SERVING), OK),
        _ => (None, NOT_FOUND),
    };
    let message = status.map(|status| Bytes::from(vec![0, 0, 0, 0, 2, 0x08, status])).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    if status.is_none() {
        trailers.insert("grpc-message", HeaderValue::from_static("unknown service"));
    }
    let body = Full::new(message).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::from_http_body(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// The name in a question; an empty message asks for the whole server.
fn service(message: &[u8]) -> Option<&[u8]> {
    match message.get(5..)? {
        [] => Some(&[]),
        [0x0a, length, name @ ..] => Some(name).filter(|name| name.len() == usize::from(*length)),
        _ => None,
    }
}
