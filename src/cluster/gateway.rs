//! What the API asks of the node in this process.

use std::net::SocketAddr;

use api::Status;
use apiserver::gateway::{ContainerAddress, Duplex, ExecOptions, ExecSession, LogOptions, LogStream, NodeGateway};
use async_trait::async_trait;
use network::PodNetwork;

use crate::exec;

/// Logs and port-forward for pods of this process.
pub struct LocalNode {
    name: String,
    logs: node::Logs,
    presence: node::Presence,
    network: PodNetwork,
}

impl LocalNode {
    /// The way to this node.
    pub fn new(node: &node::Node, network: PodNetwork) -> Self {
        Self { name: node.name().to_owned(), logs: node.logs(), presence: node.presence(), network }
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
        if !self.network.listening(address) {
            return Err(refused(format!("nothing in pod {} listens on port {port}", pod.pod)));
        }
        Ok(Box::new(crate::port_forward::connect(self.network.clone(), address)))
    }
}
