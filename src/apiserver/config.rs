//! What an [`crate::ApiServer`] is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::metrics::Metrics;
use serde_json::{Value, json};

use crate::authentication::{Authenticator, ClientCertificate};
use crate::authorization::{Authorizer, MastersOnly};
use crate::gateway::{NoNodes, NodeGateway};
use crate::tokens::TokenIssuer;

/// What `/version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `1`
    pub major: String,
    /// `36`
    pub minor: String,
    /// `v1.36.0+coracle`: build metadata, so that clients compare it as 1.36.0.
    pub git_version: String,
    /// The commit that this binary was built from, when known.
    pub git_commit: String,
    /// When it was built, when known.
    pub build_date: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            major: "1".into(),
            minor: "36".into(),
            git_version: concat!("v1.36.0+coracle-", env!("CARGO_PKG_VERSION")).into(),
            git_commit: String::new(),
            build_date: "1970-01-01T00:00:00Z".into(),
        }
    }
}

impl Version {
    pub(crate) fn to_json(&self) -> Value {
        let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "major": self.major, "minor": self.minor, "emulationMajor": self.major, "emulationMinor": self.minor,
            "gitVersion": self.git_version, "gitCommit": self.git_commit, "gitTreeState": "clean",
            "buildDate": self.build_date, "goVersion": "", "compiler": "rustc", "platform": format!("{os}/{arch}"),
        })
    }
}

/// How much the server takes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at one moment, shared out by priority levels; watches and logs do not count.
    pub in_flight: usize,
    /// Bytes of a request body, also after it was unpacked.
    pub body: usize,
    /// How long a request may take that is neither watch nor log.
    pub request: Duration,
    /// Connections at one moment.
    pub connections: usize,
    /// How long a client may take to send the head of a request, and for the TLS handshake.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 600,
            body: 3 * 1024 * 1024,
            request: Duration::from_secs(60),
            connections: 10_000,
            head: Duration::from_secs(32),
        }
    }
}

/// One line of `/readyz?verbose`.
#[derive(Clone)]
pub struct HealthCheck {
    /// What is checked: `etcd`, `poststarthook/start-scheduler`.
    pub name: String,
    /// Whether a failure also makes `/livez` fail. Most things that are not ready yet are alive.
    pub live: bool,
    /// The check itself, which must be quick. The text of a failure is logged, not shown.
    pub check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for HealthCheck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HealthCheck({})", self.name)
    }
}

impl HealthCheck {
    /// A check for `/readyz` and `/healthz` only.
    pub fn ready(name: impl Into<String>, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), live: false, check: Arc::new(check) }
    }
}

/// What an [`crate::ApiServer`] is made of. [`Config::default`] serves `system:masters` and has no nodes.
#[derive(Clone)]
pub struct Config {
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Asked in this order.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Signs ServiceAccount tokens; without it none are issued.
    pub issuer: Option<Arc<TokenIssuer>>,
    /// The nodes; may be given later with [`crate::ApiServer::set_node_gateway`].
    pub node_gateway: Arc<dyn NodeGateway>,
    /// The images registry, mounted at `/v2`.
    pub images: Option<axum::Router>,
    /// The process' metrics.
    pub metrics: Metrics,
    /// What `/version` says.
    pub version: Version,
    /// Beyond `ping`; more may be added with [`crate::ApiServer::add_check`].
    pub checks: Vec<HealthCheck>,
    /// How much at once.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            authorizer: Arc::new(MastersOnly),
            authenticators: vec![Arc::new(ClientCertificate)],
            issuer: None,
            node_gateway: Arc::new(NoNodes),
            images: None,
            metrics: Metrics::default(),
            version: Version::default(),
            checks: Vec::new(),
            limits: Limits::default(),
        }
    }
}
