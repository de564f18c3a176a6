//! What every cluster has from the start: its namespaces and the `kubernetes` Service.

use std::net::SocketAddr;

use client::Client;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Kubernetes' own namespaces.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The first address of the service network.
const KUBERNETES_IP: &str = "10.96.0.1";
const NAME: &str = "kubernetes";

/// Makes what is missing. `endpoint` is where the API answers on the pod network.
///
/// # Errors
/// The first refusal of the API.
pub async fn run(client: &Client, endpoint: SocketAddr) -> Result<(), kube::Error> {
    for name in NAMESPACES {
        let namespace = json!({ "metadata": { "name": name } });
        ensure(&Api::<Namespace>::all(client.clone()), namespace).await?;
    }
    let service = json!({
        "metadata": { "name": NAME, "labels": { "component": "apiserver", "provider": NAME } },
        "spec": {
            "clusterIP": KUBERNETES_IP,
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": endpoint.port() }],
        },
    });
    ensure(&Api::<Service>::namespaced(client.clone(), "default"), service).await?;
    let endpoints = json!({
        "metadata": { "name": NAME, "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
        "subsets": [{
            "addresses": [{ "ip": endpoint.ip() }],
            "ports": [{ "name": "https", "port": endpoint.port(), "protocol": "TCP" }],
        }],
    });
    renew(&Api::<Endpoints>::namespaced(client.clone(), "default"), endpoints).await?;
    let slice = json!({
        "metadata": { "name": NAME, "labels": { "kubernetes.io/service-name": NAME } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [endpoint.ip()], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": endpoint.port(), "protocol": "TCP" }],
    });
    renew(&Api::<EndpointSlice>::namespaced(client.clone(), "default"), slice).await
}

/// Creates an object unless it is there.
async fn ensure<K>(api: &Api<K>, object: Value) -> Result<(), kube::Error>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        Err(error) if !client::is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Creates an object, or brings it to what it should be: the endpoint's address may be another after a restart.
async fn renew<K>(api: &Api<K>, object: Value) -> Result<(), kube::Error>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(NAME).to_owned();
    let typed: K = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &typed).await {
        Err(error) if client::is_conflict(&error) => {
            api.patch(&name, &PatchParams::default(), &Patch::Merge(object)).await.map(drop)
        }
        other => other.map(drop),
    }
}
