//! What a pod asks for, read once: a decision looks at it for every node.

use std::sync::Arc;

use client::informers::Key;
use k8s_openapi::api::core::v1::{Pod, PodSpec, TopologySpreadConstraint, WeightedPodAffinityTerm};
use kube::ResourceExt;

use crate::labels::Matcher;
use crate::resources::Requests;
use crate::terms::Anchored;

/// A port of the host that a pod wants for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub address: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Any address takes the port on all of them.
    pub fn collides(&self, other: &Self) -> bool {
        const ANY: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == ANY || other.address == ANY)
    }
}

/// How pods are to be spread over domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub topology: String,
    pub max_skew: i64,
    pub min_domains: i64,
    pub is_hard: bool,
    pub matcher: Matcher,
    /// Only nodes count that the pod's node affinity allows.
    pub honors_affinity: bool,
    /// Only nodes count whose taints the pod tolerates.
    pub honors_taints: bool,
}

/// A claim that a pod mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub claim: Key,
    /// Made for this pod alone.
    pub is_own: bool,
}

/// A pod as decisions see it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub pod: Arc<Pod>,
    pub key: Key,
    pub uid: String,
    pub priority: i32,
    pub requests: Requests,
    pub ports: Vec<HostPort>,
    pub required: Vec<Anchored>,
    pub forbidden: Vec<Anchored>,
    /// With weights, below zero for what is to be kept away from.
    pub preferred: Vec<(i64, Anchored)>,
    pub spread: Vec<Spread>,
    pub claims: Vec<Mounted>,
    pub images: Vec<String>,
    /// What controls it.
    pub owner: Option<String>,
    /// It is being deleted.
    pub leaving: bool,
}

impl Ask {
    pub fn of(pod: &Arc<Pod>) -> Arc<Self> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut ask = Self {
            key: Key::of(pod.as_ref()),
            uid: pod.uid().unwrap_or_default(),
            priority: 0,
            requests: Requests::of(pod),
            ports: Vec::new(),
            required: Vec::new(),
            forbidden: Vec::new(),
            preferred: Vec::new(),
            spread: Vec::new(),
            claims: Vec::new(),
            images: Vec::new(),
            owner: pod.owner_references().iter().find(|it| it.controller == Some(true)).map(|it| it.uid.clone()),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            pod: pod.clone(),
        };
        if let Some(spec) = &pod.spec {
            ask.priority = spec.priority.unwrap_or(0);
            ask.ports = ports(spec);
            ask.spread = spec.topology_spread_constraints.iter().flatten().map(spread).collect();
            ask.claims = claims(&ask.key, spec);
            let all = spec.init_containers.iter().flatten().chain(&spec.containers);
            ask.images = all.filter_map(|container| container.image.clone()).collect();
            ask.read_affinity(spec, &namespace);
        }
        Arc::new(ask)
    }

    fn read_affinity(&mut self, spec: &PodSpec, namespace: &str) {
        let Some(affinity) = &spec.affinity else { return };
        let weighted = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| {
            let terms = terms.iter().flatten();
            let read = |it: &WeightedPodAffinityTerm| {
                (sign * i64::from(it.weight), Anchored::of(&it.pod_affinity_term, namespace))
            };
            terms.map(read).collect::<Vec<_>>()
        };
        if let Some(near) = &affinity.pod_affinity {
            let required = near.required_during_scheduling_ignored_during_execution.iter().flatten();
            self.required = required.map(|term| Anchored::of(term, namespace)).collect();
            self.preferred.extend(weighted(&near.preferred_during_scheduling_ignored_during_execution, 1));
        }
        if let Some(far) = &affinity.pod_anti_affinity {
            let required = far.required_during_scheduling_ignored_during_execution.iter().flatten();
            self.forbidden = required.map(|term| Anchored::of(term, namespace)).collect();
            self.preferred.extend(weighted(&far.preferred_during_scheduling_ignored_during_execution, -1));
        }
    }

    /// Whether `pod` asks for the same as this one, so that nothing has to be counted anew.
    pub fn is_of(&self, pod: &Pod) -> bool {
        self.pod.metadata.uid == pod.metadata.uid
            && self.leaving == pod.metadata.deletion_timestamp.is_some()
            && self.pod.metadata.labels == pod.metadata.labels
            && self.pod.spec == pod.spec
            && self.allocated() == allocated(pod)
    }

    fn allocated(&self) -> Vec<&Option<k8s_openapi::api::core::v1::ResourceRequirements>> {
        allocated(&self.pod)
    }
}

/// What the node has given the containers so far, while a resize is under way.
fn allocated(pod: &Pod) -> Vec<&Option<k8s_openapi::api::core::v1::ResourceRequirements>> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| &status.resources).collect()
}

fn ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let host = ports.filter_map(|port| Some((port, port.host_port.filter(|number| *number > 0)?)));
    host.map(|(port, number)| HostPort {
        address: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned()),
        protocol: port.protocol.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "TCP".to_owned()),
        port: number,
    })
    .collect()
}

fn spread(constraint: &TopologySpreadConstraint) -> Spread {
    let is = |policy: &Option<String>, word: &str| policy.as_deref() == Some(word);
    Spread {
        topology: constraint.topology_key.clone(),
        max_skew: constraint.max_skew.into(),
        min_domains: constraint.min_domains.unwrap_or(1).into(),
        is_hard: constraint.when_unsatisfiable == "DoNotSchedule",
        matcher: Matcher::of(constraint.label_selector.as_ref()),
        honors_affinity: !is(&constraint.node_affinity_policy, "Ignore"),
        honors_taints: is(&constraint.node_taints_policy, "Honor"),
    }
}

fn claims(pod: &Key, spec: &PodSpec) -> Vec<Mounted> {
    let volumes = spec.volumes.iter().flatten();
    volumes
        .filter_map(|volume| {
            let (name, is_own) = match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(source), _) => (source.claim_name.clone(), false),
                (None, Some(_)) => (format!("{}-{}", pod.name, volume.name), true),
                (None, None) => return None,
            };
            Some(Mounted { claim: Key::new(pod.namespace.clone(), name), is_own })
        })
        .collect()
}
