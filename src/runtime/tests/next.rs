//! WASI 0.3: servers and commands under the same rules as those of 0.2.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use network::{CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse};
use parking_lot::Mutex;

use super::{
    FUEL, Kept, MIB, PATIENCE, PLAIN, chunk, eventually, get, get_text, limited, request, runtime, serve, text,
};
use crate::{Common, Exit, Mount, Outbound, Reason, RunSpec, Running, Runtime, ServeSpec, Stdin, Stream, Target};

fn reused() -> ServeSpec {
    ServeSpec { reuse: true, ..ServeSpec::default() }
}

fn posted(path: &str, body: network::Body) -> HttpRequest {
    let (mut parts, _) = request(path).into_parts();
    parts.method = http::Method::POST;
    http::Request::from_parts(parts, body)
}

#[tokio::test]
async fn a_handler_of_0_3_answers_each_request_in_a_fresh_instance() {
    let runtime = runtime();
    let server = serve(&runtime, "hello3", ServeSpec::default());
    for _ in 0..3 {
        let answer = get_text(&server, "/").await;
        assert_eq!(answer, "Hello from WASI 0.3 at test.local!\nrequests in this instance: 1\n");
    }
    eventually("no instance is left", || server.stats().in_flight == 0 && server.stats().memory_bytes == 0).await;
    assert_eq!((server.stats().requests, server.stats().traps), (3, 0));
}

#[tokio::test]
async fn with_reuse_one_instance_answers_requests_at_once() {
    let runtime = runtime();
    let server = serve(&runtime, "hello3", reused());
    get_text(&server, "/").await;
    // Each of them answers only when all are in the same instance.
    let together = join_all((0..20).map(|_| get_text(&server, "/together/21"))).await;
    assert!(together.iter().all(|answer| answer.contains("requests in this instance")), "{together:?}");
    // Only one instance's memory is held.
    let one = server.stats().memory_bytes;
    join_all((0..8).map(|_| get_text(&server, "/wait/1"))).await;
    assert!(server.stats().memory_bytes < one * 2, "{} after {one}", server.stats().memory_bytes);
    server.stop(Duration::from_secs(10)).await;
    eventually("instances go with their container", || server.stats().memory_bytes == 0).await;
}

#[tokio::test]
async fn bodies_pass_in_both_directions_while_they_come() {
    let runtime = runtime();
    for spec in [ServeSpec::default(), reused()] {
        let server = serve(&runtime, "hello3", spec);
        let (mut sender, receiver) = futures::channel::mpsc::channel(1);
        let body = network::Body::new(StreamBody::new(receiver));
        let answer = server.call(posted("/echo", body), Connection::default()).await;
        let mut answer = answer.unwrap_or_else(|error| panic!("{error}")).into_body().into_data_stream();
        for part in ["one", "two", "three"] {
            assert!(sender.send(chunk(part)).await.is_ok());
            let came = tokio::time::timeout(PATIENCE, answer.next()).await;
            assert!(matches!(came, Ok(Some(Ok(bytes))) if bytes == part), "{part}");
        }
        drop(sender);
        assert!(answer.next().await.is_none());
        let long = get_text(&server, "/stream/300").await;
        assert_eq!(long.len(), 300 * 1000);
        assert!(long.ends_with("000000299\n"));
    }
}

#[tokio::test]
async fn limits_hold_for_0_3_too() {
    let runtime = runtime();
    for reuse in [false, true] {
        let brief = ServeSpec { request_timeout: Duration::from_millis(500), reuse, ..ServeSpec::default() };
        let server = serve(&runtime, "hello3", brief);
        for path in ["/wait/60000", "/loop"] {
            assert!(matches!(get(&server, path).await, Err(CallError::Deadline)), "{path}, reuse {reuse}");
            eventually("the guest is gone", || server.stats().memory_bytes == 0 && server.stats().in_flight == 0).await;
        }
        assert!(get_text(&server, "/").await.starts_with("Hello"), "after deadlines, reuse {reuse}");

        let server = serve(&runtime, "hello3", ServeSpec { reuse, ..ServeSpec::default() });
        let trapped = get(&server, "/trap").await;
        assert!(matches!(&trapped, Err(CallError::Guest(why)) if why.contains("unreachable")), "{trapped:?}");
        let cut = get(&server, "/cut").await.unwrap_or_else(|error| panic!("{error}"));
        assert!(cut.into_body().collect().await.is_err(), "a body that ends with a trap is no whole one");
        eventually("both are counted", || server.stats().traps == 2).await;
        assert!(get_text(&server, "/").await.starts_with("Hello"), "after traps, reuse {reuse}");

        let server = serve(&runtime, "hello3", ServeSpec { reuse, ..limited(16) });
        assert!(get(&server, "/grow").await.is_err());
        assert_eq!(server.exit().await.reason, Reason::OomKilled);
    }
}

#[tokio::test]
async fn a_loop_in_a_shared_instance_leaves_its_neighbours_instances_alone() {
    let runtime = runtime();
    let server = serve(&runtime, "hello3", ServeSpec { request_timeout: Duration::from_secs(2), ..reused() });
    let looping = tokio::spawn({
        let server = server.clone();
        async move { get(&server, "/loop").await.is_err() }
    });
    eventually("it loops", || server.stats().cpu_time > Duration::from_millis(20)).await;
    looping.abort();
    eventually("it is gone with its caller", || server.stats().in_flight == 0 && server.stats().memory_bytes == 0)
        .await;
    assert!(get_text(&server, "/").await.starts_with("Hello"));
}

#[tokio::test]
async fn fuel_is_a_requests_own() {
    let runtime = runtime();
    for reuse in [false, true] {
        let mut spec = ServeSpec { reuse, ..ServeSpec::default() };
        spec.common.fuel = Some(20_000_000);
        let server = serve(&runtime, "hello3", spec);
        for _ in 0..3 {
            assert!(get_text(&server, "/").await.starts_with("Hello"));
            let spent = get(&server, "/loop").await;
            assert!(matches!(&spent, Err(CallError::Guest(why)) if why.contains("FuelExhausted")), "{spent:?}");
        }
    }
}

#[derive(Default)]
struct Neighbour(Mutex<Vec<(String, u8)>>);

impl Outbound for Neighbour {
    fn call(
        &self,
        target: Target,
        _request: HttpRequest,
        connection: Connection,
    ) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        self.0.lock().push((target.host.clone(), connection.depth));
        Box::pin(async move {
            if target.host == "denied" {
                return Err(CallError::Denied("grant it".to_owned()));
            }
            let mut response = http::Response::new(network::body::full("from next door\n"));
            *response.status_mut() = http::StatusCode::ACCEPTED;
            Ok(response)
        })
    }
}

#[tokio::test]
async fn requests_of_0_3_go_out_through_the_same_door() {
    let runtime = runtime();
    for reuse in [false, true] {
        let neighbour = Arc::new(Neighbour::default());
        let mut spec = ServeSpec { reuse, ..ServeSpec::default() };
        spec.common.outbound = Some(neighbour.clone());
        let server = serve(&runtime, "hello3", spec);
        let answer = server.call(request("/fetch/next/door"), Connection { depth: 3, ..Connection::default() }).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answer.status(), http::StatusCode::ACCEPTED);
        assert_eq!(text(answer).await, "from next door\n");
        let denied = get(&server, "/fetch/denied/").await;
        assert!(matches!(&denied, Err(CallError::Guest(why)) if why == "grant it"), "{denied:?}");
        assert_eq!(*neighbour.0.lock(), [("next".to_owned(), 4), ("denied".to_owned(), 1)]);
    }
}

fn steps(steps: &[&str]) -> RunSpec {
    let args = ["steps"].iter().chain(steps).map(ToString::to_string).collect();
    RunSpec { common: Common { args, ..Common::default() }, deadline: None }
}

fn start(runtime: &Runtime, spec: RunSpec) -> Running {
    let form = if spec.common.fuel.is_some() { FUEL } else { PLAIN };
    runtime.run(&super::program(runtime, "steps3", form), spec).unwrap_or_else(|error| panic!("{error}"))
}

async fn ended(running: &Running) -> Exit {
    tokio::time::timeout(PATIENCE, running.exit()).await.unwrap_or_else(|_| panic!("it does not end"))
}

#[tokio::test]
async fn a_command_of_0_3_has_arguments_environment_files_and_streams() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    assert!(std::fs::write(folder.path().join("poem"), "two words\n").is_ok());
    let kept = Kept::new();
    let mut spec = steps(&["say:hello", "shout:careful", "env:COLOUR", "read:/data/poem", "echo", "exit:7"]);
    spec.common.output = kept.clone();
    spec.common.env = vec![("COLOUR".to_owned(), "green".to_owned())];
    spec.common.stdin = Some(Stdin::new(&b"what was typed\n"[..]));
    spec.common.mounts = vec![Mount {
        host_dir: folder.path().to_owned(),
        guest_path: "/data".to_owned(),
        read_only: true,
        opened: None,
        made_by: None,
    }];
    let exit = ended(&start(&runtime, spec)).await;
    assert_eq!(kept.lines(Stream::Stdout), ["hello", "green", "two words", "what was typed"]);
    assert_eq!(kept.lines(Stream::Stderr), ["careful"]);
    assert_eq!((exit.code, exit.reason), (7, Reason::Error), "{exit:?}");
    assert_eq!(ended(&start(&runtime, steps(&["say:x"]))).await.code, 0);
    assert_eq!(ended(&start(&runtime, steps(&["fail"]))).await.code, 1);
}

#[tokio::test]
async fn commands_of_0_3_are_held_to_their_limits() {
    let runtime = runtime();
    for step in ["sleep:3600000", "spin"] {
        let mut spec = steps(&[step]);
        spec.deadline = Some(Duration::from_millis(30));
        assert_eq!(ended(&start(&runtime, spec)).await.reason, Reason::DeadlineExceeded, "{step}");
    }
    let mut spec = steps(&["grow"]);
    spec.common.memory_bytes = Some(8 * MIB);
    assert_eq!(ended(&start(&runtime, spec)).await.reason, Reason::OomKilled);
    let mut spec = steps(&["spin"]);
    spec.common.fuel = Some(1_000_000);
    assert_eq!(ended(&start(&runtime, spec)).await.reason, Reason::FuelExhausted);
}

#[tokio::test]
async fn a_command_that_listens_ends_in_time_when_it_is_asked_to() {
    let runtime = runtime();
    let kept = Kept::new();
    let mut spec = steps(&["say:up", "until-stopped", "say:tidy", "exit:0"]);
    spec.common.output = kept.clone();
    let running = start(&runtime, spec);
    eventually("it runs", || !kept.lines(Stream::Stdout).is_empty()).await;
    running.stop(PATIENCE).await;
    let exit = running.exit().await;
    assert_eq!((exit.code, exit.reason), (0, Reason::Completed), "{exit:?}");
    assert_eq!(kept.lines(Stream::Stdout), ["up", "tidy"]);
    // One that does not listen is killed after its grace.
    let running = start(&runtime, steps(&["sleep:3600000"]));
    running.stop(Duration::from_millis(10)).await;
    assert_eq!(running.exit().await.code, 137);
}
