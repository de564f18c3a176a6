//! The network itself: the door to addresses, listeners, Services and calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::Ipv4Net;
use tokio::sync::Notify;

use crate::address::{AddressError, PodAddress, Pool};
use crate::connection::DEPTH_MAX;
use crate::listener::{InFlight, Listeners, counted};
use crate::{
    AddressInUse, CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse, Listener, PortRef, Service,
    ServiceTable, Target, balance, names,
};

/// What the network is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pods get their addresses from here.
    pub pod_cidr: Ipv4Net,
    /// Services have theirs in here.
    pub service_cidr: Ipv4Net,
    /// When every endpoint of a Service refuses, the table is behind (its pods have just been replaced): how long a call
    /// waits for the next table before it gives up.
    pub settle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 0, 0), 9),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12),
            settle: Duration::from_millis(500),
        }
    }
}

/// The pod network of this process. Cheap to clone.
#[derive(Clone)]
pub struct PodNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    pool: Arc<Pool>,
    listeners: Arc<Listeners>,
    services: ArcSwap<ServiceTable>,
    /// Woken when a call that was refused might now succeed.
    changed: Notify,
}

impl PodNetwork {
    /// An empty network.
    pub fn new(config: Config) -> Self {
        let pool = Pool::new(config.pod_cidr);
        let (listeners, services) = (Arc::default(), ArcSwap::default());
        Self { inner: Arc::new(Inner { config, pool, listeners, services, changed: Notify::new() }) }
    }

    /// What it was made of.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// An address for a pod: never one that was used lately.
    pub fn allocate(&self) -> Result<PodAddress, AddressError> {
        self.inner.pool.allocate()
    }

    /// This very address, for a pod that had it before or whose spec asks for it.
    pub fn claim(&self, address: IpAddr) -> Result<PodAddress, AddressError> {
        self.inner.pool.claim(address)
    }

    /// Lets `endpoint` answer at `address` until the listener is closed or dropped.
    pub fn listen_http(&self, address: SocketAddr, endpoint: Arc<dyn HttpEndpoint>) -> Result<Listener, AddressInUse> {
        let listener = self.inner.listeners.bind(address, endpoint)?;
        self.inner.changed.notify_waiters();
        Ok(listener)
    }

    /// Whether anybody listens at `address`.
    pub fn listening(&self, address: SocketAddr) -> bool {
        self.inner.listeners.contains(address)
    }

    /// Replaces the service table.
    pub fn set_services(&self, table: ServiceTable) {
        self.inner.services.store(Arc::new(table));
        self.inner.changed.notify_waiters();
    }

    /// The service table of this moment.
    pub fn services(&self) -> Arc<ServiceTable> {
        self.inner.services.load_full()
    }

    /// What `host` means to a caller in `namespace`.
    pub fn resolve(&self, host: &str, namespace: &str) -> Target {
        names::resolve(&self.inner.services.load(), host, namespace)
    }

    /// The addresses of `host`, as a name server would give them to a caller in `namespace`; none if nothing in the
    /// cluster has that name.
    pub fn lookup(&self, host: &str, namespace: &str, own: IpAddr) -> Vec<IpAddr> {
        match self.resolve(host, namespace) {
            Target::Service(service) if service.is_headless() => service.pod_addresses(),
            Target::Service(service) => service.cluster_ips.clone(),
            Target::Address(address) => vec![address],
            Target::Own => vec![own],
            Target::Outside(_) => Vec::new(),
        }
    }

    /// Calls whoever listens at `address`: a pod, or a Service by its cluster address.
    pub async fn call(
        &self,
        address: SocketAddr,
        request: HttpRequest,
        connection: Connection,
    ) -> Result<HttpResponse, CallError> {
        admit(&connection)?;
        match self.inner.listeners.enter(address) {
            Ok(call) => run(call, request, connection).await,
            Err(refused) => {
                let service = self.inner.services.load().by_address(address.ip()).cloned();
                let Some(service) = service else { return Err(refused) };
                self.call_service(&service.key, &PortRef::Number(address.port()), request, connection).await
            }
        }
    }

    /// Calls `host` at `port` for a component in `namespace`; `connection.source` is the component's own address.
    pub async fn call_host(
        &self,
        host: &str,
        port: u16,
        namespace: &str,
        request: HttpRequest,
        connection: Connection,
    ) -> Result<HttpResponse, CallError> {
        match self.resolve(host, namespace) {
            Target::Service(service) => {
                self.call_service(&service.key, &PortRef::Number(port), request, connection).await
            }
            Target::Address(address) => self.call(SocketAddr::new(address, port), request, connection).await,
            Target::Own => self.call(SocketAddr::new(connection.source, port), request, connection).await,
            Target::Outside(host) => Err(CallError::NoSuchHost { host }),
        }
    }

    /// Calls one of the endpoints of the Service `namespace/name`. An endpoint that refuses is passed over: the request
    /// is handed to the one that takes it, so that nothing needs to be sent twice.
    pub async fn call_service(
        &self,
        key: &str,
        port: &PortRef,
        request: HttpRequest,
        connection: Connection,
    ) -> Result<HttpResponse, CallError> {
        admit(&connection)?;
        let call = match self.enter_service(key, port, connection.source) {
            Err(CallError::Refused { .. }) => self.enter_when_settled(key, port, &connection).await?,
            other => other?,
        };
        run(call, request, connection).await
    }

    fn enter_service(&self, key: &str, port: &PortRef, source: IpAddr) -> Result<InFlight, CallError> {
        let table = self.inner.services.load();
        let service = table.get(key).ok_or_else(|| CallError::NoSuchHost { host: key.to_owned() })?;
        let sticky = service.affinity.then_some(source);
        let listeners = &self.inner.listeners;
        match service.port(port) {
            Some(found) if found.usable().is_empty() => Err(CallError::NoEndpoints { service: key.to_owned() }),
            Some(found) => balance::enter_one(listeners, found.usable(), sticky),
            None => match port {
                // A headless Service's name is its pods' addresses: any port that they listen on may be called.
                PortRef::Number(number) if service.is_headless() => {
                    let pods = service.pod_addresses();
                    let pods: Vec<_> = pods.into_iter().map(|address| SocketAddr::new(address, *number)).collect();
                    if pods.is_empty() {
                        return Err(CallError::NoEndpoints { service: key.to_owned() });
                    }
                    balance::enter_one(listeners, &pods, sticky)
                }
                _ => Err(no_such_port(service, port)),
            },
        }
    }

    /// Tries again with each new table or listener until the network has settled.
    async fn enter_when_settled(
        &self,
        key: &str,
        port: &PortRef,
        connection: &Connection,
    ) -> Result<InFlight, CallError> {
        let settled = Instant::now() + self.inner.config.settle;
        let until = connection.deadline.map_or(settled, |deadline| deadline.min(settled));
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let refused = match self.enter_service(key, port, connection.source) {
                Err(refused @ CallError::Refused { .. }) => refused,
                other => return other,
            };
            if tokio::time::timeout_at(until.into(), changed).await.is_err() {
                return Err(refused);
            }
        }
    }
}

fn no_such_port(service: &Service, port: &PortRef) -> CallError {
    let number = match port {
        PortRef::Number(number) => *number,
        PortRef::Name(_) => 0,
    };
    let address = service.cluster_ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    CallError::Refused { address: SocketAddr::new(address, number) }
}

fn admit(connection: &Connection) -> Result<(), CallError> {
    if connection.depth > DEPTH_MAX {
        return Err(CallError::LoopDetected);
    }
    if connection.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(CallError::Deadline);
    }
    Ok(())
}

/// Hands the request over. The deadline holds until the response's head is here; whoever writes the body keeps to it.
async fn run(call: InFlight, request: HttpRequest, connection: Connection) -> Result<HttpResponse, CallError> {
    let deadline = connection.deadline;
    let answer = call.endpoint().call(request, connection);
    let response = match deadline {
        None => answer.await?,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), answer).await.map_err(|_| CallError::Deadline)??,
    };
    Ok(response.map(|body| counted(body, call)))
}
