//! The agent that runs pods: what the kubelet is to Kubernetes.
//!
//! *Owns*: the Node object and its Lease, the life of every pod that is bound to this node (a pure machine each), its
//! environment, volumes, probes, logs and events; the seam [`Sandbox`] to whoever runs components.
//!
//! *Does not know*: wasmtime, any server (everything goes through `client::Client`), how addresses and Services work
//! (that is `network`).
//!
//! *Entry point*: [`Node::start`].
//!
//! ```text
//! informer of this node's pods → agent → a task a pod → machine: step(input, now) → effects
//!                                                          ↑            ├→ launch: image, settings, environment, volumes, log → Sandbox
//!                                                          │            ├→ probe, stop, event
//!                                                          └── exits ───┘→ status, when it differs → PATCH
//! ```

#![forbid(unsafe_code)]

mod agent;
mod captured;
mod context;
mod environment;
mod figures;
mod fitting;
mod grants;
mod hooks;
mod identity;
mod image_gc;
mod last_words;
mod launch;
mod logs;
mod machine;
mod pod;
mod present;
mod pressure;
mod probing;
mod pulling;
mod registration;
mod resources;
mod root;
mod sandbox;
mod settings;
mod sources;
mod stats;
mod volumes;

pub use agent::{Config, Knowledge, Node, OnReady, RegisterError};
pub use logs::{LogError, LogLimits, LogOf, LogOptions, LogStream, Logs};
pub use present::{Presence, Present};
pub use pressure::Thresholds;
pub use root::Root;
pub use sandbox::{
    Container, ContainerId, ContainerSpec, Exec, Exit, ExitReason, Form, Grants, Handles, Limits, LogLevel, Mount,
    Output, Place, PrepareError, Reading, Sandbox, StartError, Stats, Stdin, Stream,
};
pub use settings::{SettingError, Settings};
pub use stats::{ContainerFigures, NodeFigures, NodeStats, Page};
