//! The network itself: the door to addresses, listeners, Services and calls.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::Ipv4Net;
use tokio::sync::Notify;

use crate::activator::{Activator, Held};
use crate::address::{AddressError, PodAddress, Pool};
use crate::connection::DEPTH_MAX;
use crate::listener::{InFlight, Listeners, counted};
use crate::{
    AddressInUse, CallError, Connection, Figures, HttpEndpoint, HttpRequest, HttpResponse, Listener, PortRef, Service,
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
    /// How long a call is held for a workload that is being woken.
    pub hold: Duration,
    /// How many calls are held for one Service; who comes on top is told to try again.
    pub held_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 0, 0), 9),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12),
            settle: Duration::from_millis(500),
            hold: Duration::from_secs(30),
            held_max: 1000,
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
    activator: OnceLock<Arc<dyn Activator>>,
    held: Held,
}

impl PodNetwork {
    /// An empty network.
    pub fn new(config: Config) -> Self {
        let pool = Pool::new(config.pod_cidr);
        let (listeners, services) = (Arc::default(), ArcSwap::default());
        Self {
            inner: Arc::new(Inner {
                config,
                pool,
                listeners,
                services,
                changed: Notify::new(),
                activator: OnceLock::new(),
                held: Held::default(),
            }),
        }
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
        let listener = self.inner.listeners.bind(address, endpoint, None)?;
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

    /// Lets `activator` wake workloads that calls find asleep. The first one stays.
    pub fn set_activator(&self, activator: Arc<dyn Activator>) {
        let _ = self.inner.activator.set(activator);
    }

    /// The Services of a namespace for which calls are held, as `namespace/name`.
    pub fn awaited(&self, namespace: &str) -> Vec<String> {
        self.inner.held.services(namespace)
    }

    /// What passed at each address at which anybody listens.
    pub fn traffic(&self) -> HashMap<IpAddr, Figures> {
        self.inner.listeners.traffic()
    }

    /// Waits until no Service sends calls to the pod at `address` because it wants them.
    pub async fn left(&self, address: IpAddr) {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.services().leads_to(address) {
                return;
            }
            changed.await;
        }
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
        let call = self.enter_service_settled(key, port, &connection).await?;
        run(call, request, connection).await
    }

    /// Chooses an endpoint, and waits when there is none that takes the call but may soon be.
    pub(crate) async fn enter_service_settled(
        &self,
        key: &str,
        port: &PortRef,
        connection: &Connection,
    ) -> Result<InFlight, CallError> {
        match self.enter_service(key, port, connection.source) {
            Err(CallError::Refused { .. } | CallError::NoEndpoints { .. }) => {
                self.enter_later(key, port, connection).await
            }
            other => other,
        }
    }

    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        &self.inner.listeners
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.inner.changed
    }

    fn enter_service(&self, key: &str, port: &PortRef, source: IpAddr) -> Result<InFlight, CallError> {
        let table = self.inner.services.load();
        let service = table.get(key).ok_or_else(|| CallError::NoSuchHost { host: key.to_owned() })?;
        let sticky = service.affinity.then_some(source);
        let listeners = &self.inner.listeners;
        match service.port(port) {
            Some(found) if found.usable().is_empty() => Err(CallError::NoEndpoints { service: key.to_owned() }),
            Some(found) => balance::enter_one(listeners, found.usable(), found.turns(), sticky),
            None => match port {
                // A headless Service's name is its pods' addresses: any port that they listen on may be called.
                PortRef::Number(number) if service.is_headless() => {
                    let pods = service.pod_addresses();
                    let pods: Vec<_> = pods.into_iter().map(|address| SocketAddr::new(address, *number)).collect();
                    if pods.is_empty() {
                        return Err(CallError::NoEndpoints { service: key.to_owned() });
                    }
                    balance::enter_one(listeners, &pods, None, sticky)
                }
                _ => Err(no_such_port(service, port)),
            },
        }
    }

    /// Tries again with each new table or listener: until the network has settled where endpoints refuse, for longer
    /// where a workload is being woken.
    async fn enter_later(&self, key: &str, port: &PortRef, connection: &Connection) -> Result<InFlight, CallError> {
        let began = Instant::now();
        let mut place = None;
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let failure = match self.enter_service(key, port, connection.source) {
                Err(failure @ (CallError::Refused { .. } | CallError::NoEndpoints { .. })) => failure,
                other => return other,
            };
            let is_empty = matches!(failure, CallError::NoEndpoints { .. });
            if is_empty && !self.inner.activator.get().is_some_and(|activator| activator.wake(key)) {
                return Err(failure);
            }
            if is_empty && place.is_none() {
                place = Some(self.inner.held.take(key, self.inner.config.held_max)?);
            }
            let patience = if place.is_some() { self.inner.config.hold } else { self.inner.config.settle };
            let until = began + patience;
            let due = connection.deadline.map_or(until, |deadline| deadline.min(until));
            if tokio::time::timeout_at(due.into(), changed).await.is_err() {
                return Err(if due < until { CallError::Deadline } else { failure });
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
pub(crate) async fn run(
    call: InFlight,
    request: HttpRequest,
    connection: Connection,
) -> Result<HttpResponse, CallError> {
    let (deadline, began) = (connection.deadline, Instant::now());
    let answer = call.endpoint().call(request, connection);
    let outcome = match deadline {
        None => answer.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Deadline),
        },
    };
    let failed = outcome.as_ref().map_or(true, |response| response.status().is_server_error());
    call.traffic().count(began.elapsed(), failed);
    Ok(outcome?.map(|body| counted(body, call)))
}
