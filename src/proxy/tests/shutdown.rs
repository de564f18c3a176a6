//! How an ingress ends.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use network::body;
use tokio::sync::Notify;

use super::house::*;
use crate::Config;

/// A house with a pod that answers `/slow` when it is told to.
async fn slow(config: Config) -> (House, network::Listener, Arc<Notify>, Arc<Notify>) {
    let house = House::with(config).await;
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_begin, on_go) = (Arc::clone(&begun), Arc::clone(&go));
    let pod = house
        .serve("slow.localhost", move |request: network::HttpRequest| {
            let (begun, go) = (Arc::clone(&on_begin), Arc::clone(&on_go));
            async move {
                if request.uri().path() == "/slow" {
                    begun.notify_one();
                    go.notified().await;
                }
                Ok(Response::new(body::full("done")))
            }
        })
        .await;
    (house, pod, begun, go)
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_clients_are_told_to_close() {
    let (house, _pod, begun, go) = slow(Config::default()).await;
    let mut idle = Http1::open(house.address()).await;
    text(idle.send(request("slow.localhost", "/")).await).await;
    let mut busy = Http1::open(house.address()).await;
    let answer = busy.send(request("slow.localhost", "/slow"));
    tokio::pin!(answer);
    tokio::select! {
        _ = answer.as_mut() => panic!("it was answered too early"),
        () = begun.notified() => {}
    }
    house.begin_stop();
    idle.closed().await;
    let address = house.address();
    eventually(async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    go.notify_one();
    let response = answer.await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await, "done");
    assert!(house.stop().await);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let (house, _pod, begun, _go) = slow(Config { grace: Duration::from_millis(20), ..Config::default() }).await;
    let mut busy = Http1::open(house.address()).await;
    let answer = busy.try_send(request("slow.localhost", "/slow"));
    tokio::pin!(answer);
    tokio::select! {
        _ = answer.as_mut() => panic!("it was answered too early"),
        () = begun.notified() => {}
    }
    assert!(house.stop().await);
    assert!(answer.await.is_err());
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away() {
    let limits = crate::ingress::Limits { header_timeout: Duration::from_millis(20), ..Default::default() };
    let house = House::with(Config { limits, ..Config::default() }).await;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for begins in ["", "GE", "GET / HTTP/1.1\r\nhost:"] {
        let mut stream = tokio::net::TcpStream::connect(house.address()).await.unwrap();
        stream.write_all(begins.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{begins:?}");
    }
    assert!(house.stop().await);
}
