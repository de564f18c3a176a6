//! `pods/NAME/portforward`: connections to a pod's ports, many in one WebSocket.

mod channels;
mod tunnel;

use std::sync::Arc;

use api::{Status, meta};
use axum::extract::FromRequestParts;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use serde_json::Value;

use crate::gateway::{ContainerAddress, Duplex, NodeGateway};
use crate::query::Query;
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::Target;

#[cfg(test)]
pub(crate) use tunnel::{read_frames, spdy_dictionary};

/// A byte for the channel in front of each message, two channels a port.
const CHANNELS: [&str; 2] = ["v4.channel.k8s.io", "portforward.k8s.io"];
/// SPDY inside the WebSocket; the ports are named by the streams.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

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
    let revision = objects::Revisions::default();
    let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
    let dialer = Dialer { gateway: call.server.gateway.read().clone(), pod: address(&found.value())? };
    let ports = ports(&call.query)?;
    let ending = call.ending.clone();
    let upgrade = upgrade(call).await?.protocols([TUNNEL, CHANNELS[0], CHANNELS[1]]);
    let tunnelled = match upgrade.selected_protocol().and_then(|protocol| protocol.to_str().ok()) {
        Some(TUNNEL) => true,
        Some(_) if ports.is_empty() => return Err(Status::bad_request("query parameter \"ports\" is required")),
        Some(_) => false,
        None => {
            let known = format!("{TUNNEL} or {}", CHANNELS.join(" or "));
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
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (node, phase) = (text("/spec/nodeName"), text("/status/phase"));
    if node.is_empty() || phase != "Running" {
        return Err(Status::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    Ok(ContainerAddress {
        namespace: meta::namespace(pod).to_owned(),
        pod: meta::name(pod).to_owned(),
        uid: meta::uid(pod).to_owned(),
        container: String::new(),
        node,
    })
}

/// The query may repeat the parameter, or put several ports into one.
fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let texts = query.all("ports").flat_map(|text| text.split(','));
    let wrong = |text: &str| {
        Status::bad_request(format!("port {text:?} is not understood; a port is a number from 1 to 65535"))
    };
    texts.map(|text| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| wrong(text))).collect()
}

async fn upgrade(call: Call) -> Result<WebSocketUpgrade, Status> {
    let mut request = http::Request::new(());
    *request.method_mut() = call.method;
    *request.uri_mut() = call.uri;
    *request.headers_mut() = call.headers;
    *request.extensions_mut() = call.extensions;
    let (mut parts, ()) = request.into_parts();
    let wrong = |rejection: axum::extract::ws::rejection::WebSocketUpgradeRejection| {
        Status::bad_request(format!("upgrade request required: {rejection}"))
    };
    WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(wrong)
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
