//! Writes where an Ingress is reached into its status.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::backoff::Backoff;
use client::Client;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress, IngressPortStatus};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;

/// The points of a status.
type Points = Vec<IngressLoadBalancerIngress>;

/// Where this ingress is reached. The port is part of it: where nobody is root, it rarely is 80.
fn point(address: SocketAddr) -> IngressLoadBalancerIngress {
    let port = IngressPortStatus { port: address.port().into(), protocol: "TCP".to_owned(), ..Default::default() };
    let (ip, ports) = (Some(address.ip().to_string()), Some(vec![port]));
    IngressLoadBalancerIngress { ip, ports, hostname: None }
}

/// The points that an Ingress is to have, when it lacks this one. What stands there when it is met for the first time is left
/// from an earlier run; what comes later is another ingress beside this one, and both stay.
fn wanted(ingress: &Ingress, own: &IngressLoadBalancerIngress, is_first: bool) -> Option<Points> {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let held = balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default();
    match held.contains(own) {
        true => None,
        false if is_first => Some(vec![own.clone()]),
        false => Some(held.into_iter().chain([own.clone()]).collect()),
    }
}

/// Keeps the status of the Ingresses in `served` current. When the API does not answer, tries again later.
pub(crate) async fn keep(client: Client, address: SocketAddr, mut served: watch::Receiver<Vec<Arc<Ingress>>>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60));
    let own = point(address);
    // Those that were met, by uid.
    let mut met: HashSet<String> = HashSet::new();
    loop {
        let present = served.borrow_and_update().clone();
        let uid = |ingress: &Ingress| ingress.metadata.uid.clone().unwrap_or_default();
        let uids: HashSet<String> = present.iter().map(|ingress| uid(ingress)).collect();
        met.retain(|uid| uids.contains(uid));
        let mut failed = false;
        for ingress in present {
            let Some(points) = wanted(&ingress, &own, !met.contains(&uid(&ingress))) else {
                met.insert(uid(&ingress));
                continue;
            };
            if publish(&client, &ingress, points).await {
                met.insert(uid(&ingress));
            } else {
                failed = true;
            }
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

async fn publish(client: &Client, ingress: &Ingress, points: Points) -> bool {
    let metadata = &ingress.metadata;
    let (Some(namespace), Some(name)) = (metadata.namespace.as_deref(), metadata.name.as_deref()) else { return true };
    let api: Api<Ingress> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams { field_manager: Some("coracle-ingress".to_owned()), ..PatchParams::default() };
    let patch = json!({ "status": { "loadBalancer": { "ingress": points } } });
    match api.patch_status(name, &params, &Patch::Merge(patch)).await {
        Ok(_) => true,
        Err(error) if client::is_not_found(&error) => true,
        Err(error) => {
            tracing::debug!(%error, namespace, name, "cannot write the status of an Ingress yet");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_an_earlier_run_goes_and_another_ingress_stays() {
        let (own, other) = (point(([127, 0, 0, 1], 80).into()), point(([127, 0, 0, 1], 81).into()));
        let with = |points: &[&IngressLoadBalancerIngress]| -> Ingress {
            serde_json::from_value(json!({ "status": { "loadBalancer": { "ingress": points } } })).unwrap()
        };
        for (held, is_first, expected) in [
            (vec![], true, Some(vec![&own])),
            (vec![&other], true, Some(vec![&own])),
            (vec![&other], false, Some(vec![&other, &own])),
            (vec![&own, &other], true, None),
            (vec![&other, &own], false, None),
        ] {
            let expected = expected.map(|points| points.into_iter().cloned().collect::<Vec<_>>());
            assert_eq!(wanted(&with(&held), &own, is_first), expected);
        }
    }
}
