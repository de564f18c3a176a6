//! What a process is told to be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use apiserver::authorization::Modes;

use crate::control_plane::ControlPlane;
use crate::roles::Roles;

/// Everything that `coracle up` can be told, with its defaults resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// What runs here.
    pub roles: Roles,
    /// Where everything is kept; `None` keeps it in a temporary folder that goes with the cluster.
    pub data_dir: Option<PathBuf>,
    /// The server to join, when this process is none.
    pub server_kubeconfig: Option<PathBuf>,
    /// Kubernetes' `--controllers` list.
    pub controllers: Vec<String>,
    /// How controllers and the scheduler behave.
    pub control_plane: ControlPlane,
    /// `resource=quantity`, instead of what the host has.
    pub node_capacity: Vec<String>,
    /// Folders of the host that pods may mount.
    pub allow_host_paths: Vec<PathBuf>,
    /// Further names for the server's certificate.
    pub tls_san: Vec<String>,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where the ingress listens.
    pub ingress_listen: SocketAddr,
    /// Where the administrator's kubeconfig goes, if not into the data folder.
    pub kubeconfig: Option<PathBuf>,
    /// The node's name; the host's by default.
    pub node_name: Option<String>,
    /// Kubernetes' static token file.
    pub token_auth_file: Option<PathBuf>,
    /// Who decides about requests.
    pub authorization_mode: Modes,
    /// How long pods get to end at shutdown.
    pub grace: Duration,
    /// Compiled components; the user's cache folder by default.
    pub artifacts: Option<PathBuf>,
    /// The binary that compiles large components in a process of its own: one that knows [`crate::COMPILE_VERB`].
    pub compiler: Option<PathBuf>,
    /// Whether everything but requests keeps off a core while there are requests: for a process that has nothing else to do.
    pub keep_cores_free: bool,
    /// What compiling may cost.
    pub compile_bounds: images::Bounds,
    /// Mirrors, and how much is pulled at once.
    pub registries: images::Registries,
    /// When images go that nobody uses.
    pub image_limits: images::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            roles: Roles::default(),
            data_dir: None,
            server_kubeconfig: None,
            controllers: Vec::new(),
            control_plane: ControlPlane::default(),
            node_capacity: Vec::new(),
            allow_host_paths: Vec::new(),
            tls_san: Vec::new(),
            api_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ingress_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            kubeconfig: None,
            node_name: None,
            token_auth_file: None,
            authorization_mode: Modes::default(),
            grace: Duration::from_secs(30),
            artifacts: None,
            compiler: None,
            keep_cores_free: false,
            compile_bounds: images::Bounds::default(),
            registries: images::Registries::default(),
            image_limits: images::Limits::default(),
        }
    }
}
