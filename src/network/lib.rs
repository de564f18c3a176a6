//! The user-space pod network: addresses that exist only inside Coracle.
//!
//! *Owns*: address pools, who listens where, HTTP endpoints, byte streams, the service table, names, the data threads that
//! connections and HTTP guests run on.
//!
//! *Does not know*: Kubernetes, wasmtime, sockets of the host (other than that data threads have a reactor).
//!
//! *Entry point*: [`PodNetwork`]; a pod gets an address from it, binds an [`HttpEndpoint`] or a [`TcpListener`] to it, and
//! is reached with [`PodNetwork::call`] or [`PodNetwork::connect`]. Either way leads to either: a call of one who listens for
//! connections becomes HTTP/1.1 on one, and on a connection to one who answers requests HTTP is read.

#![forbid(unsafe_code)]

mod activator;
pub mod address;
mod balance;
pub mod body;
mod connect;
pub mod connection;
pub mod data;
pub mod endpoint;
mod http_over_tcp;
pub mod listener;
pub mod names;
pub mod pipe;
mod pod_network;
pub mod services;
pub mod stream;
pub mod tcp;
mod tcp_to_http;
mod traffic;
mod turns;

pub use activator::Activator;
pub use address::{AddressError, PodAddress};
pub use body::{Body, BodyError};
pub use connection::Connection;
pub use data::DataThreads;
pub use endpoint::{CallError, HttpEndpoint, HttpRequest, HttpResponse};
pub use listener::{AddressInUse, Listener};
pub use names::Target;
pub use pipe::{Broken, Payer};
pub use pod_network::{Config, PodNetwork};
pub use services::{Endpoint, PortRef, Service, ServicePort, ServiceTable};
pub use stream::{Ends, ReadHalf, Stream, WriteHalf};
pub use tcp::{TcpListener, TcpOptions};
pub use tcp_to_http::refusal;
pub use traffic::{Figures, Traffic, WINDOW};

#[cfg(test)]
mod tests;
