//! The Kubernetes API over HTTP.
//!
//! *Owns*: routes, discovery and OpenAPI, content types, authentication, authorization, limits, how watches and lists are
//! written, the certificates and the HTTPS listener. One generic path serves every kind; what differs stands in the kind's
//! row.
//!
//! *Does not know*: how objects are stored or cached (`objects`), what a kind's fields mean (`api`), how pods run: logs
//! and connections come through [`NodeGateway`].
//!
//! *Entry point*: [`ApiServer`]; a request's way through it is `server.rs`, the verbs are `verbs/`.

#![forbid(unsafe_code)]

mod accept;
pub mod admission;
mod aggregation;
pub mod authentication;
pub mod authorization;
pub mod certificates;
mod component_statuses;
mod config;
mod custom_metrics;
mod documents;
mod flight;
mod forwarding;
pub mod gateway;
mod health;
mod journal;
mod lingering;
mod listener;
mod metrics_api;
mod packing;
mod path;
mod paths;
mod query;
mod registry_door;
mod reply;
mod reviews;
mod server;
mod subresources;
pub mod tokens;
mod verbs;

#[cfg(test)]
mod tests;

pub use authentication::{Authenticator, ClientCertificate, Credentials, Rejected, StaticTokens};
pub use authorization::{Authorizer, Decision, MastersOnly};
pub use certificates::Authority;
pub use config::{Config, HealthCheck, Limits, Version};
pub use gateway::{ContainerAddress, LogOptions, LogStream, NoNodes, NodeGateway, ServiceTransport};
pub use server::{ApiServer, InProcess};
