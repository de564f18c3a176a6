//! Connections, and where they meet calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::pipe::PIPE_BYTES;

const POD: &str = "10.128.0.1:7000";

fn listen(network: &PodNetwork, at: &str) -> TcpListener {
    network.listen_tcp(address(at), TcpOptions::default()).unwrap()
}

/// Sends back what it is sent, connection after connection.
fn echo(mut listener: TcpListener) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_local(async move {
        loop {
            let (mut reader, mut writer) = tokio::io::split(listener.accept().await);
            tokio::task::spawn_local(async move {
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    })
}

async fn said(mut stream: Stream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let network = network();
    let mut listener = listen(&network, POD);
    let (client, server) = tokio::join!(network.connect(address(POD), ip("10.128.0.9")), listener.accept());
    let (mut client, mut server) = (client.unwrap(), server);
    assert_eq!((client.peer_address(), server.local_address()), (address(POD), address(POD)));
    assert_eq!(server.peer_address(), client.local_address());
    assert_eq!(server.peer_address().ip(), ip("10.128.0.9"));
    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "ping");
    server.write_all(b"pong").await.unwrap();
    assert_eq!(listener.connections(), 1);
    drop(server);
    text.clear();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "pong");
    assert_eq!(listener.connections(), 0);
    assert!(client.write_all(b"more").await.is_err());
}

#[tokio::test]
async fn a_writer_waits_when_nobody_reads() {
    let (mut left, mut right) = Stream::pair(address("10.128.0.1:1"), address("10.128.0.2:2"));
    let data: Vec<u8> = (0..PIPE_BYTES + 1).map(|index| index as u8).collect();
    {
        let writing = left.write_all(&data);
        tokio::pin!(writing);
        assert!(futures::poll!(&mut writing).is_pending());
        let mut first = vec![0; PIPE_BYTES];
        right.read_exact(&mut first).await.unwrap();
        assert_eq!(first, data[..PIPE_BYTES]);
        writing.await.unwrap();
    }
    drop(left);
    let mut rest = Vec::new();
    right.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, data[PIPE_BYTES..]);
}

/// Has so much.
struct Purse(AtomicUsize);

impl Payer for Purse {
    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
    fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn bytes_under_way_are_paid_for_until_they_are_read() {
    let purse = Arc::new(Purse(AtomicUsize::new(100)));
    let (left, mut right) = Stream::pair(address("10.128.0.1:1"), address("10.128.0.2:2"));
    let (_reader, mut writer) = left.into_split();
    writer.pay_by(Arc::clone(&purse) as Arc<dyn Payer>);
    writer.write_bytes(vec![1; 60].into()).unwrap();
    assert_eq!(writer.write_bytes(vec![1; 60].into()), Err(Broken::NoMemory));
    let mut read = [0; 50];
    right.read_exact(&mut read).await.unwrap();
    assert_eq!(purse.0.load(Ordering::Relaxed), 90);
    drop(right);
    assert_eq!(purse.0.load(Ordering::Relaxed), 100);
    assert_eq!(writer.write_bytes(vec![1].into()), Err(Broken::Reset));
}

#[tokio::test]
async fn who_does_not_listen_refuses_and_who_stops_breaks_what_waited() {
    let network = network();
    let refused = network.connect(address(POD), ip("10.128.0.9")).await.unwrap_err();
    assert_eq!(refused.to_string(), "nothing listens at 10.128.0.1:7000");
    let listener = listen(&network, POD);
    assert!(network.listen_tcp(address(POD), TcpOptions::default()).is_err());
    let mut waiting = network.connect(address(POD), ip("10.128.0.9")).await.unwrap();
    drop(listener);
    assert_eq!(waiting.read(&mut [0; 1]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(!network.is_bound(address(POD)));
}

#[tokio::test]
async fn a_full_queue_makes_the_next_wait() {
    let network = network();
    let options = TcpOptions { backlog: 1, ..TcpOptions::default() };
    let mut listener = network.listen_tcp(address(POD), options).unwrap();
    let _first = network.connect(address(POD), ip("10.128.0.9")).await.unwrap();
    let second = network.connect(address(POD), ip("10.128.0.9"));
    tokio::pin!(second);
    assert!(futures::poll!(&mut second).is_pending());
    listener.accept().await;
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn loopback_is_the_pods_own() {
    let network = network();
    let options = TcpOptions { local_only: true, ..TcpOptions::default() };
    let _listener = network.listen_tcp(address(POD), options).unwrap();
    assert!(!network.listening(address(POD)) && network.is_bound(address(POD)));
    for own in ["127.0.0.1:7000", "[::1]:7000", "0.0.0.0:7000", POD] {
        assert!(network.connect(address(own), ip("10.128.0.1")).await.is_ok(), "{own}");
    }
    assert!(network.connect_host("localhost", 7000, "shop", ip("10.128.0.1")).await.is_ok());
    assert!(network.connect(address(POD), ip("10.128.0.9")).await.is_err());
    let call = network.call(address(POD), request(), Connection::default()).await;
    assert!(matches!(call, Err(CallError::Refused { .. })));
    let port = network.free_port(ip("10.128.0.1")).unwrap();
    assert!((32_768..61_000).contains(&port));
}

#[tokio::test]
async fn services_lead_to_those_who_listen() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let network = network();
            echo(listen(&network, "10.128.0.1:7000"));
            let endpoints = ["10.128.0.1:7000", "10.128.0.2:7000"];
            network.set_services([service("shop/echo", Some("10.96.0.5"), 70, &endpoints)].into_iter().collect());
            let from = ip("10.128.0.9");
            for _ in 0..4 {
                let stream = network.connect_host("echo.shop.svc.cluster.local", 70, "default", from).await.unwrap();
                assert_eq!(said(stream, "hello").await, "hello");
            }
            let stream = network.connect(address("10.96.0.5:70"), from).await.unwrap();
            assert_eq!(stream.peer_address(), address("10.128.0.1:7000"));
            assert_eq!(said(stream, "hello").await, "hello");
            let missing = network.connect_host("echo", 71, "shop", from).await.unwrap_err();
            assert_eq!(missing.to_string(), "nothing listens at 10.96.0.5:71");
            assert!(matches!(network.connect_host("nobody", 1, "shop", from).await, Err(CallError::NoSuchHost { .. })));
        })
        .await;
}

#[tokio::test]
async fn a_closing_listener_waits_for_its_connections() {
    let network = network();
    let mut listener = listen(&network, POD);
    let client = network.connect(address(POD), ip("10.128.0.9")).await.unwrap();
    let server = listener.accept().await;
    let closing = listener.close(Duration::from_secs(20));
    tokio::pin!(closing);
    assert!(futures::poll!(&mut closing).is_pending());
    assert!(network.connect(address(POD), ip("10.128.0.9")).await.is_err());
    drop(client);
    assert!(futures::poll!(&mut closing).is_pending());
    drop(server);
    assert!(closing.await);
}

#[tokio::test]
async fn on_a_connection_to_an_http_endpoint_http_is_read() {
    let network = network();
    let listener = named(&network, POD, "component");
    let mut stream = network.connect(address(POD), ip("10.128.0.9")).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"component") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    // A connection that is kept does not hold up the end.
    assert!(listener.close(Duration::from_secs(20)).await);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_call_of_who_listens_for_connections_is_http_on_one() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let network = network();
            let mut listener = listen(&network, POD);
            let server = tokio::task::spawn_local(async move {
                let mut stream = listener.accept().await;
                let mut head = Vec::new();
                while !head.ends_with(b"0\r\n\r\n") {
                    assert!(stream.read_buf(&mut head).await.unwrap() > 0);
                }
                stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                let broken = listener.accept().await;
                drop(broken);
                (String::from_utf8(head).unwrap(), listener)
            });
            let parts = futures::stream::iter([Ok(http_body::Frame::data(bytes::Bytes::from_static(b"part")))]);
            let request = http::Request::post("http://echo.shop/path?x=1")
                .header("host", "echo.shop")
                .body(Body::new(http_body_util::StreamBody::new(parts)))
                .unwrap();
            let response = network.call(address(POD), request, Connection::default()).await.unwrap();
            assert_eq!(response.status(), 201);
            assert_eq!(text(response).await, "ok");
            let failed = network.call(address(POD), super::request(), Connection::default()).await.unwrap_err();
            assert_eq!(failed.status(), http::StatusCode::BAD_GATEWAY, "{failed}");
            let (head, listener) = server.await.unwrap();
            assert!(head.starts_with("POST /path?x=1 HTTP/1.1\r\nhost: echo.shop\r\n"), "{head}");
            assert!(listener.close(Duration::from_secs(20)).await);
        })
        .await;
}

#[test]
fn calls_go_in_proportion_to_weights() {
    let weighted = |at: &str, weight| Endpoint { weight, ..Endpoint::ready(address(at)) };
    let endpoints = vec![
        weighted("10.128.0.1:80", Some(70)),
        weighted("10.128.0.2:80", Some(20)),
        weighted("10.128.0.3:80", Some(10)),
        weighted("10.128.0.4:80", Some(0)),
    ];
    let port = ServicePort::new("", 80, endpoints);
    let turns = port.turns().unwrap();
    for _ in 0..10 {
        let mut counts = [0i32; 4];
        (0..100).for_each(|_| counts[turns.next()] += 1);
        for (count, weight) in counts.iter().zip([70, 20, 10, 0]) {
            assert!((count - weight).abs() <= 2, "{counts:?}");
        }
        assert_eq!(counts[3], 0);
    }
    assert!(ServicePort::new("", 80, vec![weighted("10.128.0.1:80", Some(0))]).turns().is_none());
    assert!(ServicePort::new("", 80, vec![weighted("10.128.0.1:80", None)]).turns().is_none());
}
