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
use k8s_openapi::api::core::v1::{Pod, Service};
use network::PodNetwork;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::logs::Logs;
use crate::pod::{self, Wanted};
use crate::present::Presence;
use crate::registration::{Registration, capacity};
use crate::sandbox::Sandbox;

const REGISTER_TRIES: u32 = 8;

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
        }
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
        sandbox: Arc<dyn Sandbox>,
        images: ImageStore,
        network: PodNetwork,
        tasks: &Tasks,
    ) -> Result<Self, RegisterError> {
        let Config { name, folder, capacity: overrides, labels, host_ip, version } = config;
        let failed = |source| RegisterError::Folder { folder: folder.clone(), source };
        let logs = Logs::open_folder(folder.join("logs")).map_err(failed)?;
        let presence = Presence::default();
        let volumes = folder.join("volumes");
        std::fs::create_dir_all(&volumes).map_err(failed)?;
        let host = base::os::host();
        let capacity = capacity(&host, &overrides);
        let pod_cidr = network.config().pod_cidr.to_string();
        let registration =
            Registration { name: name.clone(), capacity: capacity.clone(), labels, host, host_ip, version, pod_cidr };
        let node = register(&registration, &client).await?;
        let informers = Informers::new(client.clone(), tasks);
        let pods = informers.selected::<Pod>(&Selection::fields(format!("spec.nodeName={name}")));
        let events = Recorder::new(client.clone(), tasks, "kubelet", Some(name.clone()));
        let context = Arc::new(Context {
            client: client.clone(),
            sandbox,
            images,
            network,
            logs: logs.clone(),
            presence: presence.clone(),
            events,
            services: informers.of::<Service>(),
            volumes,
            host_ip,
            allocatable: capacity,
            tasks: tasks.clone(),
        });
        let shutdown = tasks.shutdown();
        tasks.service("node lease", async move {
            tokio::select! {
                () = registration.live(&client, node) => {}
                () = shutdown.cancelled() => {}
            }
        });
        let (ready_sender, ready) = watch::channel(false);
        let (stop, stops) = mpsc::channel(1);
        let shutdown = tasks.shutdown();
        tasks.service("node", async move {
            tokio::select! {
                () = Agent { context, pods, running: HashMap::new() }.run(&ready_sender, stops) => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Self { name, logs, presence, ready, stop })
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
}

struct Known {
    uid: Option<String>,
    wanted: watch::Sender<Wanted>,
}

impl Agent {
    async fn run(mut self, ready: &watch::Sender<bool>, mut stops: mpsc::Receiver<(Duration, mpsc::Sender<()>)>) {
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
                let (wanted, receiver) = watch::channel(Wanted { pod, gone: false, shutdown: None });
                self.context.tasks.job("pod", pod::run(self.context.clone(), receiver));
                self.running.insert(key, Known { uid, wanted });
            }
        }
    }

    /// Removes what pods have left behind that went while the node was away.
    fn sweep(&self) {
        let known: std::collections::HashSet<String> =
            self.running.values().filter_map(|known| known.uid.clone()).collect();
        let (logs, volumes) = (self.context.logs.clone(), self.context.volumes.clone());
        tokio::task::spawn_blocking(move || {
            logs.sweep(|uid| known.contains(uid));
            for entry in std::fs::read_dir(volumes).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|uid| !known.contains(uid)) {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        });
    }
}
