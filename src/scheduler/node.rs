//! One node as decisions see it: what it is, what it has, and what is there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::informers::Key;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::ask::{Ask, HostPort};
use crate::resources::Resources;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    /// Its number, for as long as it is there.
    pub slot: usize,
    pub name: String,
    pub node: Arc<Node>,
    pub allocatable: Resources,
    pub taken: Resources,
    /// As `taken`, with the usual amounts for pods that name none.
    pub taken_usually: Resources,
    /// The pods that are there or on their way.
    pub pods: BTreeMap<Key, Arc<Ask>>,
    /// The ports of the host that they hold.
    pub ports: Vec<HostPort>,
    /// The sizes of the images that are there, by name.
    pub images: HashMap<String, i64>,
    /// What keeps pods away.
    pub taints: Vec<Taint>,
    /// What would rather keep pods away.
    pub reluctance: Vec<Taint>,
    pub is_cordoned: bool,
}

impl NodeState {
    pub fn new(slot: usize, name: &str, node: Arc<Node>) -> Self {
        let mut state = Self {
            slot,
            name: name.to_owned(),
            node: node.clone(),
            allocatable: Resources::default(),
            taken: Resources::default(),
            taken_usually: Resources::default(),
            pods: BTreeMap::new(),
            ports: Vec::new(),
            images: HashMap::new(),
            taints: Vec::new(),
            reluctance: Vec::new(),
            is_cordoned: false,
        };
        state.read(node);
        state
    }

    /// Takes in what the node says now.
    pub fn read(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.allocatable = Resources::read(status.and_then(|status| status.allocatable.as_ref()));
        let taints = || node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        self.taints = taints().filter(keeps_away).cloned().collect();
        self.reluctance = taints().filter(|taint| taint.effect == "PreferNoSchedule").cloned().collect();
        self.is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        let images = status.iter().flat_map(|status| status.images.iter().flatten());
        self.images = images
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0).max(0);
                image.names.iter().flatten().map(move |name| (name.clone(), size))
            })
            .collect();
        self.node = node;
    }

    pub fn add(&mut self, ask: &Arc<Ask>) {
        self.taken.add(&ask.requests.must);
        self.taken_usually.add(&ask.requests.usual);
        self.ports.extend(ask.ports.iter().cloned());
        self.pods.insert(ask.key.clone(), ask.clone());
    }

    pub fn take(&mut self, ask: &Ask) {
        if self.pods.remove(&ask.key).is_none() {
            return;
        }
        // Added up again, not taken away: sums that were held to the largest number cannot be undone otherwise.
        if self.taken.is_full() || self.taken_usually.is_full() {
            self.taken = Resources::default();
            self.taken_usually = Resources::default();
            for other in self.pods.values() {
                self.taken.add(&other.requests.must);
                self.taken_usually.add(&other.requests.usual);
            }
        } else {
            self.taken.subtract(&ask.requests.must);
            self.taken_usually.subtract(&ask.requests.usual);
        }
        for port in &ask.ports {
            if let Some(index) = self.ports.iter().position(|held| held == port) {
                self.ports.swap_remove(index);
            }
        }
    }

    pub fn label(&self, key: &str) -> Option<&String> {
        self.node.metadata.labels.as_ref()?.get(key)
    }
}
