//! Everything that the rooms above know of an API server.
//!
//! *Owns*: how a [`Client`] is made (over a tower service in this process, or from a kubeconfig), the shared
//! [`informers`] with one watch and one cache a kind, the [`controller`] harness (queue, one run a key, back-off,
//! expectations, batches), the [`events`] recorder, and the [`leases`] that decide who leads.
//!
//! *Does not know*: any server, store or wasmtime; what a controller decides. It speaks the Kubernetes API only, so that
//! the rooms above run unchanged against any Kubernetes.
//!
//! *Entry point*: [`in_process`] or [`from_kubeconfig`], then [`informers::Informers::new`].

#![forbid(unsafe_code)]

pub mod connect;
pub mod controller;
mod errors;
pub mod events;
pub mod informers;
pub mod leases;
pub mod placement;
pub mod services;

pub use connect::{ConnectError, from_kubeconfig, in_process};
pub use errors::{explain, is_conflict, is_namespace_terminating, is_not_found, is_taken, status_code};
pub use kube::Client;
