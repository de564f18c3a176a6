//! Calls, balancing and draining.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::*;

/// Answers when it is told to, with a body that ends when it is told to again.
#[derive(Default)]
struct Gate {
    head: Arc<Notify>,
    body: Arc<Notify>,
}

impl HttpEndpoint for Gate {
    fn call(&self, _: HttpRequest, _: Connection) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let (head, body) = (Arc::clone(&self.head), Arc::clone(&self.body));
        Box::pin(async move {
            head.notified().await;
            let end = futures::stream::once(async move {
                body.notified().await;
                Ok(http_body::Frame::data(bytes::Bytes::from_static(b"late")))
            });
            Ok(http::Response::new(Body::new(http_body_util::StreamBody::new(end))))
        })
    }
}

#[tokio::test]
async fn a_port_of_an_address_belongs_to_one_listener() {
    let network = network();
    let at = address("10.128.0.1:80");
    let held = named(&network, "10.128.0.1:80", "a");
    let error = network.listen_http(at, Arc::new(Named("b"))).unwrap_err();
    assert_eq!(error.to_string(), "port 80 of 10.128.0.1 is taken by another container of the pod");
    assert!(network.listening(at));
    drop(held);
    assert!(!network.listening(at));
    let refused = network.call(at, request(), Connection::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), "nothing listens at 10.128.0.1:80");
    let _held = named(&network, "10.128.0.1:80", "b");
    assert_eq!(text(network.call(at, request(), Connection::default()).await.unwrap()).await, "b");
}

#[tokio::test]
async fn a_closing_listener_refuses_new_calls_and_waits_for_bodies() {
    let network = network();
    let at = address("10.128.0.1:80");
    let gate = Arc::new(Gate::default());
    let listener = network.listen_http(at, Arc::<Gate>::clone(&gate)).unwrap();
    gate.head.notify_one();
    let response = network.call(at, request(), Connection::default()).await.unwrap();
    assert_eq!(listener.in_flight(), 1);
    let closing = listener.close(Duration::from_secs(20));
    tokio::pin!(closing);
    assert!(futures::poll!(&mut closing).is_pending());
    let refused = network.call(at, request(), Connection::default()).await;
    assert!(matches!(refused, Err(CallError::Refused { .. })));
    assert!(futures::poll!(&mut closing).is_pending());
    gate.body.notify_one();
    assert_eq!(text(response).await, "late");
    assert!(closing.await);
}

#[tokio::test]
async fn a_dropped_call_is_not_in_flight() {
    let network = network();
    let at = address("10.128.0.1:80");
    let gate = Arc::new(Gate::default());
    let listener = network.listen_http(at, Arc::<Gate>::clone(&gate)).unwrap();
    {
        let call = network.call(at, request(), Connection::default());
        tokio::pin!(call);
        assert!(futures::poll!(&mut call).is_pending());
        assert_eq!(listener.in_flight(), 1);
    }
    assert_eq!(listener.in_flight(), 0);
    gate.head.notify_one();
    drop(network.call(at, request(), Connection::default()).await.unwrap());
    assert!(listener.close(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn closing_gives_up_after_the_grace_period() {
    let network = network();
    let at = address("10.128.0.1:80");
    let listener = network.listen_http(at, Arc::new(Gate::default())).unwrap();
    let call = network.call(at, request(), Connection::default());
    tokio::pin!(call);
    assert!(futures::poll!(&mut call).is_pending());
    assert!(!listener.close(Duration::from_millis(1)).await);
}

#[tokio::test]
async fn deadlines_and_loops_end_a_call() {
    let network = network();
    let at = address("10.128.0.1:80");
    let _listener = network.listen_http(at, Arc::new(Gate::default())).unwrap();
    let now = Instant::now();
    for deadline in [now, now + Duration::from_millis(5)] {
        let late = network.call(at, request(), Connection::default().by(deadline)).await.unwrap_err();
        assert!(matches!(late, CallError::Deadline), "{late}");
    }
    let mut connection = Connection::default();
    for _ in 0..17 {
        connection = connection.onward(ip("10.128.0.1"));
    }
    let looped = network.call(at, request(), connection).await.unwrap_err();
    assert_eq!(looped.status(), http::StatusCode::LOOP_DETECTED);
}

async fn spread(network: &PodNetwork, calls: usize, source: &str) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    for _ in 0..calls {
        let connection = Connection { source: ip(source), ..Connection::default() };
        let response = network.call_service("shop/cart", &PortRef::Number(80), request(), connection).await.unwrap();
        *seen.entry(text(response).await).or_default() += 1;
    }
    seen
}

#[tokio::test]
async fn a_service_spreads_calls_and_passes_over_those_that_do_not_listen() {
    let network = network();
    let _a = named(&network, "10.128.0.1:8080", "a");
    let _b = named(&network, "10.128.0.2:8080", "b");
    let endpoints = ["10.128.0.1:8080", "10.128.0.2:8080", "10.128.0.3:8080"];
    network.set_services([service("shop/cart", Some("10.96.0.5"), 80, &endpoints)].into_iter().collect());
    let seen = spread(&network, 100, "10.128.0.9").await;
    assert_eq!(seen.values().sum::<usize>(), 100);
    assert!(seen["a"] > 20 && seen["b"] > 20, "{seen:?}");
}

#[tokio::test]
async fn the_endpoint_with_fewer_calls_in_flight_is_taken() {
    let network = network();
    let busy = network.listen_http(address("10.128.0.1:8080"), Arc::new(Gate::default())).unwrap();
    let call = network.call(busy.address(), request(), Connection::default());
    tokio::pin!(call);
    assert!(futures::poll!(&mut call).is_pending());
    let _b = named(&network, "10.128.0.2:8080", "b");
    let endpoints = ["10.128.0.1:8080", "10.128.0.2:8080"];
    network.set_services([service("shop/cart", Some("10.96.0.5"), 80, &endpoints)].into_iter().collect());
    assert_eq!(spread(&network, 20, "10.128.0.9").await["b"], 20);
}

#[tokio::test]
async fn affinity_keeps_a_caller_at_one_endpoint() {
    let network = network();
    let _a = named(&network, "10.128.0.1:8080", "a");
    let _b = named(&network, "10.128.0.2:8080", "b");
    let mut sticky = service("shop/cart", Some("10.96.0.5"), 80, &["10.128.0.1:8080", "10.128.0.2:8080"]);
    sticky.affinity = true;
    network.set_services([sticky].into_iter().collect());
    let mut used = HashMap::new();
    for last in 0..20 {
        let seen = spread(&network, 5, &format!("10.128.9.{last}")).await;
        assert_eq!(seen.len(), 1);
        used.extend(seen);
    }
    assert_eq!(used.len(), 2);
}

#[tokio::test]
async fn a_call_waits_for_the_table_when_every_endpoint_has_just_gone() {
    let network = PodNetwork::new(Config { settle: Duration::from_secs(30), ..Config::default() });
    let _new = named(&network, "10.128.0.2:8080", "new");
    let table = |endpoint| [service("shop/cart", Some("10.96.0.5"), 80, &[endpoint])].into_iter().collect();
    network.set_services(table("10.128.0.1:8080"));
    let port = PortRef::Number(80);
    let call = network.call_service("shop/cart", &port, request(), Connection::default());
    tokio::pin!(call);
    assert!(futures::poll!(&mut call).is_pending());
    network.set_services(table("10.128.0.2:8080"));
    assert_eq!(text(call.await.unwrap()).await, "new");
}

#[tokio::test]
async fn failures_of_a_service_say_what_is_wrong() {
    let network = network();
    let gone = service("shop/gone", Some("10.96.0.6"), 80, &["10.128.0.7:80"]);
    let empty = service("shop/empty", Some("10.96.0.7"), 80, &[]);
    network.set_services([gone, empty].into_iter().collect());
    let error = async |key: &str, port: u16| {
        let port = PortRef::Number(port);
        let call = network.call_service(key, &port, request(), Connection::default());
        call.await.unwrap_err().to_string()
    };
    assert_eq!(error("shop/empty", 80).await, "service shop/empty has no ready endpoints");
    assert_eq!(error("shop/gone", 80).await, "nothing listens at 10.128.0.7:80");
    assert_eq!(error("shop/gone", 81).await, "nothing listens at 10.96.0.6:81");
    assert_eq!(error("shop/none", 80).await, "no such host: shop/none");
}

#[test]
fn a_terminating_endpoint_is_the_last_resort() {
    let ready = Endpoint::ready(address("10.128.0.1:80"));
    let going = Endpoint { ready: false, terminating: true, ..Endpoint::ready(address("10.128.0.2:80")) };
    let starting = Endpoint { ready: false, serving: false, ..Endpoint::ready(address("10.128.0.3:80")) };
    let usable = |endpoints: &[&Endpoint]| {
        let port = ServicePort::new("", 80, endpoints.iter().map(|endpoint| (*endpoint).clone()).collect());
        port.usable().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(usable(&[&going, &ready, &starting]), ["10.128.0.1:80"]);
    assert_eq!(usable(&[&going, &starting]), ["10.128.0.2:80"]);
    assert!(usable(&[&starting]).is_empty());
}
