//! Services and their EndpointSlices as the pod network's service table.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::Tasks;
use client::informers::{Change, Informer, Informers};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use network::{PodNetwork, ServiceTable};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::Ready;
use crate::early::{Arrival, Arrivals, Early, Event};
use crate::shares::{self, Share};

/// The label by which a slice says whose endpoints it holds.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const BY_SERVICE: &str = "service";
/// Deployments of which a canary runs, by namespace.
const BY_CANARY: &str = "canary";

/// Keeps the network's service table as the API has it, until shutdown. Ready once the first table is in force.
pub fn keep(informers: &Informers, network: &PodNetwork, tasks: &Tasks) -> (Ready, Early) {
    let keeper = Keeper::new(informers.of(), informers.of(), informers.of());
    let (ready, is_ready) = Ready::new();
    let (early, arrivals) = Early::new(network);
    let (network, shutdown) = (network.clone(), tasks.shutdown());
    tasks.service("proxy services", async move {
        tokio::select! {
            () = keeper.run(&network, ready, arrivals) => {}
            () = shutdown.cancelled() => {}
        }
    });
    (is_ready, early)
}

/// Only the Services that something happened to are computed anew.
struct Keeper {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    /// For the shares of canaries. Nobody waits for it: without it everybody gets the same.
    deployments: Informer<Deployment>,
    touched: Arc<Touched>,
}

#[derive(Default)]
struct Touched {
    keys: Mutex<HashSet<String>>,
    added: Notify,
}

impl Touched {
    fn add(&self, keys: impl IntoIterator<Item = String>) {
        self.keys.lock().extend(keys);
        self.added.notify_one();
    }
}

impl Keeper {
    fn new(services: Informer<Service>, slices: Informer<EndpointSlice>, deployments: Informer<Deployment>) -> Self {
        slices.add_index(BY_SERVICE, |slice: &EndpointSlice| owner_key(slice).into_iter().collect());
        deployments.add_index(BY_CANARY, |deployment: &Deployment| {
            let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
            shares::of(deployment).map(|_| namespace).into_iter().collect()
        });
        let touched = Arc::new(Touched::default());
        let of_services = Arc::clone(&touched);
        services.on_change(move |change: &Change<Service>| of_services.add([change.key.to_string()]));
        let of_slices = Arc::clone(&touched);
        slices.on_change(move |change: &Change<EndpointSlice>| {
            of_slices.add(change.states().filter_map(|slice| owner_key(slice)));
        });
        let (of_canaries, behind) = (Arc::clone(&touched), services.clone());
        deployments.on_change(move |change: &Change<Deployment>| {
            let before = change.old.as_ref().and_then(|old| shares::of(old));
            let after = change.new.as_ref().and_then(|new| shares::of(new));
            if before != after {
                let selected: Vec<String> = change
                    .states()
                    .flat_map(|deployment| {
                        let all = behind.in_namespace(&change.key.namespace);
                        let own = all.into_iter().filter(|service| is_before(service, deployment));
                        own.map(|service| key_of(&service)).collect::<Vec<_>>()
                    })
                    .collect();
                of_canaries.add(selected);
            }
        });
        Self { services, slices, deployments, touched }
    }

    /// The shares of the canaries behind a Service.
    fn shares(&self, service: &Service) -> Vec<Share> {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let all = self.deployments.indexed(BY_CANARY, namespace);
        all.iter().filter(|deployment| is_before(service, deployment)).filter_map(|one| shares::of(one)).collect()
    }

    async fn run(&self, network: &PodNetwork, ready: watch::Sender<bool>, mut arrivals: Arrivals) {
        self.services.synced().await;
        self.slices.synced().await;
        let mut known = HashMap::new();
        loop {
            self.update(&mut known);
            network.set_services(known.values().cloned().collect::<ServiceTable>());
            ready.send_replace(true);
            let event = tokio::select! {
                () = self.touched.added.notified() => continue,
                event = arrivals.next() => event,
            };
            self.update(&mut known);
            match event {
                Event::Came(arrival) => self.welcome(&mut known, &arrival),
                Event::Over(key) => self.touched.add([key]),
            }
        }
    }

    /// Puts a pod behind the Services that nobody else is behind and that calls are held for.
    fn welcome(&self, known: &mut HashMap<String, Arc<network::Service>>, arrival: &Arrival) {
        for key in &arrival.awaited {
            let is_empty = |service: &Arc<network::Service>| service.ports.iter().all(|port| port.usable().is_empty());
            let Some(table) = known.get_mut(key).filter(|service| is_empty(service)) else { continue };
            let Some((namespace, name)) = key.split_once('/') else { continue };
            let Some(service) = self.services.get(namespace, name) else { continue };
            if let Some(early) = arrival.behind(&service, table) {
                *table = Arc::new(early);
            }
        }
    }

    fn update(&self, known: &mut HashMap<String, Arc<network::Service>>) {
        let touched = std::mem::take(&mut *self.touched.keys.lock());
        for key in touched {
            let Some((namespace, name)) = key.split_once('/') else { continue };
            match self.services.get(namespace, name) {
                Some(service) => {
                    let entry = entry(&service, &self.slices.indexed(BY_SERVICE, &key), &self.shares(&service));
                    known.insert(key, Arc::new(entry));
                }
                None => drop(known.remove(&key)),
            }
        }
    }
}

fn is_before(service: &Service, deployment: &Deployment) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| shares::is_selected(deployment, selector))
}

/// The key `namespace/name` of the Service that a slice belongs to.
fn owner_key(slice: &EndpointSlice) -> Option<String> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(format!("{}/{name}", slice.metadata.namespace.as_deref()?))
}

/// The table of these Services, with the endpoints that these slices give them.
pub fn table(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> ServiceTable {
    let mut by_service: HashMap<String, Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in slices {
        if let Some(key) = owner_key(slice) {
            by_service.entry(key).or_default().push(Arc::clone(slice));
        }
    }
    let own = |service: &Service| by_service.get(&key_of(service)).map_or(&[][..], Vec::as_slice);
    services.iter().map(|service| entry(service, own(service), &[])).collect()
}

fn key_of(service: &Service) -> String {
    let metadata = &service.metadata;
    format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What one Service leads to. `slices` are its own, and `shares` those of the canaries behind it.
pub(crate) fn entry(service: &Service, slices: &[Arc<EndpointSlice>], shares: &[Share]) -> network::Service {
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let external = spec.type_.as_deref() == Some("ExternalName");
    let mut ports: Vec<_> = spec.ports.iter().flatten().filter_map(|port| table_port(port, slices, shares)).collect();
    if ports.is_empty() && !external {
        // A headless Service needs no port for its name to lead to its pods.
        ports.push(network::ServicePort::new("", 0, endpoints(slices, shares, |_| Some(0))));
    }
    network::Service {
        key: key_of(service),
        cluster_ips: if external { Vec::new() } else { cluster_ips(spec) },
        external_name: if external { spec.external_name.clone() } else { None },
        affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
        ports,
    }
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> =
        spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()).filter_map(|ip| ip.parse().ok()).collect();
    ips.dedup();
    ips
}

fn table_port(port: &ServicePort, slices: &[Arc<EndpointSlice>], shares: &[Share]) -> Option<network::ServicePort> {
    if !is_tcp(port.protocol.as_deref()) {
        return None;
    }
    let name = port.name.as_deref().unwrap_or_default();
    let number = u16::try_from(port.port).ok()?;
    Some(network::ServicePort::new(name, number, endpoints(slices, shares, |slice| slice_port(slice, name))))
}

/// The port that the slice's endpoints listen on for the Service port of this name.
fn slice_port(slice: &EndpointSlice, name: &str) -> Option<u16> {
    let mut ports = slice.ports.iter().flatten();
    let same = |port: &&k8s_openapi::api::discovery::v1::EndpointPort| {
        port.name.as_deref().unwrap_or_default() == name && is_tcp(port.protocol.as_deref())
    };
    u16::try_from(ports.find(same)?.port?).ok()
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("" | "TCP"))
}

fn endpoints(
    slices: &[Arc<EndpointSlice>],
    shares: &[Share],
    port_of: impl Fn(&EndpointSlice) -> Option<u16>,
) -> Vec<network::Endpoint> {
    let with_port = slices.iter().filter_map(|slice| Some((slice, port_of(slice)?)));
    let all = with_port.flat_map(|(slice, port)| {
        slice.endpoints.iter().flatten().filter_map(move |one| Some((one, endpoint(one, port)?)))
    });
    if shares.is_empty() {
        return all.map(|(_, endpoint)| endpoint).collect();
    }
    let pod = |endpoint: &Endpoint| endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
    let mut named: Vec<_> = all.map(|(one, endpoint)| (pod(one), endpoint)).collect();
    shares::weigh(shares, &mut named);
    named.into_iter().map(|(_, endpoint)| endpoint).collect()
}

/// An absent condition means what the API says it means: ready, serving as ready, not terminating. All addresses of an
/// endpoint lead to the same pod, so the first is enough.
fn endpoint(endpoint: &Endpoint, port: u16) -> Option<network::Endpoint> {
    let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    Some(network::Endpoint {
        address: SocketAddr::new(address, port),
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        hostname: endpoint.hostname.clone(),
        weight: None,
    })
}
