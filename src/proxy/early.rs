//! Pods of this process that calls are held for: they are sent there once the node knows that the pod is ready, and not only
//! when the API has written down its status and its place in an EndpointSlice.
//!
//! ```text
//! node: ready ─┬─▶ early ─▶ service table ─▶ the held calls go on
//!              └─▶ PATCH …/status ─▶ endpoint_slice ─▶ service table, as the API has it
//! ```

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use client::services::{selects, target_port};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort as WantedPort};
use network::{PodNetwork, ServicePort};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// For so long the node's word stands alone; after that the table is as the API has it.
const TRUSTED: Duration = Duration::from_secs(2);

/// Hears of pods that have become ready. Cheap to clone.
#[derive(Clone)]
pub struct Early {
    network: PodNetwork,
    arrived: mpsc::UnboundedSender<Arrival>,
}

impl Early {
    pub(crate) fn new(network: &PodNetwork) -> (Self, Arrivals) {
        let (arrived, arriving) = mpsc::unbounded_channel();
        (Self { network: network.clone(), arrived }, Arrivals { arriving, trusted: VecDeque::new() })
    }

    /// The pod at `address` is ready. Does not block, and nothing happens unless a call waits for one of its kind.
    pub fn ready(&self, pod: &Arc<Pod>, address: IpAddr) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let awaited = self.network.awaited(namespace);
        if !awaited.is_empty() {
            let _ = self.arrived.send(Arrival { pod: Arc::clone(pod), address, awaited });
        }
    }
}

/// A pod that is ready, and the Services of its namespace that calls are held for.
pub(crate) struct Arrival {
    pod: Arc<Pod>,
    address: IpAddr,
    pub awaited: Vec<String>,
}

impl Arrival {
    /// The Service with this pod behind it, if it is one of its pods.
    pub fn behind(&self, service: &Service, table: &network::Service) -> Option<network::Service> {
        let labels = self.pod.metadata.labels.as_ref()?;
        if !selects(service, labels) {
            return None;
        }
        let spec = service.spec.as_ref()?;
        let ports = table.ports.iter().map(|port| {
            // By name, which is unique: TCP and UDP may have the same number.
            let is_it = |wanted: &&WantedPort| wanted.name.as_deref().unwrap_or_default() == port.name;
            let wanted = spec.ports.iter().flatten().find(is_it);
            let target = wanted.and_then(|wanted| u16::try_from(target_port(wanted, &self.pod)?).ok());
            let mut endpoints = port.endpoints().to_vec();
            endpoints.extend(target.map(|target| network::Endpoint::ready(SocketAddr::new(self.address, target))));
            ServicePort::new(port.name.clone(), port.number, endpoints)
        });
        Some(network::Service { ports: ports.collect(), ..table.clone() })
    }
}

pub(crate) enum Event {
    /// A pod is ready.
    Came(Arrival),
    /// By now the API knows what there is to know of the Service with this key.
    Over(String),
}

/// What the service table is told of pods.
pub(crate) struct Arrivals {
    arriving: mpsc::UnboundedReceiver<Arrival>,
    trusted: VecDeque<(Instant, String)>,
}

impl Arrivals {
    /// The next event. Nothing is lost when it is not waited for to the end.
    pub async fn next(&mut self) -> Event {
        let first = self.trusted.front().map(|(until, _)| *until);
        let over = async {
            match first {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(arrival) = self.arriving.recv() => {
                let until = Instant::now() + TRUSTED;
                self.trusted.extend(arrival.awaited.iter().map(|key| (until, key.clone())));
                Event::Came(arrival)
            }
            () = over => Event::Over(self.trusted.pop_front().map(|(_, key)| key).unwrap_or_default()),
            else => std::future::pending().await,
        }
    }
}
