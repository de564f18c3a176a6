//! Limits: what a bad neighbour may and may not do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use network::{CallError, Connection, HttpEndpoint};
use parking_lot::Mutex;

use super::{MIB, PATIENCE, eventually, get, get_text, limited, request, runtime, serve};
use crate::{Common, Reason, ServeSpec, StartError};

#[tokio::test]
async fn a_guest_that_loops_leaves_its_neighbour_alone_and_can_be_killed() {
    let runtime = runtime();
    let bad = serve(&runtime, "chaos", ServeSpec::default());
    let good = serve(&runtime, "hello", ServeSpec::default());
    get_text(&good, "/").await;
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let bad = bad.clone();
            tokio::spawn(async move { bad.call(request("/loop"), Connection::default()).await.is_ok() })
        })
        .collect();
    eventually("they loop", || bad.stats().in_flight == 4).await;
    // On one thread with them: an answer shows that none of them holds it.
    for _ in 0..50 {
        assert!(get_text(&good, "/").await.starts_with("Hello"));
    }
    assert_eq!(bad.stats().in_flight, 4);
    // Dropping the callers drops the guests.
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("they are gone", || bad.stats().in_flight == 0 && bad.stats().memory_bytes == 0).await;
}

#[tokio::test]
async fn a_request_past_its_deadline_is_answered_504_whether_it_computes_or_waits() {
    let runtime = runtime();
    let spec = ServeSpec { request_timeout: Duration::from_millis(50), ..ServeSpec::default() };
    let server = serve(&runtime, "chaos", spec.clone());
    assert!(matches!(get(&server, "/loop").await, Err(CallError::Deadline)));
    eventually("the guest is gone", || server.stats().in_flight == 0).await;
    assert!(matches!(get(&server, "/timers").await, Err(CallError::Deadline)));
    assert_eq!(server.stats().timeouts, 2);
    // An echo whose request never ends waits.
    let echo = serve(&runtime, "echo", spec);
    let (mut parts, _) = request("/").into_parts();
    parts.method = http::Method::POST;
    let (_sender, receiver) = futures::channel::mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, _>>(1);
    let body = network::Body::new(http_body_util::StreamBody::new(receiver));
    let response = echo.call(http::Request::from_parts(parts, body), Connection::default()).await;
    let ended = match response {
        Err(CallError::Deadline) => true,
        Err(_) => false,
        Ok(response) => matches!(
            http_body_util::BodyExt::collect(response.into_body()).await,
            Err(network::BodyError::Deadline | network::BodyError::Guest(_))
        ),
    };
    assert!(ended);
    eventually("the guest is gone", || echo.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_callers_deadline_binds_where_it_is_earlier() {
    let runtime = runtime();
    let server = serve(&runtime, "chaos", ServeSpec::default());
    let connection = Connection { deadline: Some(Instant::now() + Duration::from_millis(30)), ..Connection::default() };
    assert!(matches!(server.call(request("/loop"), connection).await, Err(CallError::Deadline)));
}

#[tokio::test]
async fn memory_past_the_limit_ends_the_container() {
    let runtime = runtime();
    let server = serve(&runtime, "chaos", limited(16));
    assert_eq!(get_text(&server, "/allocate?mib=4").await, "held 4 MiB\n");
    let other = tokio::spawn({
        let server = server.clone();
        async move { server.call(request("/loop"), Connection::default()).await.is_err() }
    });
    eventually("another request runs", || server.stats().in_flight == 1).await;
    assert!(matches!(get(&server, "/allocate?mib=64").await, Err(CallError::Guest(_))));
    let ended = server.exit().await;
    assert_eq!((ended.code, ended.reason), (137, Reason::OomKilled), "{ended:?}");
    assert!(tokio::time::timeout(PATIENCE, other).await.is_ok_and(|other| other.is_ok_and(|failed| failed)));
    eventually("all its instances are gone", || server.stats().memory_bytes == 0).await;
    assert!(server.stats().memory_bytes_peak <= 16 * MIB && server.stats().growth_refused > 0);
    assert!(matches!(get(&server, "/").await, Err(CallError::Refused { .. })));
}

#[tokio::test]
async fn refused_growth_that_a_guest_survives_is_no_death() {
    let runtime = runtime();
    let server = serve(&runtime, "chaos", limited(16));
    let answer = get_text(&server, "/grow").await;
    assert!(answer.starts_with("refused after "), "{answer}");
    assert!(server.stats().growth_refused > 0);
    assert_eq!(get_text(&server, "/").await, "well behaved\n");
}

#[tokio::test]
async fn a_limit_below_what_a_component_starts_with_is_refused_at_start() {
    let runtime = runtime();
    let mut spec = limited(1);
    spec.common.memory_bytes = Some(1000);
    let outcome = runtime.serve(&super::program(&runtime, "hello", super::PLAIN), spec);
    assert!(matches!(outcome.err(), Some(StartError::MemoryTooSmall { limit: 1000, .. })));
}

#[tokio::test]
async fn a_queue_that_is_full_refuses() {
    let runtime = runtime();
    let server = serve(&runtime, "chaos", ServeSpec { concurrency: Some(1), queue: 1, ..ServeSpec::default() });
    let hog = tokio::spawn({
        let server = server.clone();
        async move { server.call(request("/loop"), Connection::default()).await.is_ok() }
    });
    eventually("it is full", || server.stats().in_flight == 1).await;
    let mut waits = tokio::spawn({
        let server = server.clone();
        async move { get_text(&server, "/").await }
    });
    eventually("one waits", || server.stats().requests == 2).await;
    assert!(matches!(get(&server, "/").await, Err(CallError::Overloaded)));
    assert_eq!(server.stats().overloads, 1);
    hog.abort();
    assert!((&mut waits).await.is_ok_and(|answer| answer == "well behaved\n"));
}

#[tokio::test]
async fn fuel_is_a_budget_per_request() {
    let runtime = runtime();
    let common = Common { fuel: Some(20_000_000), ..Common::default() };
    let server = serve(&runtime, "chaos", ServeSpec { common, ..ServeSpec::default() });
    for _ in 0..3 {
        assert_eq!(get_text(&server, "/").await, "well behaved\n");
        let error = get(&server, "/loop").await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("FuelExhausted"), "{error}");
    }
    assert_eq!(server.stats().traps, 3);
}

#[tokio::test]
async fn the_same_request_burns_the_same() {
    let runtime = runtime();
    let common = Common { fuel: Some(200_000_000), ..Common::default() };
    let server = serve(&runtime, "chaos", ServeSpec { common, ..ServeSpec::default() });
    let mut burnt = Vec::new();
    for _ in 0..3 {
        let before = server.stats().fuel;
        assert_eq!(get_text(&server, "/allocate?mib=1").await, "held 1 MiB\n");
        eventually("it is over", || server.stats().in_flight == 0).await;
        burnt.push(server.stats().fuel - before);
    }
    assert!(burnt[0] > 0 && burnt.iter().all(|fuel| *fuel == burnt[0]), "{burnt:?}");
}

#[tokio::test]
async fn small_allocations_and_deep_calls_end_where_large_and_long_ones_do() {
    let runtime = runtime();
    let told = Arc::new(Mutex::new(String::new()));
    let trace = Arc::clone(&told);
    let on_trap: crate::OnTrap = Arc::new(move |text: &str| text.clone_into(&mut trace.lock()));
    let server = serve(&runtime, "chaos", ServeSpec { on_trap: Some(on_trap), ..limited(16) });
    let error = get(&server, "/recurse").await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("call stack exhausted"), "{error}");
    let trace = told.lock().clone();
    assert!(trace.contains("!chaos::computing::recurse\n") && trace.contains(" more"), "{trace}");
    assert_eq!(get_text(&server, "/").await, "well behaved\n");
    assert!(get(&server, "/scatter").await.is_err());
    assert_eq!(server.exit().await.reason, Reason::OomKilled);
}

#[tokio::test]
async fn tables_count_as_memory() {
    let runtime = runtime();
    let component = wat::parse_str(
        r#"(component
            (core module $hoarder
                (table 1 funcref)
                (func (export "run") (result i32)
                    (if (i32.eq (table.grow 0 (ref.null func) (i32.const 4000000)) (i32.const -1)) (then unreachable))
                    i32.const 0))
            (core instance $i (instantiate $hoarder))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#,
    );
    let program = super::load(&runtime, &component.unwrap_or_default(), super::PLAIN);
    let program = program.unwrap_or_else(|error| panic!("{error}"));
    for (limit, reason) in [(64 * MIB, Reason::Completed), (16 * MIB, Reason::OomKilled)] {
        let common = Common { memory_bytes: Some(limit), ..Common::default() };
        let running = runtime.run(&program, crate::RunSpec { common, deadline: None });
        let running = running.unwrap_or_else(|error| panic!("{error}"));
        let ended = tokio::time::timeout(PATIENCE, running.exit()).await;
        assert!(ended.as_ref().is_ok_and(|ended| ended.reason == reason), "{limit}: {ended:?}");
        assert!(running.stats().memory_bytes_peak <= limit);
    }
}

#[tokio::test]
async fn a_cpu_limit_holds_a_guest_to_its_rate() {
    let runtime = runtime();
    let common = Common { cpu_millis: Some(200), ..Common::default() };
    let server = serve(&runtime, "chaos", ServeSpec { common, ..ServeSpec::default() });
    let began = Instant::now();
    for _ in 0..4 {
        get_text(&server, "/spin?ms=20").await;
    }
    let spent = server.stats().cpu_time;
    // The next request is let in when what was spent is paid for: a fifth of a core, ahead of it by 100 ms at most.
    get_text(&server, "/").await;
    let elapsed = began.elapsed() + Duration::from_millis(101);
    assert!(spent * 5 <= elapsed, "{spent:?} in {elapsed:?}");
    assert!(server.stats().throttled_time > Duration::ZERO);
}

#[tokio::test]
async fn a_container_that_always_computes_begins_on_the_bulk_threads() {
    let metrics = base::metrics::Metrics::default();
    let runtime = crate::Runtime::new(crate::Config::new(tokio::runtime::Handle::current(), metrics.clone()));
    let server = serve(&runtime, "chaos", ServeSpec::default());
    for _ in 0..8 {
        get_text(&server, "/spin?ms=40").await;
    }
    // By now even a brief request is moved before it begins.
    get_text(&server, "/").await;
    assert!(metrics.encode().contains("coracle_runtime_moved_total 9"), "{}", metrics.encode());
}

#[tokio::test]
async fn a_flood_of_output_does_not_hold_up_a_neighbour() {
    let runtime = runtime();
    let common = Common { output: super::Kept::new(), ..Common::default() };
    let bad = serve(&runtime, "chaos", ServeSpec { common, ..ServeSpec::default() });
    let good = serve(&runtime, "hello", ServeSpec::default());
    let flood = tokio::spawn({
        let bad = bad.clone();
        async move { bad.call(request("/flood"), Connection::default()).await.is_ok() }
    });
    eventually("it floods", || bad.stats().cpu_time > Duration::from_millis(20)).await;
    for _ in 0..20 {
        get_text(&good, "/").await;
    }
    flood.abort();
    eventually("it is gone", || bad.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_pool_that_finds_no_room_is_done_without() {
    let config = crate::Config {
        pool_slots_max: 0,
        ..crate::Config::new(tokio::runtime::Handle::current(), base::metrics::Metrics::default())
    };
    let runtime = crate::Runtime::new(config);
    let server = serve(&runtime, "hello", ServeSpec::default());
    assert!(get_text(&server, "/").await.starts_with("Hello"));
}

#[tokio::test]
async fn what_happens_is_counted_for_the_whole_process() {
    let metrics = base::metrics::Metrics::default();
    let runtime = crate::Runtime::new(crate::Config::new(tokio::runtime::Handle::current(), metrics.clone()));
    let server = serve(&runtime, "chaos", ServeSpec::default());
    get_text(&server, "/").await;
    get_text(&server, "/").await;
    assert!(get(&server, "/trap").await.is_err());
    for line in [
        "coracle_runtime_requests_total 3",
        "coracle_runtime_failures_total{reason=\"trap\"} 1",
        "coracle_runtime_instances 0",
    ] {
        eventually(line, || metrics.encode().lines().any(|found| found == line)).await;
    }
}
