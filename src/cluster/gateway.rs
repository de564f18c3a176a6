//! What the API asks of the node in this process.

use std::net::SocketAddr;

use api::Status;
use apiserver::gateway::{ContainerAddress, Duplex, LogOptions, LogStream, NodeGateway};
use async_trait::async_trait;
use network::PodNetwork;

/// Logs and port-forward for pods of this process.
pub struct LocalNode {
    logs: node::Logs,
    network: PodNetwork,
}

impl LocalNode {
    /// The node whose logs these are.
    pub fn new(logs: node::Logs, network: PodNetwork) -> Self {
        Self { logs, network }
    }
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
        };
        let of = node::LogOf {
            namespace: container.namespace.clone(),
            pod: container.pod.clone(),
            uid: container.uid.clone(),
            container: container.container.clone(),
        };
        self.logs.open(&of, wanted).await.map_err(|error| Status::bad_request(error.to_string()))
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
