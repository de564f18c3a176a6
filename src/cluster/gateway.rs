//! What the API asks of the node in this process.

use std::net::SocketAddr;

use api::Status;
use apiserver::gateway::{
    ContainerAddress, Duplex, ExecOptions, ExecSession, LogOptions, LogStream, NodeGateway, NodePage,
};
use async_trait::async_trait;
use network::PodNetwork;

use crate::exec;

/// Logs and port-forward for pods of this process.
pub struct LocalNode {
    name: String,
    logs: node::Logs,
    presence: node::Presence,
    stats: node::NodeStats,
    network: PodNetwork,
}

impl LocalNode {
    /// The way to this node.
    pub fn new(node: &node::Node, network: PodNetwork) -> Self {
        Self {
            name: node.name().to_owned(),
            logs: node.logs(),
            presence: node.presence(),
            stats: node.stats(),
            network,
        }
    }
}

/// Whose log is meant.
pub(crate) fn log_of(container: &ContainerAddress) -> node::LogOf {
    node::LogOf {
        namespace: container.namespace.clone(),
        pod: container.pod.clone(),
        uid: container.uid.clone(),
        container: container.container.clone(),
    }
}

pub(crate) fn unreadable(error: node::LogError) -> Status {
    Status::bad_request(error.to_string())
}

#[async_trait]
impl NodeGateway for LocalNode {
    async fn logs(&self, container: &ContainerAddress, options: &LogOptions) -> Result<LogStream, Status> {
        let wanted = node::LogOptions {
            follow: options.follow,
            previous: options.previous,
            timestamps: options.timestamps,
            since: options.since,
            tail_lines: options.tail_lines,
            limit_bytes: options.limit_bytes,
            stream: None,
        };
        self.logs.open(&log_of(container), wanted).await.map_err(unreadable)
    }

    fn has(&self, node: &str) -> bool {
        self.name == node
    }

    fn page(&self, path: &[&str], metrics: String) -> Option<NodePage> {
        let node::Page { content_type, body } = self.stats.page(path, || metrics)?;
        Some(NodePage { content_type, body })
    }

    async fn exec(&self, container: &ContainerAddress, options: &ExecOptions) -> Result<ExecSession, Status> {
        exec::exec(&self.presence, container, options)
    }

    async fn attach(&self, container: &ContainerAddress, options: &ExecOptions) -> Result<ExecSession, Status> {
        exec::attach(&self.presence, &self.logs, container, options).await
    }

    async fn port_forward(&self, pod: &ContainerAddress, port: u16) -> Result<Box<dyn Duplex>, Status> {
        let refused = |why: String| Status::bad_request(why);
        let ip = self.logs.address(&pod.uid).ok_or_else(|| refused(format!("pod {} has no address here", pod.pod)))?;
        let address = SocketAddr::new(ip, port);
        let opened = crate::port_forward::connect(&self.network, address).await;
        let stream = opened.map_err(|error| match error {
            network::CallError::Refused { .. } => refused(format!("nothing in pod {} listens on port {port}", pod.pod)),
            other => refused(format!("port {port} of pod {}: {other}", pod.pod)),
        })?;
        Ok(Box::new(stream))
    }
}
