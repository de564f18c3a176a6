//! Services and the ingress: how a request finds the pod that answers it.
//!
//! ```text
//! Services, EndpointSlices ─ services ─▶ network::ServiceTable ◀─ components' own requests
//!                                              ▲
//! Ingresses, IngressClasses ─ routes ─▶ RouteTable ◀─ ingress ◀─ clients
//! ```
//!
//! *Owns*: what Services and Ingresses mean as tables, the ingress listener and what it does to a request and a response,
//! the ingress class `coracle`, and the load-balancer status of the Ingresses that it serves.
//!
//! *Does not know*: any server or store (it sees the cluster through informers), components, wasmtime. When the API is
//! away the last tables stay in force.
//!
//! *Entry point*: [`services::keep`] on every node, and [`start`] where the ingress listens.

#![forbid(unsafe_code)]

mod activation;
pub mod answers;
pub mod class;
mod early;
mod forward;
pub mod host;
pub mod ingress;
mod measure;
pub mod routes;
pub mod services;
mod shares;
mod start;
mod status;
mod traffic;

pub use activation::activate;
pub use early::Early;
pub use routes::{Backend, NoRoute, RouteTable};
pub use start::{Config, Ready, Running, StartError, start};
pub use traffic::IngressTraffic;

#[cfg(test)]
mod tests;
