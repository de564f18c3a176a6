//! Sends back what it is sent.
//!
//! Shows: bodies stream in both directions (`POST /` answers before the request has ended); `GET /` shows the request's
//! method, path and headers as the component sees them. gRPC's
//! health check is answered too, so that a `grpc` probe can ask: the services `` and `echo` are well, `resting` is not.

mod health;

use wstd::http::{Body, Error, Method, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    println!("{} {}", request.method(), request.uri());
    if request.uri().path() == health::PATH {
        return health::check(request).await;
    }
    if request.method() != Method::GET {
        let kind = request.headers().get("content-type").cloned();
        let mut response = Response::new(request.into_body());
        if let Some(kind) = kind {
            response.headers_mut().insert("content-type", kind);
        }
        return Ok(response);
    }
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    Ok(Response::new(text.into()))
}
