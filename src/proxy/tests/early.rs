//! Pods that are ready before the API says so.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use k8s_openapi::api::core::v1::{Pod, Service};
use network::{Activator, Connection, PortRef, body};
use serde_json::json;

use super::house::{House, Native, eventually};
use super::object;

/// Every workload sleeps.
struct Always;

impl Activator for Always {
    fn wake(&self, _: &str) -> bool {
        true
    }
}

fn pod(app: &str) -> Arc<Pod> {
    let ports = json!([{ "name": "web", "containerPort": 8080 }]);
    Arc::new(object(json!({
        "metadata": { "namespace": "default", "name": app, "labels": { "app": app } },
        "spec": { "containers": [{ "name": "main", "ports": ports }] },
    })))
}

#[tokio::test(flavor = "multi_thread")]
async fn held_calls_go_to_a_pod_in_the_moment_that_it_is_ready() {
    let house = House::start().await;
    house.network.set_activator(Arc::new(Always));
    house.informers.of::<Service>().apply(object(json!({
        "metadata": { "namespace": "default", "name": "sleepy" },
        "spec": { "selector": { "app": "sleepy" }, "ports": [
            { "name": "datagrams", "port": 80, "targetPort": 9, "protocol": "UDP" },
            { "name": "http", "port": 80, "targetPort": "web" },
        ] },
    })));
    eventually(async || house.network.services().get("default/sleepy").is_some()).await;
    let own = house.network.allocate().unwrap().ip();
    let usable = |address: IpAddr| house.network.services().leads_to(address);
    let request = Request::get("/").body(body::empty()).unwrap();
    let call = house.network.call_service("default/sleepy", &PortRef::Number(80), request, Connection::default());
    let arrival = async {
        eventually(async || house.network.awaited("default") == ["default/sleepy"]).await;
        assert!(house.network.awaited("shop").is_empty());
        let answer = Native(|_| async { Ok(Response::new(body::empty())) });
        let listener = house.network.listen_http(SocketAddr::new(own, 8080), Arc::new(answer)).unwrap();
        house.early.ready(&pod("other"), own);
        house.early.ready(&pod("sleepy"), own);
        listener
    };
    let (answer, _listener) = tokio::join!(call, arrival);
    assert!(answer.unwrap().status().is_success());
    assert!(usable(own));

    // Where nothing comes of it, only what the API says counts in the end; and whom nobody waits for is not listened to.
    eventually(async || !usable(own)).await;
    house.early.ready(&pod("sleepy"), own);
    assert!(house.network.awaited("default").is_empty());
    assert!(house.stop().await);
}
