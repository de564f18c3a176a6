//! The composition root: a configuration becomes a running cluster, or a part of one.
//!
//! *Owns*: which rooms are built for which roles, in which order they start and stop, identities, the data folder, and
//! the adapters where one room needs what another has ([`sandbox`](crate), the node gateway).
//!
//! *Does not know*: the command line and how anything is printed.
//!
//! *Entry point*: [`Cluster::start`].
//!
//! Start: claim the data folder → store → objects → API server → identities' clients → controllers, scheduler, node,
//! ingress. Every step waits for the one before by a condition, never by time. Stop is the same backwards.

#![forbid(unsafe_code)]

mod background;
mod bootstrap;
mod capacity;
mod compile;
mod config;
mod control;
mod control_plane;
mod egress;
mod errand;
mod exec;
mod gateway;
mod grants;
mod identity;
mod input;
mod keys;
mod kubeconfig;
mod kubernetes_service;
mod origin;
mod outbound;
mod paths;
mod pipe;
mod port_forward;
mod registry_sweep;
mod restore;
mod roles;
mod running;
mod sandbox;
mod sockets;
mod spare_core;
mod taps;
mod terminal;
mod toolbox;
mod traffic;
mod transport;
mod usage;
mod webhooks;
mod workers;

pub use apiserver::authorization::{ModeError, Modes};
pub use capacity::CapacityError;
pub use client::leases::Timing;
pub use compile::{COMPILE_VERB, compile_component};
pub use config::Config;
pub use control_plane::ControlPlane;
pub use controllers::NodeSettings;
pub use paths::Paths;
pub use restore::{RestoreError, restore};
pub use roles::{Role, RoleError, Roles};
pub use running::{Cluster, StartError};
pub use scheduler::Config as SchedulerConfig;
pub use store::CHECK_THREAD;
