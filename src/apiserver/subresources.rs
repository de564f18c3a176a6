//! Subresources with code of their own. Which exist is said by each kind's row, so that discovery agrees.

mod binding;
mod ephemeral;
mod eviction;
mod log;
mod port_forward;
mod scale;

use api::Status;

use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{self, Target};

#[cfg(test)]
pub(crate) use port_forward::{read_frames, spdy_dictionary};
pub(crate) use scale::scale;

pub(crate) async fn answer(call: Call, target: Target, sub: &str) -> Result<Reply, Status> {
    let plural = if target.kind.group.is_empty() { target.kind.plural.as_str() } else { "" };
    match (plural, sub, call.asked.verb) {
        ("pods", "log", "get") => log::answer(call, target).await,
        ("pods", "binding", "create") => binding::answer(call, target).await,
        ("pods", "eviction", "create") => eviction::answer(call, target).await,
        ("pods", "ephemeralcontainers", _) => ephemeral::answer(call, target).await,
        ("namespaces", "finalize", "update") => verbs::stored(call, target, objects::Sub::Finalize).await,
        ("pods", "portforward", "get" | "create") => port_forward::answer(call, target).await,
        ("pods", "exec" | "attach" | "proxy" | "resize", _) | ("services" | "nodes", "proxy", _) => {
            Err(not_there_yet(&format!("{plural}/{sub}")))
        }
        ("serviceaccounts", "token", "create") => Err(not_there_yet("serviceaccounts/token")),
        ("pods", "log" | "binding" | "eviction", _)
        | ("namespaces", "finalize", _)
        | ("serviceaccounts", "token", _) => Err(Status::method_not_allowed()),
        _ => Err(Status::no_such_path()),
    }
}

/// A part of Kubernetes that this server knows and does not offer.
fn not_there_yet(what: &str) -> Status {
    Status::new(501, "NotImplemented", format!("{what} is not there yet in this version of coracle"))
}
