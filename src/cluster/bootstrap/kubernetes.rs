//! The `kubernetes` Service and its endpoint.

use std::net::SocketAddr;

use api::Status;
use objects::{Objects, WriteOptions};
use serde_json::json;

/// The first address of the service network.
const KUBERNETES_IP: &str = "10.96.0.1";
const NAME: &str = "kubernetes";

/// Makes them, and brings the endpoint to what it should be: it may be another after a restart.
pub(super) async fn ensure(objects: &Objects, endpoint: SocketAddr, options: &WriteOptions) -> Result<(), Status> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": NAME, "namespace": "default", "labels": { "component": "apiserver", "provider": NAME } },
        "spec": {
            "clusterIP": KUBERNETES_IP,
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": endpoint.port() }],
        },
    });
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": [{ "ip": endpoint.ip() }],
            "ports": [{ "name": "https", "port": endpoint.port(), "protocol": "TCP" }],
        }],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": NAME, "namespace": "default", "labels": { "kubernetes.io/service-name": NAME } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [endpoint.ip()], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": endpoint.port(), "protocol": "TCP" }],
    });
    let service = super::ensure(objects, &service, options);
    let endpoints = super::renew(objects, &endpoints, &["subsets"], options);
    let slice = super::renew(objects, &slice, &["endpoints", "ports"], options);
    tokio::try_join!(service, endpoints, slice).map(drop)
}
