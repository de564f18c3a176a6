//! Every verb and flag. Names and short forms are kubectl's where kubectl has the flag.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Kubernetes' API with WebAssembly pods, in one process.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster (or a part of one) in this process
    Up(Box<UpArgs>),
    /// Create or change objects so that they are as the files say
    Apply(ApplyArgs),
    /// List objects
    Get(GetArgs),
    /// Show an object with its events
    Describe(DescribeArgs),
    /// Delete objects
    Delete(DeleteArgs),
    /// Print the output of a container
    Logs(LogsArgs),
    /// Set the number of replicas
    Scale(ScaleArgs),
    /// Make a Deployment, a Service and an Ingress of one component file
    Run(RunArgs),
    /// Put a component into the built-in image store, or into another registry
    Push(PushArgs),
    /// List the images on the server, with what is compiled of them and who uses them; or delete some
    Images(ImagesArgs),
    /// Listen on local ports and forward connections to a pod
    PortForward(PortForwardArgs),
    /// Print the kubeconfig of the local cluster
    Kubeconfig(KubeconfigArgs),
    /// Bring back the newest checked copy of the store
    Restore(RestoreArgs),
    /// Print the versions of this program and of the server
    Version(VersionArgs),
    /// Print a completion script
    Completion(CompletionArgs),
}

/// Which server, and which namespace.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// The kubeconfig; by default $KUBECONFIG, then the local cluster's, then ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace
    #[arg(short = 'n', long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// `coracle up`
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Files and folders to apply once the API serves
    #[arg(value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// Push each .wasm of a folder, or one file, under its file's name into the built-in image store
    #[arg(long, value_name = "DIR|FILE")]
    pub load: Vec<PathBuf>,
    /// Where everything is kept; by default the platform's data folder
    #[arg(long, value_name = "DIR", env = "CORACLE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The server to join when this process does not run the api role
    #[arg(long, value_name = "FILE")]
    pub server_kubeconfig: Option<PathBuf>,
    /// Controllers to run: `*` for all (the default), `-deployment` switches one off
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// What the node offers, when that is not what the host has: cpu=4,memory=8Gi,pods=110
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub node_capacity: Vec<String>,
    /// A folder of the host that pods may mount with hostPath, with all that is in it; may be given more than once
    #[arg(long, value_name = "PREFIX")]
    pub allow_host_path: Vec<PathBuf>,
    /// Further names for the server's certificate
    #[arg(long, value_name = "NAME")]
    pub tls_san: Vec<String>,
    /// Where the API listens; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443")]
    pub api_listen: SocketAddr,
    /// Where the ingress listens; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub ingress_listen: SocketAddr,
    /// Where to write the administrator's kubeconfig; by default DATA_DIR/kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Keep everything in a temporary folder that goes at exit
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,
    /// The name of this node; by default the host's
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// What runs in this process: api, controllers, scheduler, node, ingress
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "api,controllers,scheduler,node,ingress")]
    pub roles: Vec<String>,
    /// Kubernetes' static token file: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Who decides about requests, one after the other: Node, RBAC, AlwaysAllow, AlwaysDeny
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "Node,RBAC")]
    pub authorization_mode: Vec<String>,
    /// A mirror that is asked before a registry, * for every registry; may be given more than once
    #[arg(long, value_name = "REGISTRY=URL")]
    pub registry_mirror: Vec<String>,
    /// A registry that may have an unknown certificate or no TLS, as those on this machine; may be given more than once
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// How many images are pulled at once; 16 by default
    #[arg(long, value_name = "COUNT")]
    pub max_parallel_image_pulls: Option<usize>,
    /// What compiling a component may cost: bytes=256Mi,functions=500000,function-bytes=2Mi,seconds=300,memory=4Gi,cache-bytes=8Gi
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub compile_limits: Vec<String>,
    /// When unused images go: high=85,low=80 (percent of the disk), min-age=2m, max-age=0 (never for its age)
    #[arg(long, value_name = "LIST", default_value = "")]
    pub image_gc: images::Limits,
    /// Controllers and the scheduler.
    #[command(flatten)]
    pub control_plane: crate::ControlPlaneArgs,
    /// Which log lines go to standard error: warn, info, debug, or target=level,…
    #[arg(long, value_name = "FILTER", env = "CORACLE_LOG", default_value = "warn")]
    pub log: String,
}

/// `coracle apply`
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// Files, folders, or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub filenames: Vec<String>,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Output {
    Wide,
    Yaml,
    Json,
    Name,
}

/// `coracle get`
#[derive(Args, Clone, Debug)]
pub struct GetArgs {
    /// TYPE, TYPE NAME…, TYPE/NAME…, or TYPE,TYPE
    #[arg(required = true, value_name = "TYPE")]
    pub what: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only objects with these fields
    #[arg(long, value_name = "SELECTOR")]
    pub field_selector: Option<String>,
    /// How to print
    #[arg(short = 'o', long, value_enum)]
    pub output: Option<Output>,
    /// Go on with what changes
    #[arg(short = 'w', long)]
    pub watch: bool,
    /// Without the line of headings
    #[arg(long)]
    pub no_headers: bool,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle describe`
#[derive(Args, Clone, Debug)]
pub struct DescribeArgs {
    /// TYPE, TYPE NAME…, or TYPE/NAME…
    #[arg(required = true, value_name = "TYPE")]
    pub what: Vec<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle delete`
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// TYPE NAME…, or TYPE/NAME…
    #[arg(value_name = "TYPE", required_unless_present = "filenames")]
    pub what: Vec<String>,
    /// Delete what these files hold
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", conflicts_with = "what")]
    pub filenames: Vec<String>,
    /// All of the type with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// All of the type in the namespace
    #[arg(long)]
    pub all: bool,
    /// Seconds that pods get to finish
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<i64>,
    /// What becomes of dependents
    #[arg(long, value_name = "POLICY", default_value = "background", value_parser = ["background", "foreground", "orphan"])]
    pub cascade: String,
    /// No error when there is nothing to delete
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Wait until the objects are gone
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub wait: bool,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle logs`
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// POD, or TYPE/NAME of what owns pods
    #[arg(required_unless_present = "selector")]
    pub pod: Option<String>,
    /// The container
    #[arg(short = 'c', long, value_name = "NAME")]
    pub container: Option<String>,
    /// Go on with what is written
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// The container's last run before this one
    #[arg(short = 'p', long)]
    pub previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
    /// Only what is newer than this: 5s, 2m, 3h
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
    /// The pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle scale`
#[derive(Args, Clone, Debug)]
pub struct ScaleArgs {
    /// TYPE NAME, or TYPE/NAME
    #[arg(required = true, value_name = "TYPE")]
    pub what: Vec<String>,
    /// How many
    #[arg(long, value_name = "COUNT")]
    pub replicas: i64,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle run`
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// A component file, or an image's name
    pub image: String,
    /// The name of all three objects; by default the file's
    #[arg(long)]
    pub name: Option<String>,
    /// The host name that the ingress answers to; by default NAME.localhost
    #[arg(long)]
    pub host: Option<String>,
    /// How many pods
    #[arg(long, default_value_t = 1)]
    pub replicas: i64,
    /// Environment variables
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle push`
#[derive(Args, Clone, Debug)]
pub struct PushArgs {
    /// The component
    pub file: PathBuf,
    /// NAME[:TAG] in the built-in image store, or REGISTRY/NAME[:TAG] in another registry
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
    /// Who you are to another registry; by default as Docker's configuration says ($DOCKER_CONFIG, ~/.docker/config.json)
    #[arg(short = 'u', long, value_name = "USER", requires = "password_stdin")]
    pub username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// Take another registry that has an unknown certificate or no TLS, as those on this machine
    #[arg(long, alias = "plain-http")]
    pub insecure: bool,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What to do with images.
#[derive(Clone, Debug, Subcommand)]
pub enum ImagesAction {
    /// Forget images by name; what nothing else names is deleted
    Rm {
        /// As `coracle images` shows them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Which server.
        #[command(flatten)]
        connection: ConnectionArgs,
    },
    /// Delete all pulled images that no pod names, and what nothing names
    Prune {
        /// Which server.
        #[command(flatten)]
        connection: ConnectionArgs,
    },
}

/// `coracle images`
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ImagesArgs {
    /// What to do, if not to list them.
    #[command(subcommand)]
    pub action: Option<ImagesAction>,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle port-forward`
#[derive(Args, Clone, Debug)]
pub struct PortForwardArgs {
    /// POD, TYPE/NAME of what owns pods, or service/NAME
    pub target: String,
    /// [LOCAL:]REMOTE…; an empty or 0 LOCAL picks a free one
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub ports: Vec<String>,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1")]
    pub address: std::net::IpAddr,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle kubeconfig`
#[derive(Args, Clone, Debug)]
pub struct KubeconfigArgs {
    /// Print where it lies, not what it holds
    #[arg(long)]
    pub path: bool,
    /// The cluster's data folder; by default the platform's
    #[arg(long, value_name = "DIR", env = "CORACLE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `coracle restore`
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The cluster's data folder; by default the platform's
    #[arg(long, value_name = "DIR", env = "CORACLE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `coracle version`
#[derive(Args, Clone, Debug)]
pub struct VersionArgs {
    /// Only this program's version
    #[arg(long)]
    pub client: bool,
    /// Which server.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `coracle completion`
#[derive(Args, Clone, Debug)]
pub struct CompletionArgs {
    /// For which shell
    pub shell: clap_complete::Shell,
}

/// Where a cluster keeps everything when no folder is named.
pub fn default_data_dir() -> PathBuf {
    directories::ProjectDirs::from("dev", "coracle", "coracle")
        .map_or_else(|| PathBuf::from(".coracle"), |folders| folders.data_dir().to_owned())
}
