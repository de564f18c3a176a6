//! The agent: registers the node, and gives each pod that is bound to it a task.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use base::backoff::Backoff;
use client::Client;
use client::events::Recorder;
use client::informers::{Informer, Informers, Key, Selection};
use images::ImageStore;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Pod, Service};
use network::PodNetwork;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::figures::{Figures, Signal};
use crate::fitting;
use crate::image_gc::{self, Collection};
use crate::logs::{LogLimits, Logs};
use crate::machine::Eviction;
use crate::pod::{self, Wanted};
use crate::present::Presence;
use crate::pressure::{Pressure, Thresholds, Watch};
use crate::registration::{Registration, capacity};
use crate::sandbox::Sandbox;
use crate::stats::{About, NodeStats};
use crate::volumes::{self, Allowed, Surface, Volumes};

const REGISTER_TRIES: u32 = 8;
/// How long a pod gets to end that holds more than it may.
const OVER_LIMIT_GRACE: Duration = Duration::from_secs(1);

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Node's name.
    pub name: String,
    /// Where logs and volumes lie.
    pub folder: PathBuf,
    /// What the node offers instead of what its host has, as quantities by resource.
    pub capacity: BTreeMap<String, String>,
    /// More labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// The address of the host as pods and the API see it.
    pub host_ip: IpAddr,
    /// The version that the Node shows.
    pub version: String,
    /// Folders of the host that pods may mount.
    pub allow_host_paths: Vec<PathBuf>,
    /// How much of what containers print is kept.
    pub log_limits: LogLimits,
    /// From where on the node is short of memory, disk or processes.
    pub eviction: Thresholds,
    /// When images go that no pod of the node names.
    pub image_limits: images::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "localhost".to_owned(),
            folder: PathBuf::from("node"),
            capacity: BTreeMap::new(),
            labels: BTreeMap::new(),
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            version: concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
            allow_host_paths: Vec::new(),
            log_limits: LogLimits::default(),
            eviction: Thresholds::default(),
            image_limits: images::Limits::default(),
        }
    }
}

/// Is told of a pod and its address in the moment that the node knows it to be ready. Does not block.
pub type OnReady = Arc<dyn Fn(&Arc<Pod>, IpAddr) + Send + Sync>;

/// How a node knows what there is, and who hears of it before the API does.
#[derive(Clone)]
pub struct Knowledge {
    /// Who watches for it.
    pub informers: Informers,
    /// Whether all pods of the cluster are watched in this process anyway, so that the node's are a choice of them.
    pub of_all_pods: bool,
    /// Whoever sends calls to pods of this process.
    pub on_ready: Option<OnReady>,
}

impl Knowledge {
    fn pods_on(&self, node: &str) -> Informer<Pod> {
        if !self.of_all_pods {
            return self.informers.selected(&Selection::fields(format!("spec.nodeName={node}")));
        }
        let node = node.to_owned();
        let is_here = move |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&node);
        self.informers.of::<Pod>().those(is_here)
    }
}

/// A refusal in the server's own words.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => base::report(error),
    }
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The API server refuses the Node.
    #[error("cannot register node {name}: {}", said(why))]
    Api {
        /// The node.
        name: String,
        /// Why.
        why: Box<kube::Error>,
    },
    /// The folder cannot be used.
    #[error("cannot use the node's folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A node that runs.
pub struct Node {
    name: String,
    logs: Logs,
    presence: Presence,
    ready: watch::Receiver<bool>,
    stats: NodeStats,
    stop: mpsc::Sender<(Duration, mpsc::Sender<()>)>,
}

impl Node {
    /// Registers the node and begins to run its pods.
    ///
    /// # Errors
    /// When the API does not take the Node, or the folder cannot be used.
    pub async fn start(
        config: Config,
        client: Client,
        knowledge: Knowledge,
        sandbox: Arc<dyn Sandbox>,
        images: ImageStore,
        network: PodNetwork,
        tasks: &Tasks,
    ) -> Result<Self, RegisterError> {
        let Config {
            name,
            folder,
            capacity: overrides,
            labels,
            host_ip,
            version,
            allow_host_paths,
            log_limits,
            eviction,
            image_limits,
        } = config;
        let failed = |source| RegisterError::Folder { folder: folder.clone(), source };
        let logs = Logs::open_limited(folder.join("logs"), log_limits).map_err(failed)?;
        let presence = Presence::default();
        let host = base::os::host();
        let capacity = capacity(&host, &folder, &overrides);
        let (pressure, pressed) = watch::channel(Pressure::default());
        let registration = Registration {
            name: name.clone(),
            capacity: capacity.clone(),
            labels,
            host,
            host_ip,
            version: version.clone(),
            pod_cidr: network.config().pod_cidr.to_string(),
            ids: base::os::machine_ids(),
            images: images.clone(),
            pressure: pressed.clone(),
        };
        let node = register(&registration, &client).await?;
        let informers = &knowledge.informers;
        let pods = knowledge.pods_on(&name);
        let events = Recorder::new(client.clone(), tasks, "kubelet", Some(name.clone()));
        let (volumes, evictions) = Volumes::open(Surface {
            node: name.clone(),
            folder: folder.clone(),
            client: client.clone(),
            events: events.clone(),
            images: images.clone(),
            host_ip,
            allocatable: capacity.clone(),
            allowed: Allowed::new(allow_host_paths),
            logs: logs.clone(),
            persistent: informers.of::<PersistentVolume>(),
            tasks: tasks.clone(),
        })
        .map_err(failed)?;
        volumes.follow(&pods);
        let collection = Collection {
            images: images.clone(),
            pods: pods.clone(),
            events: events.clone(),
            node: client::events::reference(&node),
            folder: folder.clone(),
            limits: image_limits,
        };
        image_gc::start(collection, tasks);
        let context = Arc::new(Context {
            client: client.clone(),
            sandbox,
            images,
            network,
            logs: logs.clone(),
            presence: presence.clone(),
            events,
            on_ready: knowledge.on_ready.clone(),
            services: informers.of::<Service>(),
            namespaces: informers.metadata_of::<Namespace>(),
            volumes,
            host_ip,
            allocatable: capacity,
            figures: Figures::default(),
            tasks: tasks.clone(),
        });
        let stats = NodeStats::start(
            About { name: name.clone(), version, folder: folder.clone(), thresholds: eviction },
            Arc::clone(&context),
            pods.clone(),
            tasks,
        );
        let (out, pressing) = mpsc::unbounded_channel();
        let watch_over =
            Watch { context: Arc::clone(&context), pods: pods.clone(), folder, thresholds: eviction, pressure, out };
        let (shutdown, about) = (tasks.shutdown(), context.events.clone());
        tasks.service("node pressure", async move {
            tokio::select! {
                () = watch_over.run() => {}
                () = shutdown.cancelled() => {}
            }
        });
        let shutdown = tasks.shutdown();
        tasks.service("node lease", async move {
            tokio::select! {
                () = registration.live(&client, node, &about) => {}
                () = shutdown.cancelled() => {}
            }
        });
        let (ready_sender, ready) = watch::channel(false);
        let (stop, stops) = mpsc::channel(1);
        let shutdown = tasks.shutdown();
        tasks.service("node", async move {
            tokio::select! {
                () = Agent { context, pods, running: HashMap::new(), pressure: pressed }
                    .run(&ready_sender, stops, Evictions { storage: evictions, pressing }) => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Self { name, logs, presence, ready, stats, stop })
    }

    /// Waits until the node knows its pods.
    pub async fn ready(&self) {
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// The Node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The containers that run.
    pub fn presence(&self) -> Presence {
        self.presence.clone()
    }

    /// What the node and its containers use.
    pub fn stats(&self) -> NodeStats {
        self.stats.clone()
    }

    /// What containers printed.
    pub fn logs(&self) -> Logs {
        self.logs.clone()
    }

    /// Ends all pods within `grace`, and leaves their objects as they are: they run again when the node is started again.
    pub async fn stop(&self, grace: Duration) {
        let (ended, mut all_ended) = mpsc::channel(1);
        if self.stop.send((grace, ended)).await.is_ok() {
            // Every pod holds a sender until it has ended.
            let _ = all_ended.recv().await;
        }
    }
}

async fn register(
    registration: &Registration,
    client: &Client,
) -> Result<k8s_openapi::api::core::v1::Node, RegisterError> {
    let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match registration.register(client).await {
            Ok(node) => return Ok(node),
            Err(error) if retry.failures() < REGISTER_TRIES => {
                tracing::debug!(%error, "cannot register the node yet");
                tokio::time::sleep(retry.fail()).await;
            }
            Err(error) => {
                return Err(RegisterError::Api { name: registration.name.clone(), why: Box::new(error) });
            }
        }
    }
}

struct Agent {
    context: Arc<Context>,
    pods: Informer<Pod>,
    running: HashMap<Key, Known>,
    pressure: watch::Receiver<Pressure>,
}

/// Who tells of pods that have to go.
struct Evictions {
    /// They hold more than they may.
    storage: mpsc::UnboundedReceiver<volumes::Eviction>,
    /// The node is short of something.
    pressing: mpsc::UnboundedReceiver<(Key, String, Eviction)>,
}

struct Known {
    uid: Option<String>,
    wanted: watch::Sender<Wanted>,
}

impl Agent {
    async fn run(
        mut self,
        ready: &watch::Sender<bool>,
        mut stops: mpsc::Receiver<(Duration, mpsc::Sender<()>)>,
        mut evictions: Evictions,
    ) {
        let mut changes = self.pods.changes();
        self.pods.synced().await;
        for key in self.pods.keys() {
            self.observe(key);
        }
        self.sweep();
        ready.send_replace(true);
        loop {
            tokio::select! {
                keys = changes.next() => keys.into_iter().for_each(|key| self.observe(key)),
                Some(over) = evictions.storage.recv() => self.over_limit(over),
                Some((key, uid, eviction)) = evictions.pressing.recv() => self.evict(&key, &uid, eviction),
                Some((grace, ended)) = stops.recv() => {
                    for (_, known) in self.running.drain() {
                        let ended = ended.clone();
                        known.wanted.send_modify(|wanted| wanted.shutdown = Some((grace, ended)));
                    }
                    drop(ended);
                    // New pods are not begun any more; the process ends soon.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// A pod has written more than it may.
    fn over_limit(&self, over: volumes::Eviction) {
        let volumes::Eviction { key, uid, message } = over;
        self.context.figures.evicted(Signal::PodStorage);
        let eviction = Eviction { reason: "Evicted", message, grace: OVER_LIMIT_GRACE, disruption: false };
        self.evict(&key, &uid, eviction);
    }

    fn evict(&self, key: &Key, uid: &str, eviction: Eviction) {
        if let Some(known) = self.running.get(key).filter(|known| known.uid.as_deref() == Some(uid)) {
            known.wanted.send_modify(|wanted| wanted.eviction = Some(eviction));
        }
    }

    /// Why a pod that is new here is not begun.
    fn refusal(&self, pod: &Pod) -> Option<Eviction> {
        let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if begun || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let refused = |reason, message| Eviction { reason, message, grace: Duration::ZERO, disruption: false };
        if let Some(message) = self.pressure.borrow().refuses(pod) {
            return Some(refused("Evicted", message));
        }
        let capacity = &self.context.allocatable;
        fitting::refuses(pod, capacity, || self.pods.list()).map(|(reason, message)| refused(reason, message))
    }

    fn observe(&mut self, key: Key) {
        let pod = self.pods.at(&key);
        let same = |known: &Known| pod.as_ref().is_some_and(|pod| pod.metadata.uid == known.uid);
        if self.running.get(&key).is_some_and(|known| !same(known))
            && let Some(known) = self.running.remove(&key)
        {
            known.wanted.send_modify(|wanted| wanted.gone = true);
        }
        let Some(pod) = pod else { return };
        match self.running.get(&key) {
            Some(known) => {
                known.wanted.send_modify(|wanted| wanted.pod = pod);
            }
            None => {
                let uid = pod.metadata.uid.clone();
                let eviction = self.refusal(&pod);
                if eviction.is_none() {
                    self.count(&pod);
                }
                let (wanted, receiver) = watch::channel(Wanted { pod, gone: false, shutdown: None, eviction });
                self.context.tasks.job("pod", pod::run(self.context.clone(), receiver));
                self.running.insert(key, Known { uid, wanted });
            }
        }
    }

    /// How long it took from the making of a pod to here.
    fn count(&self, pod: &Pod) {
        let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if let Some(made) = crate::figures::made_at(pod).filter(|_| !begun) {
            let took = Timestamp::now().duration_since(made).try_into().unwrap_or_default();
            self.context.figures.stages.schedule.observe(took);
        }
    }

    /// Removes what pods have left behind that went while the node was away.
    fn sweep(&self) {
        let known: std::collections::HashSet<String> =
            self.running.values().filter_map(|known| known.uid.clone()).collect();
        let (logs, volumes) = (self.context.logs.clone(), self.context.volumes.clone());
        tokio::task::spawn_blocking(move || {
            logs.sweep(|uid| known.contains(uid));
            volumes.sweep(&known);
        });
    }
}
