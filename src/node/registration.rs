//! The Node object and its Lease: that the node is there, what it has, and that it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use client::Client;
use client::events::{Recorder, Severity};
use images::{Digest, Image, ImageStore, Reference};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    ContainerImage, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::pressure::Pressure;
use crate::resources::FUEL;

const LEASES: &str = "kube-node-lease";
const LEASE_SECONDS: i32 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The status is written when it has changed, and else this often, so that its heartbeats are not too old.
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// So many images stand in the status, the largest first.
const IMAGES_SHOWN: usize = 50;
/// And so many names of each.
const IMAGE_NAMES_SHOWN: usize = 5;
/// Where nobody can tell how large the disk is: requests for it must not keep pods from being scheduled.
const DISK: &str = "100Gi";

/// What a node says of itself.
#[derive(Clone)]
pub(crate) struct Registration {
    pub name: String,
    pub capacity: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub host: base::os::Host,
    pub host_ip: IpAddr,
    pub version: String,
    pub pod_cidr: String,
    /// Of the machine, and of this run of it.
    pub ids: (String, String),
    pub images: ImageStore,
    pub pressure: watch::Receiver<Pressure>,
}

/// The largest images, each once, with what it can be named by: its digests first.
fn shown(images: Vec<Image>) -> Vec<ContainerImage> {
    let mut by_digest: BTreeMap<Digest, (u64, BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for image in images {
        let (size, pinned, tagged) = by_digest.entry(image.digest.clone()).or_default();
        *size = image.size;
        pinned.extend(image.reference.parse().ok().map(|reference: Reference| reference.at(&image.digest)));
        tagged.insert(image.reference);
    }
    let mut images: Vec<(u64, Vec<String>)> = by_digest
        .into_values()
        .map(|(size, pinned, tagged)| (size, pinned.into_iter().chain(tagged).take(IMAGE_NAMES_SHOWN).collect()))
        .collect();
    images
        .sort_by(|(size, names), (other_size, other_names)| other_size.cmp(size).then_with(|| names.cmp(other_names)));
    images.truncate(IMAGES_SHOWN);
    let described = |(size, names)| ContainerImage { names: Some(names), size_bytes: i64::try_from(size).ok() };
    images.into_iter().map(described).collect()
}

/// What the host has, and what `overrides` says instead.
pub(crate) fn capacity(
    host: &base::os::Host,
    folder: &Path,
    overrides: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let memory = base::os::memory().total;
    let disk = base::os::disk(folder).map(|disk| format!("{}Ki", disk.total >> 10));
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), host.cpus.to_string()),
        ("memory".to_owned(), format!("{}Ki", memory >> 10)),
        ("pods".to_owned(), "100000".to_owned()),
        ("ephemeral-storage".to_owned(), disk.unwrap_or_else(|| DISK.to_owned())),
        (FUEL.to_owned(), "1E".to_owned()),
    ]);
    capacity.extend(overrides.clone());
    capacity
}

impl Registration {
    /// Makes the Node, or takes over the one that is there, and says that it is ready.
    pub async fn register(&self, client: &Client) -> Result<Node, kube::Error> {
        let nodes = Api::<Node>::all(client.clone());
        let node = match nodes.get_opt(&self.name).await? {
            Some(_) => {
                let patch = json!({ "metadata": { "labels": self.all_labels() } });
                nodes.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?
            }
            None => match nodes.create(&PostParams::default(), &self.object()).await {
                Err(error) if client::is_taken(&error) => nodes.get(&self.name).await?,
                other => other?,
            },
        };
        self.report(client, node.status.as_ref()).await
    }

    /// Writes the status. Conditions keep the time since which they hold.
    async fn report(&self, client: &Client, old: Option<&NodeStatus>) -> Result<Node, kube::Error> {
        let nodes = Api::<Node>::all(client.clone());
        let patch = json!({ "status": self.status(old, Timestamp::now()) });
        nodes.patch_status(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Renews the Lease, and writes the status when it has changed, until the task is ended.
    pub async fn live(&self, client: &Client, node: Node, events: &Recorder) {
        let mut node = node;
        let mut reported = Instant::now();
        let mut pressure = self.pressure.clone();
        let mut before = *pressure.borrow_and_update();
        events.event(client::events::reference(&node), Severity::Normal, "Starting", "Starting kubelet.".to_owned());
        if has_become_ready(&node) {
            let message = format!("Node {} status is now: NodeReady", self.name);
            events.event(client::events::reference(&node), Severity::Normal, "NodeReady", message);
        }
        let mut renewed = None::<Instant>;
        loop {
            if renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                renewed = Some(Instant::now());
                if let Err(error) = self.renew(client, &node).await {
                    tracing::warn!(%error, "cannot renew the node's lease");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RENEW_EVERY) => {}
                _ = pressure.changed() => {
                    let now = *pressure.borrow_and_update();
                    self.tell(events, &node, before, now);
                    before = now;
                }
            }
            let written = match self.seen(client).await {
                // Whoever takes a node for lost writes so into its status: it speaks for itself as soon as it can.
                Ok(Some(seen)) if reported.elapsed() < REPORT_EVERY && self.says(&seen) => {
                    node = seen;
                    continue;
                }
                Ok(Some(seen)) => {
                    if !is_ready(&seen) {
                        let message = format!("Node {} status is now: NodeReady", self.name);
                        events.event(client::events::reference(&seen), Severity::Normal, "NodeReady", message);
                    }
                    self.report(client, seen.status.as_ref()).await
                }
                Ok(None) => self.register(client).await,
                Err(error) => Err(error),
            };
            match written {
                Ok(written) => {
                    node = written;
                    reported = Instant::now();
                }
                Err(error) => tracing::warn!(%error, "cannot write the node's status"),
            }
        }
    }

    /// The node as the server has it.
    async fn seen(&self, client: &Client) -> Result<Option<Node>, kube::Error> {
        Api::<Node>::all(client.clone()).get_opt(&self.name).await
    }

    /// Whether the status is what would be written, but for the times and for what others have added.
    fn says(&self, node: &Node) -> bool {
        let mut wanted = self.status(node.status.as_ref(), Timestamp::UNIX_EPOCH);
        for condition in wanted.conditions.iter_mut().flatten() {
            condition.last_transition_time = None;
            condition.last_heartbeat_time = None;
        }
        covers(&json!(node.status), &json!(wanted))
    }

    fn tell(&self, events: &Recorder, node: &Node, before: Pressure, now: Pressure) {
        for ((_, was, ..), (_, is, reason, _)) in pressures(before).into_iter().zip(pressures(now)) {
            if was != is {
                let reason = reason.replacen("Kubelet", "Node", 1);
                let message = format!("Node {} status is now: {reason}", self.name);
                events.event(client::events::reference(node), Severity::Normal, &reason, message);
            }
        }
    }

    fn images(&self) -> Vec<ContainerImage> {
        shown(self.images.list())
    }

    async fn renew(&self, client: &Client, node: &Node) -> Result<(), kube::Error> {
        let leases = Api::<Lease>::namespaced(client.clone(), LEASES);
        let now = MicroTime(Timestamp::now());
        let patch =
            json!({ "spec": { "holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now } });
        match leases.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if client::is_not_found(&error) => {}
            other => return other.map(drop),
        }
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.name.clone(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(LEASES.to_owned()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name.clone()),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        leases.create(&PostParams::default(), &lease).await.map(drop)
    }

    fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("kubernetes.io/os".to_owned(), self.host.os.to_owned()),
            ("kubernetes.io/arch".to_owned(), "wasm32".to_owned()),
            ("kubernetes.io/hostname".to_owned(), self.name.clone()),
        ]);
        labels.extend(self.labels.clone());
        labels
    }

    fn object(&self) -> Node {
        Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.all_labels()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                pod_cidr: Some(self.pod_cidr.clone()),
                pod_cidrs: Some(vec![self.pod_cidr.clone()]),
                ..NodeSpec::default()
            }),
            status: None,
        }
    }

    fn status(&self, old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
        let quantities: BTreeMap<String, Quantity> =
            self.capacity.iter().map(|(name, amount)| (name.clone(), Quantity(canonical(amount)))).collect();
        let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
        // Whoever advertises a resource of his own writes its capacity; all of it may be asked for.
        let capacity = old.and_then(|old| old.capacity.clone()).unwrap_or_default();
        let others = capacity.into_iter().filter(|(name, _)| name.contains('/') && !quantities.contains_key(name));
        let quantities: BTreeMap<String, Quantity> = quantities.clone().into_iter().chain(others).collect();
        NodeStatus {
            capacity: Some(quantities.clone()),
            allocatable: Some(quantities),
            conditions: Some(conditions(old, *self.pressure.borrow(), now)),
            addresses: Some(vec![
                address("InternalIP", self.host_ip.to_string()),
                address("Hostname", self.name.clone()),
            ]),
            daemon_endpoints: Some(NodeDaemonEndpoints::default()),
            images: Some(self.images()),
            runtime_handlers: Some(vec![NodeRuntimeHandler {
                name: Some(String::new()),
                features: Some(NodeRuntimeHandlerFeatures {
                    recursive_read_only_mounts: Some(true),
                    user_namespaces: Some(false),
                }),
            }]),
            features: Some(NodeFeatures { supplemental_groups_policy: Some(false) }),
            node_info: Some(NodeSystemInfo {
                architecture: "wasm32".to_owned(),
                machine_id: self.ids.0.clone(),
                system_uuid: self.ids.0.clone(),
                boot_id: self.ids.1.clone(),
                container_runtime_version: "wasmtime://48.0".to_owned(),
                kernel_version: self.host.kernel.clone(),
                kubelet_version: self.version.clone(),
                operating_system: self.host.os.to_owned(),
                os_image: self.host.os_image.clone(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }
    }
}

/// Whether the report that is in the status is the first that says so.
fn has_become_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready.is_some_and(|ready| ready.last_transition_time == ready.last_heartbeat_time)
}

/// An amount as the server has it once it was written: what is said otherwise would be said again and again.
fn canonical(amount: &str) -> String {
    amount.parse::<api::quantity::Quantity>().map_or_else(|_| amount.to_owned(), |amount| amount.to_string())
}

/// Why a node is short of something, or is not: type, reason and message.
fn pressures(pressure: Pressure) -> [(&'static str, bool, &'static str, &'static str); 3] {
    [
        match pressure.memory {
            true => {
                ("MemoryPressure", true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
            }
            false => ("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        },
        match pressure.disk {
            true => ("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure"),
            false => ("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        },
        match pressure.pids {
            true => ("PIDPressure", true, "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            false => ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        },
    ]
}

fn conditions(old: Option<&NodeStatus>, pressure: Pressure, now: Timestamp) -> Vec<NodeCondition> {
    let word = |holds: bool| if holds { "True" } else { "False" };
    let [memory, disk, pids] =
        pressures(pressure).map(|(kind, holds, reason, message)| (kind, word(holds), reason, message));
    let rows = [memory, disk, pids, ("Ready", "True", "KubeletReady", "kubelet is posting ready status")];
    let known = |kind: &str, status: &str| {
        let conditions = old.and_then(|old| old.conditions.as_ref());
        let condition =
            conditions.into_iter().flatten().find(|condition| condition.type_ == kind && condition.status == status);
        condition.and_then(|condition| condition.last_transition_time.clone())
    };
    let is_ours = |condition: &NodeCondition| rows.iter().any(|(kind, ..)| *kind == condition.type_);
    let others = old.and_then(|old| old.conditions.as_ref()).into_iter().flatten();
    // What others say about the node stays.
    let others: Vec<NodeCondition> = others.filter(|condition| !is_ours(condition)).cloned().collect();
    rows.into_iter()
        .map(|(kind, status, reason, message)| NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(known(kind, status).unwrap_or(Time(now))),
        })
        .chain(others)
        .collect()
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether all that `wanted` says is said; objects may say more.
fn covers(said: &Value, wanted: &Value) -> bool {
    match (said, wanted) {
        (Value::Object(said), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| covers(said.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(said), Value::Array(wanted)) => {
            said.len() == wanted.len() && said.iter().zip(wanted).all(|(said, wanted)| covers(said, wanted))
        }
        (Value::Null, Value::Object(wanted)) => wanted.is_empty(),
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        _ => said == wanted,
    }
}
