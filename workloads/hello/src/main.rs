//! The smallest HTTP component: a greeting.
//!
//! Shows: one async function is a whole microservice; `POD_NAME` comes from the manifest's environment; a component gets
//! a fresh instance per request, so `requests` is 1 each time unless the pod asks for reuse (`coracle.dev/reuse`).

use std::sync::atomic::{AtomicU32, Ordering};

use wstd::http::{Body, Error, Request, Response};

static REQUESTS: AtomicU32 = AtomicU32::new(0);

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    let greeting = std::env::var("GREETING").unwrap_or_else(|_| "Hello from WebAssembly!".to_owned());
    let pod = std::env::var("POD_NAME").unwrap_or_else(|_| "an unnamed pod".to_owned());
    Ok(Response::new(format!("{greeting}\npod: {pod}\nrequests in this instance: {requests}\n").into()))
}
