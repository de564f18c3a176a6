//! The network through its door.

mod addresses;
mod calls;
mod connections;
mod names;
mod threads;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use http_body_util::BodyExt;

use crate::*;

/// Answers with its own name.
struct Named(&'static str);

impl HttpEndpoint for Named {
    fn call(&self, _: HttpRequest, _: Connection) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let name = self.0;
        Box::pin(async move { Ok(http::Response::new(body::full(name))) })
    }
}

fn request() -> HttpRequest {
    http::Request::builder().uri("/").header("host", "x").body(body::empty()).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn text(response: HttpResponse) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn service(key: &str, cluster_ip: Option<&str>, port: u16, endpoints: &[&str]) -> Service {
    let endpoints = endpoints.iter().map(|endpoint| Endpoint::ready(address(endpoint))).collect();
    Service {
        key: key.to_owned(),
        cluster_ips: cluster_ip.into_iter().map(ip).collect(),
        ports: vec![ServicePort::new("http", port, endpoints)],
        ..Service::default()
    }
}

fn network() -> PodNetwork {
    PodNetwork::new(Config { settle: std::time::Duration::from_millis(20), ..Config::default() })
}

fn named(network: &PodNetwork, at: &str, name: &'static str) -> Listener {
    network.listen_http(address(at), Arc::new(Named(name))).unwrap()
}
