//! How an ingress starts, and what it tells the API.

use std::num::NonZeroUsize;

use base::Tasks;
use base::metrics::Metrics;
use client::informers::Informers;
use k8s_openapi::api::networking::v1::Ingress;
use network::{DataThreads, PodNetwork};
use serde_json::json;

use super::house::*;
use super::object;
use crate::{Config, start};

#[tokio::test]
async fn a_port_in_use_says_which_option_to_change() {
    let house = House::start().await;
    let service = tower::service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    });
    let (client, tasks) = (client::in_process(service, "default"), Tasks::new());
    let informers = Informers::new(client.clone(), &tasks);
    let threads = DataThreads::start(NonZeroUsize::MIN).unwrap();
    let network = PodNetwork::new(network::Config::default());
    let config = Config { listen: house.address(), ..Config::default() };
    let error = start(config, client, &informers, network, threads.clone(), &Metrics::default(), &tasks).await;
    let expected = format!(
        "cannot listen on {} for the ingress (address in use); choose another address with --ingress-listen",
        house.address()
    );
    assert_eq!(error.unwrap_err().to_string(), expected);
    threads.stop().await;
    assert!(house.stop().await);
}

#[tokio::test]
async fn the_class_is_created_and_ingresses_learn_their_address() {
    let house = House::start().await;
    assert!(house.services.is_ready() && house.running.ready.is_ready());
    house.route("hello.localhost", "hello");
    house.informers.of::<Ingress>().apply(object(json!({
        "metadata": { "namespace": "default", "name": "foreign" },
        "spec": { "ingressClassName": "nginx", "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } },
    })));
    let is_asked = async |what: &str| {
        eventually(async || house.asked.lock().iter().any(|(asked, _)| asked == what)).await;
        house.asked.lock().iter().find(|(asked, _)| asked == what).unwrap().1.clone()
    };
    let class = is_asked("POST /apis/networking.k8s.io/v1/ingressclasses").await;
    assert_eq!(class["metadata"]["name"], "coracle");
    assert_eq!(class["spec"]["controller"], "coracle.dev/ingress");
    assert_eq!(class["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"], "true");
    let path = "PATCH /apis/networking.k8s.io/v1/namespaces/default/ingresses/hello.localhost/status";
    let address = json!({ "ip": "127.0.0.1", "ports": [{ "port": house.address().port(), "protocol": "TCP" }] });
    assert_eq!(is_asked(path).await, json!({ "status": { "loadBalancer": { "ingress": [address] } } }));
    assert!(house.asked.lock().iter().all(|(asked, _)| !asked.contains("foreign")));
    assert!(house.stop().await);
}
