//! The Node object and its Lease: that the node is there, what it has, and that it lives.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use client::Client;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::resources::FUEL;

const LEASES: &str = "kube-node-lease";
const LEASE_SECONDS: i32 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The status is written when the node starts, and again this often so that its heartbeat is not too old.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub name: String,
    pub capacity: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub host: base::os::Host,
    pub host_ip: IpAddr,
    pub version: String,
    pub pod_cidr: String,
}

/// What the host has, and what `overrides` says instead.
pub(crate) fn capacity(host: &base::os::Host, overrides: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), host.cpus.to_string()),
        ("memory".to_owned(), format!("{}Ki", host.memory_bytes >> 10)),
        ("pods".to_owned(), "100000".to_owned()),
        // Nothing is held to it: it is there so that requests for it do not keep a pod from being scheduled.
        ("ephemeral-storage".to_owned(), "100Gi".to_owned()),
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

    /// Renews the Lease and refreshes the status until the task is ended.
    pub async fn live(&self, client: &Client, node: Node) {
        let mut reported = Instant::now();
        let mut node = node;
        loop {
            if let Err(error) = self.renew(client, &node).await {
                tracing::warn!(%error, "cannot renew the node's lease");
            }
            tokio::time::sleep(RENEW_EVERY).await;
            if reported.elapsed() < REPORT_EVERY {
                continue;
            }
            let written = match self.report(client, node.status.as_ref()).await {
                Err(error) if client::is_not_found(&error) => self.register(client).await,
                other => other,
            };
            match written {
                Ok(written) => {
                    reported = Instant::now();
                    node = written;
                }
                Err(error) => tracing::warn!(%error, "cannot write the node's status"),
            }
        }
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
            self.capacity.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone()))).collect();
        let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
        NodeStatus {
            capacity: Some(quantities.clone()),
            allocatable: Some(quantities),
            conditions: Some(conditions(old, now)),
            addresses: Some(vec![
                address("InternalIP", self.host_ip.to_string()),
                address("Hostname", self.name.clone()),
            ]),
            daemon_endpoints: Some(NodeDaemonEndpoints::default()),
            node_info: Some(NodeSystemInfo {
                architecture: "wasm32".to_owned(),
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

fn conditions(old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let rows = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let known = |kind: &str, status: &str| {
        let conditions = old.and_then(|old| old.conditions.as_ref());
        let condition =
            conditions.into_iter().flatten().find(|condition| condition.type_ == kind && condition.status == status);
        condition.and_then(|condition| condition.last_transition_time.clone())
    };
    rows.into_iter()
        .map(|(kind, status, reason, message)| NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(known(kind, status).unwrap_or(Time(now))),
        })
        .collect()
}
