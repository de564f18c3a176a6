//! Requests and responses: isolation, streaming, outgoing calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use network::{CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse};
use parking_lot::Mutex;

use super::{Kept, chunk, eventually, get, get_text, request, runtime, serve, text};
use crate::{Common, Outbound, ServeSpec, Stream, Target};

#[tokio::test]
async fn every_request_has_an_instance_of_its_own() {
    let runtime = runtime();
    let env = vec![("POD_NAME".to_owned(), "hello-1".to_owned())];
    let server =
        serve(&runtime, "hello", ServeSpec { common: Common { env, ..Common::default() }, ..ServeSpec::default() });
    for _ in 0..3 {
        let answer = get_text(&server, "/").await;
        assert_eq!(answer, "Hello from WebAssembly!\npod: hello-1\nrequests in this instance: 1\n");
    }
    eventually("no instance is left", || server.stats().in_flight == 0 && server.stats().memory_bytes == 0).await;
    let stats = server.stats();
    assert_eq!((stats.requests, stats.traps), (3, 0));
    assert!(stats.memory_bytes_peak > 0 && stats.cpu_time > Duration::ZERO);
}

#[tokio::test]
async fn reuse_keeps_an_instance_from_one_request_to_the_next() {
    let runtime = runtime();
    let server = serve(&runtime, "hello", ServeSpec { reuse: true, ..ServeSpec::default() });
    for number in 1..=3 {
        let answer = get_text(&server, "/").await;
        assert!(answer.ends_with(&format!("requests in this instance: {number}\n")), "{answer}");
        // An answer may arrive a moment before its instance is free again.
        eventually("the instance is free", || server.stats().in_flight == 0).await;
    }
    assert!(server.stats().memory_bytes > 0);
    server.stop(Duration::from_secs(10)).await;
    eventually("kept instances are dropped with their container", || server.stats().memory_bytes == 0).await;
}

#[tokio::test]
async fn a_body_that_is_whole_has_a_length() {
    let runtime = runtime();
    let server = serve(&runtime, "hello", ServeSpec::default());
    // On a busy machine a guest may still be on its way out when its answer is here.
    for _ in 0..1000 {
        let response = get(&server, "/").await.unwrap_or_else(|error| panic!("{error}"));
        if http_body::Body::size_hint(response.body()).exact().is_some() {
            return;
        }
    }
    panic!("no answer ever had a length");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let runtime = runtime();
    let server = serve(&runtime, "echo", ServeSpec::default());
    let (mut sender, receiver) = futures::channel::mpsc::channel(1);
    let body = network::Body::new(StreamBody::new(receiver));
    let (mut parts, _) = request("/").into_parts();
    parts.method = http::Method::POST;
    let call = server.call(http::Request::from_parts(parts, body), Connection::default());
    let response = call.await.unwrap_or_else(|error| panic!("{error}"));
    let mut body = response.into_body().into_data_stream();
    // Each part comes back before the next is sent.
    for part in ["one", "two", "three"] {
        assert!(sender.send(chunk(part)).await.is_ok());
        let back = body.next().await.and_then(Result::ok).unwrap_or_default();
        assert_eq!(back, part.as_bytes());
    }
    drop(sender);
    assert!(body.next().await.is_none());
    eventually("the guest ends", || server.stats().in_flight == 0).await;
}

#[tokio::test]
async fn dropping_a_response_ends_its_guest() {
    let runtime = runtime();
    let server = serve(&runtime, "echo", ServeSpec::default());
    let (mut sender, receiver) = futures::channel::mpsc::channel(1);
    let (mut parts, _) = request("/").into_parts();
    parts.method = http::Method::POST;
    let body = network::Body::new(StreamBody::new(receiver));
    let response = server.call(http::Request::from_parts(parts, body), Connection::default()).await;
    assert!(response.is_ok());
    assert_eq!(server.stats().in_flight, 1);
    drop(response);
    eventually("the guest is gone", || server.stats().in_flight == 0 && server.stats().memory_bytes == 0).await;
    assert!(sender.send(chunk("late")).await.is_err());
}

#[tokio::test]
async fn output_is_logged_line_by_line() {
    let runtime = runtime();
    let kept = Kept::new();
    let common = Common { output: kept.clone(), ..Common::default() };
    let server = serve(&runtime, "echo", ServeSpec { common, ..ServeSpec::default() });
    get_text(&server, "/some/path?x=1").await;
    let lines = kept.lines(Stream::Stdout);
    assert!(lines.len() == 1 && lines[0].contains("/some/path?x=1"), "{lines:?}");
}

/// Answers outgoing requests by host name.
#[derive(Default)]
struct Switchboard {
    seen: Mutex<Vec<(Target, Connection)>>,
}

impl Outbound for Switchboard {
    fn call(
        &self,
        target: Target,
        request: HttpRequest,
        connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let host = target.host.clone();
        self.seen.lock().push((target, connection));
        Box::pin(async move {
            match host.as_str() {
                "web" => Ok(http::Response::new(network::body::full(format!("answer to {}", request.uri().path())))),
                "refused" => Err(CallError::Refused { address: ([10, 0, 0, 1], 80).into() }),
                "empty" => Err(CallError::NoEndpoints { service: "default/empty".to_owned() }),
                "outside" => Err(CallError::Denied("egress is not granted; set coracle.dev/egress".to_owned())),
                "broken" => Err(CallError::Guest("trap".to_owned())),
                _ => Err(CallError::NoSuchHost { host }),
            }
        })
    }
}

fn gateway(upstreams: &str, outbound: Option<Arc<dyn Outbound>>) -> ServeSpec {
    let env = vec![("UPSTREAMS".to_owned(), upstreams.to_owned())];
    ServeSpec { common: Common { env, outbound, ..Common::default() }, ..ServeSpec::default() }
}

#[tokio::test]
async fn outgoing_requests_carry_the_callers_address_depth_and_deadline() {
    let runtime = runtime();
    let board = Arc::new(Switchboard::default());
    let server = serve(&runtime, "gateway", gateway("http://web:81/a,http://web/b", Some(board.clone())));
    let connection = Connection { depth: 3, ..Connection::default() };
    let response = server.call(request("/"), connection).await.unwrap_or_else(|error| panic!("{error}"));
    let page = text(response).await;
    assert_eq!(page, "== http://web:81/a\nanswer to /a\n== http://web/b\nanswer to /b\n");
    let seen = board.seen.lock();
    assert_eq!(seen.iter().map(|(target, _)| target.port).collect::<Vec<_>>(), [81, 80]);
    for (_, connection) in seen.iter() {
        assert_eq!((connection.depth, connection.source), (4, Common::default().address));
        assert!(connection.deadline.is_some());
    }
}

#[tokio::test]
async fn outgoing_requests_that_fail_say_why() {
    let runtime = runtime();
    let hosts = ["refused", "empty", "nowhere", "outside", "broken"];
    let upstreams = hosts.map(|host| format!("http://{host}/")).join(",");
    let server = serve(&runtime, "gateway", gateway(&upstreams, Some(Arc::new(Switchboard::default()))));
    let page = get_text(&server, "/").await;
    let answers = ["ConnectionRefused", "DestinationUnavailable", "NXDOMAIN", "egress is not granted", "500"];
    let sections: Vec<&str> = page.split("== ").skip(1).collect();
    assert_eq!(sections.len(), hosts.len(), "{page}");
    for (section, answer) in sections.iter().zip(answers) {
        assert!(section.contains(answer), "{answer} is not in {section}");
    }
}

#[tokio::test]
async fn without_an_outbound_every_call_is_denied() {
    let runtime = runtime();
    let server = serve(&runtime, "gateway", gateway("http://web/", None));
    assert!(get_text(&server, "/").await.contains("may not send requests"));
}

#[tokio::test]
async fn a_chain_that_is_too_deep_is_a_loop() {
    let runtime = runtime();
    let server = serve(&runtime, "hello", ServeSpec::default());
    let connection = Connection { depth: network::connection::DEPTH_MAX + 1, ..Connection::default() };
    assert!(matches!(server.call(request("/"), connection).await, Err(CallError::LoopDetected)));
}

#[tokio::test]
async fn a_trap_costs_one_request_and_is_told() {
    let runtime = runtime();
    let told = Arc::new(Mutex::new(Vec::new()));
    let on_trap = {
        let told = Arc::clone(&told);
        move |text: &str| told.lock().push(text.to_owned())
    };
    let server = serve(&runtime, "chaos", ServeSpec { on_trap: Some(Arc::new(on_trap)), ..ServeSpec::default() });
    let error = get(&server, "/trap").await.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error, "the component failed: wasm trap: wasm `unreachable` instruction executed");
    assert_eq!(get_text(&server, "/").await, "well behaved\n");
    assert_eq!(server.stats().traps, 1);
    let told = told.lock();
    assert!(told.len() == 1 && told[0].contains("\n  at "), "{told:?}");
}

#[tokio::test]
async fn a_server_that_stops_lets_requests_finish_and_takes_no_more() {
    let runtime = runtime();
    let server = serve(&runtime, "chaos", ServeSpec::default());
    let slow = tokio::spawn({
        let server = server.clone();
        async move { get_text(&server, "/spin?ms=50").await }
    });
    eventually("the request runs", || server.stats().in_flight == 1).await;
    server.stop(super::PATIENCE).await;
    assert!(slow.await.is_ok_and(|answer| answer.ends_with("turns\n")));
    assert!(matches!(get(&server, "/").await, Err(CallError::Refused { .. })));
    assert_eq!(server.exit().await.code, 0);
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let runtime = runtime();
    let server = serve(&runtime, "hello", ServeSpec { concurrency: Some(4), ..ServeSpec::default() });
    let answered = AtomicUsize::new(0);
    futures::stream::iter(0..200)
        .for_each_concurrent(50, |_| async {
            assert!(get_text(&server, "/").await.starts_with("Hello"));
            answered.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    assert_eq!(answered.into_inner(), 200);
}
