//! Writes where an Ingress is reached into its status.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::backoff::Backoff;
use client::Client;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The Ingresses whose status does not say that they are reached at `address`.
pub(crate) fn stale(served: &[Arc<Ingress>], address: SocketAddr) -> Vec<Arc<Ingress>> {
    served.iter().filter(|ingress| !says(ingress, address)).cloned().collect()
}

fn says(ingress: &Ingress, address: SocketAddr) -> bool {
    let points = ingress.status.iter().flat_map(|status| &status.load_balancer).flat_map(|balancer| &balancer.ingress);
    let mut points = points.flatten();
    let says = |point: &IngressLoadBalancerIngress| {
        let ports: Vec<i32> = point.ports.iter().flatten().map(|port| port.port).collect();
        point.ip.as_deref() == Some(&address.ip().to_string()) && ports == [i32::from(address.port())]
    };
    points.next().is_some_and(says) && points.next().is_none()
}

/// The port is part of it: where nobody is root, it rarely is 80.
pub(crate) fn patch(address: SocketAddr) -> Value {
    let point = json!({ "ip": address.ip(), "ports": [{ "port": address.port(), "protocol": "TCP" }] });
    json!({ "status": { "loadBalancer": { "ingress": [point] } } })
}

/// Keeps the status of the Ingresses in `served` current. When the API does not answer, tries again later.
pub(crate) async fn keep(client: Client, address: SocketAddr, mut served: watch::Receiver<Vec<Arc<Ingress>>>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60));
    loop {
        let wanting = stale(&served.borrow_and_update(), address);
        let mut failed = false;
        for ingress in wanting {
            failed |= !publish(&client, &ingress, address).await;
        }
        let retry = if failed {
            backoff.fail()
        } else {
            backoff.reset();
            Duration::MAX
        };
        tokio::select! {
            changed = served.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(retry) => {}
        }
    }
}

async fn publish(client: &Client, ingress: &Ingress, address: SocketAddr) -> bool {
    let metadata = &ingress.metadata;
    let (Some(namespace), Some(name)) = (metadata.namespace.as_deref(), metadata.name.as_deref()) else { return true };
    let api: Api<Ingress> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams { field_manager: Some("coracle-ingress".to_owned()), ..PatchParams::default() };
    match api.patch_status(name, &params, &Patch::Merge(patch(address))).await {
        Ok(_) => true,
        Err(error) if client::is_not_found(&error) => true,
        Err(error) => {
            tracing::debug!(%error, namespace, name, "cannot write the status of an Ingress yet");
            false
        }
    }
}
