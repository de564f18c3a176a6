//! What the API asks of the nodes and of what runs on them: the seams that `cluster` fills.

mod exec;
mod resolve;
mod traffic;
mod transport;
mod usage;

use std::io;

use api::Status;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};

pub use exec::{ExecEnd, ExecInput, ExecOptions, ExecOutput, ExecSession, TerminalSize};
pub use resolve::{Resolved, resolve};
pub use traffic::{NoTraffic, TrafficFigures, TrafficSource};
pub use transport::{NoTransport, PodTarget, Scheme, ServiceTarget, ServiceTransport, TargetPort, TlsOptions};
pub use usage::{ContainerUsage, MetricsSource, NoMetrics, NodeUsage};

/// One container of one pod on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContainerAddress {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
    /// The node that the pod is bound to.
    pub node: String,
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as lines come.
    pub follow: bool,
    /// The container's run before the present one.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only lines from then on; `sinceSeconds` is turned into this.
    pub since: Option<Timestamp>,
    /// Only that many lines from the end.
    pub tail_lines: Option<u64>,
    /// No more than so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A log as it is written to the client. Ends when the log ends, or the container when it is followed.
pub type LogStream = BoxStream<'static, Result<Bytes, io::Error>>;

/// A connection to a port of a pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A page that a node has about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NodePage {
    pub content_type: &'static str,
    pub body: String,
}

/// The nodes, as the API sees them.
#[async_trait]
pub trait NodeGateway: Send + Sync + 'static {
    /// The log of a container that has run or runs.
    ///
    /// # Errors
    /// A `Status` that says why there is none.
    async fn logs(&self, container: &ContainerAddress, options: &LogOptions) -> Result<LogStream, Status>;

    /// Whether this is the way to the node of that name.
    fn has(&self, _node: &str) -> bool {
        false
    }

    /// What the node has at this path of its own: figures and settings, as a kubelet serves them. `metrics` are those of
    /// this process. Blocks for a moment.
    fn page(&self, _path: &[&str], _metrics: String) -> Option<NodePage> {
        None
    }

    /// Opens a connection to `port` of the pod; `container` of the address is empty.
    ///
    /// # Errors
    /// A `Status` that says why not.
    async fn port_forward(&self, _pod: &ContainerAddress, _port: u16) -> Result<Box<dyn Duplex>, Status> {
        Err(Status::new(501, "NotImplemented", "port-forward is not offered by this node"))
    }

    /// Runs a program in a running container.
    ///
    /// # Errors
    /// A `Status` that says why not.
    async fn exec(&self, container: &ContainerAddress, _options: &ExecOptions) -> Result<ExecSession, Status> {
        let message = format!("node {:?} does not run programs in its containers", container.node);
        Err(Status::new(501, "NotImplemented", message))
    }

    /// Joins a running container's own streams.
    ///
    /// # Errors
    /// A `Status` that says why not.
    async fn attach(&self, container: &ContainerAddress, _options: &ExecOptions) -> Result<ExecSession, Status> {
        let message = format!("node {:?} does not let anybody join its containers", container.node);
        Err(Status::new(501, "NotImplemented", message))
    }
}

/// No node at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNodes;

#[async_trait]
impl NodeGateway for NoNodes {
    async fn logs(&self, container: &ContainerAddress, _options: &LogOptions) -> Result<LogStream, Status> {
        Err(Status::unavailable(format!("node {:?} cannot be reached from this server", container.node)))
    }
}
