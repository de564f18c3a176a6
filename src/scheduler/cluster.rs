//! What is where: nodes, what they have, and what is taken by pods that are bound or assumed to be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::informers::Key;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use crate::resources::{Requests, Resources};

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    pub node: Arc<Node>,
    pub allocatable: Resources,
    pub taken: Resources,
    /// As `taken`, with the usual amounts for pods that name none.
    pub taken_usually: Resources,
    /// How many pods of each owner are here.
    pub owners: HashMap<String, u32>,
}

/// A pod that counts on a node.
struct Placed {
    node: String,
    uid: String,
    requests: Requests,
    owner: Option<String>,
    /// The binding is on its way.
    assumed: bool,
}

/// The cluster as decisions see it.
#[derive(Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    placed: HashMap<Key, Placed>,
    /// Pods that are bound to nodes that are not known, by node.
    homeless: HashMap<String, Vec<Key>>,
}

/// What groups pods that should be spread: what controls them.
pub(crate) fn owner(pod: &Pod) -> Option<String> {
    pod.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

impl Cluster {
    /// The nodes by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values()
    }

    /// Notes a node's present state. Returns whether pods that wait may fit now.
    pub(crate) fn put_node(&mut self, node: Arc<Node>) -> bool {
        let name = node.name_any();
        let allocatable = Resources::read(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        if let Some(state) = self.nodes.get_mut(&name) {
            let is_news = state.allocatable != allocatable
                || state.node.spec != node.spec
                || state.node.metadata.labels != node.metadata.labels
                || is_ready(&state.node) != is_ready(&node);
            state.node = node;
            state.allocatable = allocatable;
            return is_news;
        }
        let state = NodeState {
            node,
            allocatable,
            taken: Resources::default(),
            taken_usually: Resources::default(),
            owners: HashMap::new(),
        };
        self.nodes.insert(name.clone(), state);
        for key in self.homeless.remove(&name).unwrap_or_default() {
            if let Some(placed) = self.placed.get(&key).filter(|placed| placed.node == name) {
                count(self.nodes.get_mut(&name), placed);
            }
        }
        true
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if self.nodes.remove(name).is_some() {
            let here = self.placed.iter().filter(|(_, placed)| placed.node == name);
            let keys: Vec<Key> = here.map(|(key, _)| key.clone()).collect();
            self.homeless.insert(name.to_owned(), keys);
        }
    }

    /// Counts a pod on a node: assumed when the binding is still to be written.
    pub(crate) fn place(&mut self, key: &Key, pod: &Pod, node: &str, assumed: bool) {
        let uid = pod.uid().unwrap_or_default();
        if let Some(placed) = self.placed.get_mut(key) {
            if placed.node == node && placed.uid == uid {
                placed.assumed = assumed;
                return;
            }
            self.remove(key);
        }
        let placed = Placed { node: node.to_owned(), uid, requests: Requests::of(pod), owner: owner(pod), assumed };
        match self.nodes.get_mut(node) {
            Some(state) => count(Some(state), &placed),
            None => self.homeless.entry(node.to_owned()).or_default().push(key.clone()),
        }
        self.placed.insert(key.clone(), placed);
    }

    /// Whether this very pod is assumed to be on a node already.
    pub(crate) fn is_assumed(&self, key: &Key, uid: &str) -> bool {
        self.placed.get(key).is_some_and(|placed| placed.assumed && placed.uid == uid)
    }

    /// Counts a pod no longer. Returns whether that made room.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        let Some(state) = self.nodes.get_mut(&placed.node) else {
            if let Some(keys) = self.homeless.get_mut(&placed.node) {
                keys.retain(|homeless| homeless != key);
            }
            return false;
        };
        state.taken.subtract(&placed.requests.must);
        state.taken_usually.subtract(&placed.requests.usual);
        if let Some(owner) = &placed.owner
            && let Some(count) = state.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                state.owners.remove(owner);
            }
        }
        true
    }

    /// Gives up an assumption whose binding failed. Returns whether it stood.
    pub(crate) fn forget(&mut self, key: &Key, uid: &str) -> bool {
        self.is_assumed(key, uid) && self.remove(key)
    }
}

fn count(state: Option<&mut NodeState>, placed: &Placed) {
    let Some(state) = state else { return };
    state.taken.add(&placed.requests.must);
    state.taken_usually.add(&placed.requests.usual);
    if let Some(owner) = &placed.owner {
        *state.owners.entry(owner.clone()).or_default() += 1;
    }
}

/// Whether the node says that it can run pods. One that says nothing yet cannot.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
