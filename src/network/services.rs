//! The service table: what each Service's name, address and ports lead to at this moment.
//!
//! A table is made whole and swapped whole ([`crate::PodNetwork::set_services`]); a call sees either the old or the new.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use crate::turns::Turns;

/// All Services.
#[derive(Clone, Debug, Default)]
pub struct ServiceTable {
    by_key: HashMap<String, Arc<Service>>,
    by_address: HashMap<IpAddr, Arc<Service>>,
    /// The pods that calls are sent to; made when first asked for.
    wanted: OnceLock<HashSet<IpAddr>>,
}

impl ServiceTable {
    /// The Service `namespace/name`.
    pub fn get(&self, key: &str) -> Option<&Arc<Service>> {
        self.by_key.get(key)
    }
    /// The Service that has this cluster address.
    pub fn by_address(&self, address: IpAddr) -> Option<&Arc<Service>> {
        self.by_address.get(&address)
    }
    /// Whether calls are sent to the pod at `address` because it wants them, and not for want of another.
    pub fn leads_to(&self, address: IpAddr) -> bool {
        let wanted = || {
            let ports = self.by_key.values().flat_map(|service| &service.ports);
            let ready =
                ports.flat_map(ServicePort::endpoints).filter(|endpoint| endpoint.ready && !endpoint.terminating);
            ready.map(|endpoint| endpoint.address.ip()).collect()
        };
        self.wanted.get_or_init(wanted).contains(&address)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_key.values()
    }
}

impl FromIterator<Arc<Service>> for ServiceTable {
    fn from_iter<I: IntoIterator<Item = Arc<Service>>>(services: I) -> Self {
        let mut table = Self::default();
        for service in services {
            for address in &service.cluster_ips {
                table.by_address.insert(*address, Arc::clone(&service));
            }
            table.by_key.insert(service.key.clone(), service);
        }
        table
    }
}

impl FromIterator<Service> for ServiceTable {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        services.into_iter().map(Arc::new).collect()
    }
}

/// One Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `namespace/name`
    pub key: String,
    /// Its addresses; none if it is headless or stands for an outside name.
    pub cluster_ips: Vec<IpAddr>,
    /// The outside name that it stands for.
    pub external_name: Option<String>,
    /// Whether a caller is always sent to the same endpoint.
    pub affinity: bool,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

impl Service {
    /// The port of this name or number.
    pub fn port(&self, port: &PortRef) -> Option<&ServicePort> {
        self.ports.iter().find(|candidate| match port {
            PortRef::Number(number) => candidate.number == *number,
            PortRef::Name(name) => candidate.name == **name,
        })
    }

    /// Whether its name leads to the pods themselves.
    pub fn is_headless(&self) -> bool {
        self.cluster_ips.is_empty() && self.external_name.is_none()
    }

    /// The addresses of its pods that may be called, each once.
    pub fn pod_addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.ports.iter().flat_map(ServicePort::usable).map(SocketAddr::ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The address of the pod that calls itself `hostname` in this Service.
    pub fn pod_by_hostname(&self, hostname: &str) -> Option<IpAddr> {
        let mut endpoints = self.ports.iter().flat_map(|port| &port.endpoints);
        endpoints.find(|endpoint| endpoint.hostname.as_deref() == Some(hostname)).map(|found| found.address.ip())
    }
}

/// A Service's port as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortRef {
    /// By number.
    Number(u16),
    /// By name.
    Name(Box<str>),
}

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// One port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty if it has none.
    pub name: String,
    /// The port that callers use.
    pub number: u16,
    endpoints: Vec<Endpoint>,
    usable: Vec<SocketAddr>,
    /// Whose turn it is, where endpoints have weights.
    turns: Option<Turns>,
}

impl ServicePort {
    /// A port that leads to these endpoints.
    pub fn new(name: impl Into<String>, number: u16, endpoints: Vec<Endpoint>) -> Self {
        let ready = |endpoint: &&Endpoint| endpoint.ready && !endpoint.terminating;
        let last_resort = |endpoint: &&Endpoint| endpoint.serving && endpoint.terminating;
        let mut usable: Vec<SocketAddr> = endpoints.iter().filter(ready).map(|endpoint| endpoint.address).collect();
        if usable.is_empty() {
            // A pod that is going but still serves is better than none.
            usable = endpoints.iter().filter(last_resort).map(|endpoint| endpoint.address).collect();
        }
        usable.sort_unstable();
        usable.dedup();
        let turns = Turns::of(&usable, &endpoints);
        Self { name: name.into(), number, endpoints, usable, turns }
    }

    /// Whose turn it is among the usable, if they have weights.
    pub(crate) fn turns(&self) -> Option<&Turns> {
        self.turns.as_ref()
    }

    /// All endpoints, ready or not.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Where a call may go: the ready endpoints; if there are none, those that terminate but still serve.
    pub fn usable(&self) -> &[SocketAddr] {
        &self.usable
    }
}

/// One pod behind a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it wants calls.
    pub ready: bool,
    /// Whether it could answer calls, be it terminating or not.
    pub serving: bool,
    /// Whether its pod is going.
    pub terminating: bool,
    /// Its name within the Service.
    pub hostname: Option<String>,
    /// Its part of the calls, relative to the others'. When one of a port's endpoints has a weight, calls go in proportion
    /// and those without one count as 1; 0 takes no calls while others do.
    pub weight: Option<u32>,
}

impl Endpoint {
    /// A ready endpoint.
    pub fn ready(address: SocketAddr) -> Self {
        Self { address, ready: true, serving: true, terminating: false, hostname: None, weight: None }
    }
}
