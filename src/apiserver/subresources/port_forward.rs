//! `pods/NAME/portforward`: connections to a pod's ports, many in one WebSocket.

mod channels;
mod tunnel;

use std::sync::Arc;

use api::Status;
use axum::extract::ws::WebSocket;
use objects::Sub;
use serde_json::{Value, json};

use super::{pods, spdy};
use crate::gateway::{ContainerAddress, Duplex, NodeGateway};
use crate::query::Query;
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::Target;

#[cfg(test)]
pub(crate) use tunnel::read_frames;

/// SPDY inside the WebSocket; the ports are named by the streams.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// The same without a WebSocket around it.
const SPDY: &str = "portforward.k8s.io";
/// The others put a byte for the channel in front of each message, two channels a port.
const PROTOCOLS: [&str; 4] = [TUNNEL, "v5.channel.k8s.io", "v4.channel.k8s.io", "portforward.k8s.io"];

/// Opens connections to one pod.
#[derive(Clone)]
struct Dialer {
    gateway: Arc<dyn NodeGateway>,
    pod: ContainerAddress,
}

impl Dialer {
    async fn dial(&self, port: u16) -> Result<Box<dyn Duplex>, Status> {
        self.gateway.port_forward(&self.pod, port).await
    }
}

pub(super) async fn answer(call: Call, target: Target) -> Result<Reply, Status> {
    pods::may_create(&call).await?;
    let revision = objects::Revisions::default();
    let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
    let dialer = Dialer { gateway: call.server.gateway.read().clone(), pod: address(&found.value())? };
    let ports = ports(&call.query)?;
    let ending = call.ending.clone();
    let options = json!({ "kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": ports });
    pods::admit(&call, &target, Sub::Named("portforward"), options).await?;
    if spdy::is_asked_for(&call) {
        let protocol = spdy::negotiate(&call, &[SPDY])?;
        return spdy::upgrade(call, protocol, move |wire| async move { tunnel::serve_wire(wire, &dialer).await });
    }
    let (upgrade, selected) = pods::upgrade(call, &PROTOCOLS).await?;
    let tunnelled = match selected.as_deref() {
        Some(TUNNEL) => true,
        Some(_) if ports.is_empty() => return Err(Status::bad_request("query parameter \"ports\" is required")),
        Some(_) => false,
        None => {
            let known = PROTOCOLS.join(" or ");
            return Err(Status::bad_request(format!("port-forward needs a WebSocket that speaks {known}")));
        }
    };
    let response = upgrade.on_upgrade(move |socket: WebSocket| async move {
        let carry = async {
            if tunnelled {
                tunnel::serve(socket, &dialer).await
            } else {
                channels::serve(socket, &dialer, &ports).await
            }
        };
        tokio::select! {
            () = carry => {}
            () = ending.cancelled() => {}
        }
    });
    Ok(Reply::ready(response))
}

fn address(pod: &Value) -> Result<ContainerAddress, Status> {
    let address = pods::address(pod, "")?;
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    if phase != "Running" {
        return Err(Status::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    Ok(address)
}

/// The query may repeat the parameter, or put several ports into one.
fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let texts = query.all("ports").flat_map(|text| text.split(','));
    let wrong = |text: &str| {
        Status::bad_request(format!("port {text:?} is not understood; a port is a number from 1 to 65535"))
    };
    texts.map(|text| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| wrong(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_both_forms() {
        for (text, wanted) in [
            ("ports=80&ports=443", Some(vec![80, 443])),
            ("ports=80,443", Some(vec![80, 443])),
            ("", Some(vec![])),
            ("ports=0", None),
            ("ports=http", None),
            ("ports=70000", None),
        ] {
            assert_eq!(ports(&Query::parse(Some(text))).ok(), wanted, "{text}");
        }
    }
}
