//! The user-space pod network: addresses that exist only inside Coracle.
//!
//! *Owns*: address pools, who listens where, HTTP endpoints, the service table, names, the data threads that connections
//! and HTTP guests run on.
//!
//! *Does not know*: Kubernetes, wasmtime, sockets of the host (other than that data threads have a reactor).
//!
//! *Entry point*: [`PodNetwork`]; a pod gets an address from it, binds an [`HttpEndpoint`] to it, and is reached with
//! [`PodNetwork::call`].

#![forbid(unsafe_code)]

pub mod address;
mod balance;
pub mod body;
pub mod connection;
pub mod data;
pub mod endpoint;
pub mod listener;
pub mod names;
mod pod_network;
pub mod services;

pub use address::{AddressError, PodAddress};
pub use body::{Body, BodyError};
pub use connection::Connection;
pub use data::DataThreads;
pub use endpoint::{CallError, HttpEndpoint, HttpRequest, HttpResponse};
pub use listener::{AddressInUse, Listener};
pub use names::Target;
pub use pod_network::{Config, PodNetwork};
pub use services::{Endpoint, PortRef, Service, ServicePort, ServiceTable};

#[cfg(test)]
mod tests;
