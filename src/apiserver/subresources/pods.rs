//! What the subresources that connect to a pod have in common: which container, where it runs, who may, the upgrade.

use api::{AccessRequest, Status, meta};
use axum::extract::ws::WebSocketUpgrade;
use http::header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use objects::{Sub, Subject};
use serde_json::Value;

use crate::forwarding::websocket;
use crate::gateway::ContainerAddress;
use crate::server::{Call, access_request};
use crate::verbs::Target;

const LISTS: [(&str, &str); 3] = [
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
];

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).into_iter().flatten();
    containers.filter_map(|container| container.get("name").and_then(Value::as_str)).collect()
}

/// The container that is asked for, or the only one. The annotation that names a default is the client's to read.
pub(super) fn container(pod: &Value, asked: Option<&str>) -> Result<String, Status> {
    let pod_name = meta::name(pod);
    let [plain, init, ephemeral] = LISTS.map(|(list, _)| names(pod, list));
    if let Some(asked) = asked {
        let known = [&plain, &init, &ephemeral].into_iter().any(|list| list.contains(&asked));
        return if known {
            Ok(asked.to_owned())
        } else {
            Err(Status::bad_request(format!("container {asked} is not valid for pod {pod_name}")))
        };
    }
    if let [only] = plain.as_slice() {
        return Ok((*only).to_owned());
    }
    let mut message =
        format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", plain.join(" "));
    if !init.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    if !ephemeral.is_empty() {
        message.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
    }
    Err(Status::bad_request(message))
}

/// What the pod's status says of a container.
pub(super) fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    LISTS.iter().find_map(|(_, list)| {
        let statuses = pod.pointer(&format!("/status/{list}")).and_then(Value::as_array)?;
        statuses.iter().find(|status| status.get("name").and_then(Value::as_str) == Some(container))
    })
}

/// Where a container of the pod is to be found; `container` is empty for the pod itself.
pub(super) fn address(pod: &Value, container: &str) -> Result<ContainerAddress, Status> {
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", meta::name(pod))));
    }
    Ok(ContainerAddress {
        namespace: meta::namespace(pod).to_owned(),
        pod: meta::name(pod).to_owned(),
        uid: meta::uid(pod).to_owned(),
        container: container.to_owned(),
        node: node.to_owned(),
    })
}

/// A WebSocket is opened with GET, which is authorized as `get`; but whoever connects does more than look.
pub(super) async fn may_create(call: &Call) -> Result<(), Status> {
    if call.asked.verb == "create" {
        return Ok(());
    }
    let access = AccessRequest { verb: "create".to_owned(), ..access_request(&call.user, &call.asked, &call.query) };
    let decision = call.server.authorizer.authorize(&access).await;
    if decision.is_allowed() {
        return Ok(());
    }
    let message = format!("{} {:?} is forbidden: {}", access.resource, access.name, decision.reason());
    Err(Status { name: access.name, kind: access.resource, ..Status::new(403, "Forbidden", message) })
}

/// Asks those who have a say whether the caller may be connected.
pub(super) async fn admit(call: &Call, target: &Target, sub: Sub, options: Value) -> Result<(), Status> {
    let subject = Subject { kind: &target.kind, namespace: target.namespace(), name: target.name(), sub };
    call.server.objects.admit_connect(subject, options, &call.user, &objects::Warnings::default()).await
}

/// Turns the request into a WebSocket that speaks one of `known`, in the order of preference. The name that was chosen
/// comes along; there is none when the client named none.
pub(super) async fn upgrade(
    call: Call,
    known: &'static [&'static str],
) -> Result<(WebSocketUpgrade, Option<String>), Status> {
    let text = |name| call.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let connection = text(CONNECTION).unwrap_or_default().to_ascii_lowercase();
    let asked = text(UPGRADE).unwrap_or_default().to_ascii_lowercase();
    if !connection.contains("upgrade") || asked.is_empty() {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let names = call.headers.contains_key(SEC_WEBSOCKET_PROTOCOL);
    let upgrade = websocket(&call).await?;
    let upgrade = upgrade.protocols(known.iter().copied());
    let selected = upgrade.selected_protocol().and_then(|name| name.to_str().ok()).map(str::to_owned);
    if names && selected.is_none() {
        let known = known.join(", ");
        return Err(Status::bad_request(format!(
            "none of the WebSocket protocols asked for is spoken here; known are {known}"
        )));
    }
    Ok((upgrade, selected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_container_is_chosen_as_kubernetes_does() {
        let one = json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "a" }] } });
        let two = json!({
            "metadata": { "name": "p" },
            "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] },
        });
        for (pod, asked, wanted) in [
            (&one, None, "a"),
            (&one, Some("a"), "a"),
            (&one, Some("x"), "container x is not valid for pod p"),
            (&two, Some("i"), "i"),
            (
                &two,
                None,
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
            ),
        ] {
            let found = container(pod, asked).unwrap_or_else(|status| status.message);
            assert_eq!(found, wanted);
        }
    }
}
