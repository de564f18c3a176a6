//! Everything that the rooms above know of an API server.
//!
//! *Owns*: how a [`Client`] is made (over a tower service in this process, or from a kubeconfig), the shared
//! [`informers`] with one watch and one cache a kind, the [`controller`] harness (queue, one run a key, back-off,
//! expectations, batches), and the [`events`] recorder.
//!
//! *Does not know*: any server, store or wasmtime; what a controller decides. It speaks the Kubernetes API only, so that
//! the rooms above run unchanged against any Kubernetes.
//!
//! *Entry point*: [`in_process`] or [`from_kubeconfig`], then [`informers::Informers::new`].

#![forbid(unsafe_code)]

pub mod connect;
pub mod controller;
pub mod events;
pub mod informers;

pub use connect::{ConnectError, from_kubeconfig, in_process};
pub use kube::Client;

/// Whether the server answered that the object is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    status_code(error) == Some(404)
}

/// Whether the server answered with a conflict: a stale revision, or a name that is taken (see [`is_taken`]).
pub fn is_conflict(error: &kube::Error) -> bool {
    status_code(error) == Some(409)
}

/// Whether the server refused a creation because the name is taken.
pub fn is_taken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// The HTTP status that the server answered with, when it answered.
pub fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
