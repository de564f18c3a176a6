//! Subresources with code of their own. Which exist is said by each kind's row, so that discovery agrees.

mod binding;
mod eviction;
mod exec;
mod log;
mod pods;
mod port_forward;
mod proxy;
mod scale;
mod spdy;

use api::Status;

use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{self, Target};

pub(crate) use binding::named_in_body as bindings;
#[cfg(test)]
pub(crate) use port_forward::read_frames;
pub(crate) use scale::scale;
#[cfg(test)]
pub(crate) use spdy::spdy_dictionary;

pub(crate) async fn answer(call: Call, target: Target, sub: &str) -> Result<Reply, Status> {
    if target.kind.group == "certificates.k8s.io" && sub == "approval" {
        return verbs::stored(call, target, objects::Sub::Named("approval")).await;
    }
    let plural = if target.kind.group.is_empty() { target.kind.plural.as_str() } else { "" };
    match (plural, sub, call.asked.verb) {
        ("pods", "log", "get") => log::answer(call, target).await,
        ("pods", "binding", "create") => binding::answer(call, target).await,
        ("pods", "eviction", "create") => eviction::answer(call, target).await,
        ("pods", "ephemeralcontainers", _) => {
            verbs::stored(call, target, objects::Sub::Named("ephemeralcontainers")).await
        }
        ("pods", "resize", _) => verbs::stored(call, target, objects::Sub::Named("resize")).await,
        ("namespaces", "finalize", "update") => verbs::stored(call, target, objects::Sub::Finalize).await,
        ("pods", "portforward", "get" | "create") => port_forward::answer(call, target).await,
        ("pods", "exec", "get" | "create") => exec::answer(call, target, exec::Way::Exec).await,
        ("pods", "attach", "get" | "create") => exec::answer(call, target, exec::Way::Attach).await,
        ("pods" | "services" | "nodes", "proxy", _) => proxy::answer(call, target).await,
        ("serviceaccounts", "token", "create") => crate::tokens::answer(call, target).await,
        ("pods", "log" | "binding" | "eviction" | "exec" | "attach" | "portforward", _)
        | ("namespaces", "finalize", _)
        | ("serviceaccounts", "token", _) => Err(Status::method_not_allowed()),
        _ => Err(Status::no_such_path()),
    }
}
