//! What happens to a request and its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use network::{Body, CallError, HttpRequest, HttpResponse, body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::house::*;

/// Answers with the head that it got.
async fn mirror(request: HttpRequest) -> Result<HttpResponse, CallError> {
    let mut lines = vec![format!("{} {}", request.method(), request.uri().path_and_query().unwrap())];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    lines.sort();
    let mut response = Response::new(body::full(lines.join("\n")));
    for (name, value) in [("connection", "x-secret, keep-alive"), ("x-secret", "1"), ("x-kept", "1")] {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    Ok(response)
}

async fn echo(request: HttpRequest) -> Result<HttpResponse, CallError> {
    Ok(Response::new(request.into_body()))
}

/// Begins its answer when it has read the whole request.
async fn read_first(request: HttpRequest) -> Result<HttpResponse, CallError> {
    let bytes = request.into_body().collect().await.map_err(|error| CallError::Guest(error.to_string()))?.to_bytes();
    Ok(Response::new(body::full(bytes)))
}

/// A body that the test writes while the exchange goes on.
fn channel() -> (futures::channel::mpsc::UnboundedSender<Bytes>, Body) {
    use futures::StreamExt;
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    (sender, Body::new(http_body_util::StreamBody::new(receiver.map(|bytes| Ok(Frame::data(bytes))))))
}

async fn raw(house: &House, text: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(house.address()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_is_no_request_is_answered_all_the_same() {
    let house = House::start().await;
    assert!(raw(&house, "GARBAGE\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(house.stop().await);
}

#[tokio::test]
async fn a_request_keeps_its_host_and_says_where_it_came_from() {
    let house = House::start().await;
    let _pod = house.serve("hello.localhost", mirror).await;
    let mut connection = Http1::open(house.address()).await;
    let request = Request::builder()
        .uri("/a/b?c=d")
        .header("host", "hello.localhost:8080")
        .header("connection", "x-hop, host, close-later")
        .header("keep-alive", "5")
        .header("te", "trailers")
        .header("x-hop", "1")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-kept", "1")
        .body(body::empty());
    let response = connection.send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert!(names.contains(&"x-kept") && !names.contains(&"x-secret"), "{names:?}");
    let port = house.address().port();
    let expected = format!(
        "GET /a/b?c=d\nhost: hello.localhost:8080\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: hello.localhost:8080\n\
         x-forwarded-port: {port}\nx-forwarded-proto: http\nx-kept: 1"
    );
    assert_eq!(text(response).await, expected);
    assert!(house.stop().await);
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let house = House::start().await;
    let _pod = house.serve("hello.localhost", echo).await;
    let mut connection = Http1::open(house.address()).await;
    for number in 0..20 {
        let mut request = request("hello.localhost", "/");
        *request.method_mut() = Method::POST;
        *request.body_mut() = body::full(format!("number {number}"));
        assert_eq!(text(connection.send(request).await).await, format!("number {number}"));
    }
    assert!(house.metrics.encode().contains("coracle_proxy_ingress_connections 1"), "{}", house.metrics.encode());
    assert!(house.stop().await);
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_answered() {
    let house = House::start().await;
    let _pod = house.serve("hello.localhost", mirror).await;
    let (mut sender, _connection) = http2(house.address()).await;
    let get = |method: Method| {
        let uri = "http://hello.localhost:8080/x";
        Request::builder().method(method).uri(uri).body(body::empty()).unwrap()
    };
    let response = sender.send_request(get(Method::GET)).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let seen = text(response).await;
    assert!(seen.contains("host: hello.localhost:8080") && seen.starts_with("GET /x"), "{seen}");
    let response = sender.send_request(get(Method::HEAD)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, "");
    assert!(house.stop().await);
}

#[tokio::test]
async fn bodies_stream_both_ways_before_the_request_ends() {
    let house = House::start().await;
    let _pod = house.serve("echo.localhost", echo).await;
    let mut http1 = Http1::open(house.address()).await;
    let (mut http2, _connection) = http2(house.address()).await;
    for version in [1, 2] {
        let (sender, body) = channel();
        let uri = if version == 1 { "/" } else { "http://echo.localhost/" };
        let request = Request::post(uri).header("host", "echo.localhost").body(body).unwrap();
        let response = match version {
            1 => http1.send(request).await,
            _ => http2.send_request(request).await.unwrap(),
        };
        assert_eq!(response.status(), StatusCode::OK);
        let mut answer = response.into_body();
        for part in ["one", "two", "three"] {
            sender.unbounded_send(Bytes::from_static(part.as_bytes())).unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), part);
        }
        drop(sender);
        // HTTP/2 may say the end with a frame of nothing.
        while let Some(frame) = answer.frame().await {
            assert_eq!(frame.unwrap().into_data().unwrap(), "");
        }
    }
    assert!(house.stop().await);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_component() {
    let house = House::start().await;
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    struct OnDrop(Arc<Notify>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (on_begin, on_drop) = (Arc::clone(&begun), Arc::clone(&dropped));
    let _pod = house
        .serve("slow.localhost", move |request| {
            let (begun, guard) = (Arc::clone(&on_begin), OnDrop(Arc::clone(&on_drop)));
            async move {
                if request.uri().path() == "/slow" {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }
                std::mem::forget(guard);
                Ok(Response::new(body::empty()))
            }
        })
        .await;
    let mut stream = tokio::net::TcpStream::connect(house.address()).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: slow.localhost\r\n\r\n").await.unwrap();
    begun.notified().await;
    drop(stream);
    dropped.notified().await;
    assert!(house.stop().await);
}

#[tokio::test]
async fn a_request_that_nobody_wants_is_told_why() {
    let house = House::start().await;
    let at = house.address();
    let expect = async |host: &str, path: &str, status: u16, message: &str| {
        let (seen, text) = get(at, host, path).await;
        assert_eq!((seen.as_u16(), text.as_str()), (status, format!("{message}\n").as_str()), "{host}{path}");
    };
    expect("x", "/", 404, "no Ingress has a rule for host \"x\"").await;
    house.route("none.localhost", "none");
    let missing = "service default/none does not exist, but Ingress default/none.localhost names it";
    eventually(async || get(at, "none.localhost", "/").await.1.contains("does not exist")).await;
    expect("none.localhost", "/", 503, missing).await;
    house.service("none", &[]);
    eventually(async || !get(at, "none.localhost", "/").await.1.contains("does not exist")).await;
    expect("none.localhost", "/", 503, "service default/none has no ready endpoints").await;
    house.service("none", &["10.128.0.77"]);
    eventually(async || get(at, "none.localhost", "/").await.0 == 502).await;
    expect("none.localhost", "/", 502, "service default/none: nothing listens at 10.128.0.77:8080").await;
    let response = Http1::open(at).await.send(request("x", "/")).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(house.stop().await);
}

#[tokio::test]
async fn a_failing_component_has_a_status_of_its_own() {
    let house = House::start().await;
    let _pod = house
        .serve("fail.localhost", |request: HttpRequest| async move {
            match request.uri().path() {
                "/overloaded" => Err(CallError::Overloaded),
                "/late" => Err(CallError::Deadline),
                "/loop" => Err(CallError::LoopDetected),
                "/trap" => Err(CallError::Guest("unreachable".into())),
                _ => Ok(Response::new(body::empty())),
            }
        })
        .await;
    let mut connection = Http1::open(house.address()).await;
    for (path, status) in [("/overloaded", 503), ("/late", 504), ("/loop", 508), ("/trap", 500), ("/", 200)] {
        let response = connection.send(request("fail.localhost", path)).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{path}");
        text(response).await;
    }
    let metrics = house.metrics.encode();
    assert!(metrics.contains("coracle_proxy_ingress_requests_total{code=\"5xx\"}"), "{metrics}");
    assert!(house.stop().await);
}

#[tokio::test]
async fn odd_requests_are_refused_in_words() {
    let house = House::start().await;
    let _pod = house.serve("hello.localhost", mirror).await;
    let long = format!("GET / HTTP/1.1\r\nhost: hello.localhost\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", "400", "no Host header"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400", "more than one Host header"),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "400", "not a host name"),
        ("GET / HTTP/1.0\r\n\r\n", "404", "no Ingress has a rule for host \"\""),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", "501", "does not tunnel"),
        (
            "GET / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "501",
            "WebSockets are not offered yet",
        ),
        (
            "GET / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
            "200",
            "x-forwarded-host: hello.localhost",
        ),
        ("GET http://hello.localhost:1/x HTTP/1.1\r\nhost: other\r\n\r\n", "200", "host: hello.localhost:1"),
        ("GET / HTTP/1.1\r\nhost: HELLO.localhost.\r\n\r\n", "200", "host: HELLO.localhost."),
        (
            "POST / HTTP/1.1\r\nhost: hello.localhost\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n",
            "200",
            "POST /",
        ),
        // The rest of the head is not read, so that the answer may be lost to a reset.
        (long.as_str(), "431 or nothing", ""),
        ("nonsense\r\n\r\n", "400 or nothing", ""),
    ];
    for (sent, status, message) in cases {
        // Without it the connection would stay open for the next request.
        let sent =
            sent.replacen("\r\nhost", "\r\nconnection: close\r\nhost", usize::from(!sent.contains("connection:")));
        let mut stream = tokio::net::TcpStream::connect(house.address()).await.unwrap();
        let _ = stream.write_all(sent.as_bytes()).await;
        let mut seen = String::new();
        while !(seen.contains(message) && seen.contains("\r\n\r\n")) {
            let mut part = [0; 4096];
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => break,
                Ok(read) => seen.push_str(&String::from_utf8_lossy(&part[..read])),
            }
        }
        let begins = seen.get(9..12).unwrap_or("nothing");
        assert!(status.contains(begins), "{status}: {seen}");
        assert!(seen.contains(message), "{message}: {seen}");
    }
    assert!(house.stop().await);
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let house = House::start().await;
    let _pod = house.serve("hello.localhost", |_| async { Ok(Response::new(body::full("12345"))) }).await;
    let answer = raw(&house, "HEAD / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: 5"), "{answer}");
    assert!(house.stop().await);
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_the_component_reads_it() {
    let house = House::start().await;
    let _pod = house.serve("echo.localhost", read_first).await;
    let mut stream = tokio::net::TcpStream::connect(house.address()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: echo.localhost\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("100 Continue") {
        let mut part = [0; 256];
        let read = stream.read(&mut part).await.unwrap();
        seen.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    stream.write_all(b"body").await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8(rest).unwrap().ends_with("\r\n\r\nbody"));
    assert!(house.stop().await);
}

#[tokio::test]
async fn no_change_of_routes_drops_a_request() {
    let house = House::start().await;
    let _a = house.serve("a.localhost", |_| async { Ok(Response::new(body::full("a"))) }).await;
    let _b = house.serve("b.localhost", |_| async { Ok(Response::new(body::full("b"))) }).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (at, answered) = (house.address(), Arc::clone(&answered));
        load.spawn(async move {
            let mut connection = Http1::open(at).await;
            for _ in 0..150 {
                let response = connection.send(request("a.localhost", "/")).await;
                assert_eq!(response.status(), StatusCode::OK);
                let text = text(response).await;
                assert!(text == "a" || text == "b", "{text}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut swaps = 0;
    while !load.is_empty() {
        house.route("a.localhost", if swaps % 2 == 0 { "b" } else { "a" });
        swaps += 1;
        tokio::task::yield_now().await;
        while let Some(ended) = load.try_join_next() {
            ended.unwrap();
        }
    }
    assert_eq!(answered.load(Ordering::Relaxed), 600);
    assert!(swaps > 10, "{swaps}");
    assert!(house.stop().await);
}
