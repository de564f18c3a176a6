//! An HTTP component of WASI 0.3: one instance can answer many requests at once.
//!
//! `/` greets. The other paths show what a server of 0.3 does: `/wait/MS`, `/together/COUNT` (answers once so many requests
//! are in this instance), `/echo`, `/stream/COUNT`, `/fetch/HOST/PATH`; and what a bad one does: `/loop`, `/trap`, `/grow`,
//! `/cut`.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::StreamReader;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

struct Hello;
wasip3::http::service::export!(Hello);

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.get_path_with_query().unwrap_or_default();
        let (_, rest) = path.split_once('/').unwrap_or_default();
        let (action, argument) = rest.split_once('/').unwrap_or((rest, ""));
        match action {
            "wait" => wait_for(number(argument) * 1_000_000).await,
            "together" => {
                while u64::from(REQUESTS.load(Ordering::Relaxed)) < number(argument) {
                    wait_for(1_000_000).await;
                }
            }
            "echo" => return Ok(echo(request)),
            "stream" => return Ok(stream(number(argument))),
            "fetch" => return fetch(argument).await,
            "loop" => loop {
                std::hint::black_box(requests);
            },
            "trap" => panic!("asked to"),
            "grow" => grow(),
            "cut" => return Ok(cut()),
            _ => {}
        }
        let authority = request.get_authority().unwrap_or_default();
        Ok(text(format!("Hello from WASI 0.3 at {authority}!\nrequests in this instance: {requests}\n")))
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

fn respond(body: StreamReader<u8>) -> Response {
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    Response::new(Fields::new(), Some(body), no_trailers).0
}

fn text(text: String) -> Response {
    let (mut writer, body) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        writer.write_all(text.into_bytes()).await;
    });
    respond(body)
}

/// The request's body as it comes.
fn echo(request: Request) -> Response {
    let (done, read) = wit_future::new(|| Ok(()));
    drop(done);
    let (body, trailers) = Request::consume_body(request, read);
    Response::new(Fields::new(), Some(body), trailers).0
}

fn stream(count: u64) -> Response {
    let (mut writer, body) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        for number in 0..count {
            let line = format!("{number:09}\n").repeat(100);
            if !writer.write_all(line.into_bytes()).await.is_empty() {
                return;
            }
        }
    });
    respond(body)
}

/// Asks another server and passes its answer on.
async fn fetch(target: &str) -> Result<Response, ErrorCode> {
    let (host, path) = target.split_once('/').unwrap_or((target, ""));
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _sent) = Request::new(Fields::new(), None, no_trailers, None);
    let _ = request.set_method(&Method::Get);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(host));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    let answer = client::send(request).await?;
    let status = answer.get_status_code();
    let (done, read) = wit_future::new(|| Ok(()));
    drop(done);
    let (body, trailers) = Response::consume_body(answer, read);
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    let _ = response.set_status_code(status);
    Ok(response)
}

fn grow() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

/// Begins a body and traps.
fn cut() -> Response {
    let (mut writer, body) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        writer.write_all(b"the beginning\n".to_vec()).await;
        wait_for(1_000_000).await;
        panic!("asked to, in the middle");
    });
    respond(body)
}
