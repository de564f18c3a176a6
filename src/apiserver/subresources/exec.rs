//! `pods/NAME/exec` and `pods/NAME/attach`: a program's streams over one WebSocket.

mod channels;
mod protocol;
mod spdy;

use api::{Status, meta};
use axum::extract::ws::WebSocket;
use objects::Sub;
use serde_json::{Value, json};

use super::pods::{self, admit};
use crate::gateway::{ContainerAddress, ExecOptions};
use crate::query::Query;
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::Target;

use protocol::Protocol;

/// Which of the two is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Run a program.
    Exec,
    /// Join the one that runs.
    Attach,
}

pub(super) async fn answer(call: Call, target: Target, way: Way) -> Result<Reply, Status> {
    pods::may_create(&call).await?;
    let revision = objects::Revisions::default();
    let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
    let pod = found.value();
    let container = pods::container(&pod, call.query.get("container"))?;
    let address = pods::address(&pod, &container)?;
    let options = options(&call.query, way);
    let sub = if way == Way::Exec { "exec" } else { "attach" };
    admit(&call, &target, Sub::Named(sub), connect_options(&options, &container, way)).await?;
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let (gateway, ending) = (call.server.gateway.read().clone(), call.ending.clone());
    if super::spdy::is_asked_for(&call) {
        runs(&pod, &address)?;
        let protocol = super::spdy::negotiate(&call, &spdy::NAMES)?;
        return super::spdy::upgrade(call, protocol, move |wire| async move {
            let session = async {
                match way {
                    Way::Exec => gateway.exec(&address, &options).await,
                    Way::Attach => gateway.attach(&address, &options).await,
                }
            };
            spdy::serve(wire, protocol, &options, session).await;
        });
    }
    let (upgrade, selected) = pods::upgrade(call, &Protocol::NAMES).await?;
    let protocol = Protocol::of(selected.as_deref());
    let response = upgrade.on_upgrade(move |socket: WebSocket| async move {
        let carry = async {
            // Who asks is answered on the error channel from here on, as Kubernetes does it.
            let session = match runs(&pod, &address) {
                Err(status) => Err(status),
                Ok(()) if way == Way::Exec => gateway.exec(&address, &options).await,
                Ok(()) => gateway.attach(&address, &options).await,
            };
            channels::serve(socket, protocol, &options, session).await;
        };
        tokio::select! {
            () = carry => {}
            () = ending.cancelled() => {}
        }
    });
    Ok(Reply::ready(response))
}

fn options(query: &Query, way: Way) -> ExecOptions {
    let tty = query.flag("tty");
    ExecOptions {
        command: if way == Way::Exec { query.all("command").map(str::to_owned).collect() } else { Vec::new() },
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        // A terminal has one stream for both.
        stderr: query.flag("stderr") && !tty,
        tty,
    }
}

/// The options as admission sees them.
fn connect_options(options: &ExecOptions, container: &str, way: Way) -> Value {
    let mut object = json!({
        "kind": if way == Way::Exec { "PodExecOptions" } else { "PodAttachOptions" }, "apiVersion": "v1",
        "stdin": options.stdin, "stdout": options.stdout, "stderr": options.stderr, "tty": options.tty,
        "container": container,
    });
    if way == Way::Exec {
        object["command"] = json!(options.command);
    }
    object
}

/// Whether the container runs, as its status tells.
fn runs(pod: &Value, address: &ContainerAddress) -> Result<(), Status> {
    let status = pods::status_of(pod, &address.container);
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        let name = meta::name(pod);
        return Err(Status::internal(format!(
            "cannot exec into a container in a completed pod {name}; current phase is {phase}"
        )));
    }
    if status.is_some_and(|status| status.pointer("/state/running").is_some()) {
        return Ok(());
    }
    Err(Status::internal(format!("unable to upgrade connection: container not found ({:?})", address.container)))
}
