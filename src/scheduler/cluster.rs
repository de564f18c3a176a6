//! What is where: nodes, what they have, and what is taken by pods that are bound or assumed to be.
//!
//! Everything that a decision needs is kept as sums that change with each pod: a decision reads and never counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::informers::Key;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use crate::ask::Ask;
use crate::labels::Labels;
use crate::node::NodeState;
use crate::tallies::{Carried, Question, Tallies, TallyId};
use crate::terms::Namespaces;
use crate::topology::Topology;
use crate::volumes::Volumes;

/// A pod that counts on a node.
struct Placed {
    node: String,
    ask: Arc<Ask>,
    /// The binding is on its way.
    assumed: bool,
}

/// The cluster as decisions see it.
#[derive(Default)]
pub(crate) struct Cluster {
    slots: Vec<Option<Box<NodeState>>>,
    free: Vec<usize>,
    /// Slots by the nodes' names.
    names: BTreeMap<String, usize>,
    /// The slots in the order of the names.
    order: Vec<usize>,
    placed: HashMap<Key, Placed>,
    /// Pods that are bound to nodes that are not known, by node.
    homeless: HashMap<String, Vec<Key>>,
    pub topology: Topology,
    pub tallies: Tallies,
    pub carried: Carried,
    pub namespaces: Namespaces,
    pub volumes: Volumes,
    /// On how many nodes an image is.
    images: HashMap<String, usize>,
    /// How many placed pods mount a claim.
    mounted: HashMap<Key, usize>,
    /// Pods for which others are being removed from a node, by node.
    nominated: BTreeMap<String, BTreeMap<Key, Arc<Ask>>>,
}

impl Cluster {
    pub(crate) fn with_volumes(volumes: Volumes) -> Self {
        Self { volumes, ..Self::default() }
    }

    /// The nodes by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.order.iter().filter_map(|slot| self.at(*slot))
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The node that is the `index`th by name.
    pub(crate) fn nth(&self, index: usize) -> Option<&NodeState> {
        self.order.get(index).and_then(|slot| self.at(*slot))
    }

    pub(crate) fn at(&self, slot: usize) -> Option<&NodeState> {
        self.slots.get(slot).and_then(Option::as_deref)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&NodeState> {
        self.names.get(name).and_then(|slot| self.at(*slot))
    }

    fn at_mut(&mut self, slot: usize) -> Option<&mut NodeState> {
        self.slots.get_mut(slot).and_then(Option::as_deref_mut)
    }

    /// Notes a node's present state. Returns what it was before.
    pub(crate) fn put_node(&mut self, node: Arc<Node>) -> Option<Arc<Node>> {
        let name = node.name_any();
        if let Some(slot) = self.names.get(&name).copied() {
            let state = self.at_mut(slot)?;
            let old = state.node.clone();
            let before: Vec<String> = state.images.keys().cloned().collect();
            let relabelled = old.metadata.labels != node.metadata.labels;
            state.read(node.clone());
            let after: Vec<String> = state.images.keys().cloned().collect();
            self.count_images(&before, &after);
            if relabelled {
                self.topology.set(slot, Some(&node));
            }
            return Some(old);
        }
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        let state = NodeState::new(slot, &name, node.clone());
        let images: Vec<String> = state.images.keys().cloned().collect();
        self.slots[slot] = Some(Box::new(state));
        let place = self.order.partition_point(|other| self.at(*other).is_some_and(|other| other.name < name));
        self.order.insert(place, slot);
        self.names.insert(name.clone(), slot);
        self.topology.set(slot, Some(&node));
        self.count_images(&[], &images);
        for key in self.homeless.remove(&name).unwrap_or_default() {
            let placed = self.placed.get(&key).filter(|placed| placed.node == name);
            if let Some(ask) = placed.map(|placed| placed.ask.clone()) {
                self.add(slot, &ask);
            }
        }
        None
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.names.remove(name) else { return };
        self.order.retain(|other| *other != slot);
        let Some(state) = self.at(slot) else { return };
        let images: Vec<String> = state.images.keys().cloned().collect();
        let asks: Vec<Arc<Ask>> = state.pods.values().cloned().collect();
        self.count_images(&images, &[]);
        asks.iter().for_each(|ask| self.take(slot, ask));
        self.homeless.insert(name.to_owned(), asks.iter().map(|ask| ask.key.clone()).collect());
        self.slots[slot] = None;
        self.free.push(slot);
        self.topology.set(slot, None);
    }

    fn count_images(&mut self, before: &[String], after: &[String]) {
        for name in before.iter().filter(|name| !after.contains(name)) {
            if let Some(count) = self.images.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.images.remove(name);
                }
            }
        }
        for name in after.iter().filter(|name| !before.contains(name)) {
            *self.images.entry(name.clone()).or_default() += 1;
        }
    }

    /// On how many nodes an image is.
    pub(crate) fn nodes_with_image(&self, name: &str) -> usize {
        self.images.get(name).copied().unwrap_or(0)
    }

    /// How many placed pods mount a claim.
    pub(crate) fn mounts(&self, claim: &Key) -> usize {
        self.mounted.get(claim).copied().unwrap_or(0)
    }

    /// Counts a pod on a node: assumed when the binding is still to be written. Returns what it asked for there before.
    pub(crate) fn place(&mut self, ask: &Arc<Ask>, node: &str, assumed: bool) -> Option<Arc<Ask>> {
        self.withdraw(&ask.key);
        let mut before = None;
        if let Some(placed) = self.placed.get_mut(&ask.key) {
            if placed.node == node && placed.ask.is_of(&ask.pod) {
                placed.assumed = assumed;
                return Some(placed.ask.clone());
            }
            before = self.remove(&ask.key);
        }
        match self.names.get(node).copied() {
            Some(slot) => self.add(slot, ask),
            None => self.homeless.entry(node.to_owned()).or_default().push(ask.key.clone()),
        }
        self.placed.insert(ask.key.clone(), Placed { node: node.to_owned(), ask: ask.clone(), assumed });
        before
    }

    /// Whether this very pod is assumed to be on a node already.
    pub(crate) fn is_assumed(&self, key: &Key, uid: &str) -> bool {
        self.placed.get(key).is_some_and(|placed| placed.assumed && placed.ask.uid == uid)
    }

    /// What a placed pod asked for, and where it is.
    pub(crate) fn placed(&self, key: &Key) -> Option<(&Arc<Ask>, &str)> {
        self.placed.get(key).map(|placed| (&placed.ask, placed.node.as_str()))
    }

    /// Counts a pod no longer. Returns what it asked for, if it counted.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Ask>> {
        let placed = self.placed.remove(key)?;
        match self.names.get(&placed.node).copied() {
            Some(slot) => self.take(slot, &placed.ask),
            None => {
                if let Some(keys) = self.homeless.get_mut(&placed.node) {
                    keys.retain(|homeless| homeless != key);
                    if keys.is_empty() {
                        self.homeless.remove(&placed.node);
                    }
                }
            }
        }
        Some(placed.ask)
    }

    /// Gives up an assumption whose binding failed. Returns whether it stood.
    pub(crate) fn forget(&mut self, key: &Key, uid: &str) -> bool {
        self.is_assumed(key, uid) && self.remove(key).is_some()
    }

    /// Counts a pod on a node, be it there or only thought to be.
    pub(crate) fn add(&mut self, slot: usize, ask: &Arc<Ask>) {
        let Some(state) = self.slots.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        state.add(ask);
        self.tallies.change(slot, ask, 1, &self.namespaces);
        self.carried.change(slot, ask, 1);
        for mounted in &ask.claims {
            *self.mounted.entry(mounted.claim.clone()).or_default() += 1;
        }
    }

    /// The opposite of [`Cluster::add`].
    pub(crate) fn take(&mut self, slot: usize, ask: &Arc<Ask>) {
        let Some(state) = self.slots.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        state.take(ask);
        self.tallies.change(slot, ask, -1, &self.namespaces);
        self.carried.change(slot, ask, -1);
        for mounted in &ask.claims {
            if let Some(count) = self.mounted.get_mut(&mounted.claim) {
                *count -= 1;
                if *count == 0 {
                    self.mounted.remove(&mounted.claim);
                }
            }
        }
    }

    /// Makes the answers to a question about placed pods known.
    pub(crate) fn learn(&mut self, question: Question) -> TallyId {
        let Self { tallies, namespaces, slots, .. } = self;
        let placed = slots.iter().flatten().flat_map(|state| {
            let slot = state.slot;
            state.pods.values().map(move |ask| (slot, ask.as_ref()))
        });
        tallies.learn(question, namespaces, placed)
    }

    /// Makes the domains of a label known.
    pub(crate) fn learn_topology(&mut self, key: &str) {
        let Self { topology, slots, .. } = self;
        topology.learn(key, slots.iter().flatten().map(|state| (state.slot, state.node.as_ref())));
    }

    /// A namespace came, changed or went. Returns whether its labels are others than before.
    pub(crate) fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        let before = match &labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()),
            None => self.namespaces.remove(name),
        };
        let is_news = before.unwrap_or_default() != labels.unwrap_or_default();
        if is_news {
            self.tallies.namespaces_changed();
        }
        is_news
    }

    /// Keeps a node's room for a pod while others are removed for it.
    pub(crate) fn nominate(&mut self, ask: &Arc<Ask>, node: &str) {
        self.withdraw(&ask.key);
        self.nominated.entry(node.to_owned()).or_default().insert(ask.key.clone(), ask.clone());
    }

    /// Keeps no room for a pod any more.
    pub(crate) fn withdraw(&mut self, key: &Key) -> bool {
        if self.nominated.is_empty() {
            return false;
        }
        let mut found = false;
        self.nominated.retain(|_, pods| {
            found |= pods.remove(key).is_some();
            !pods.is_empty()
        });
        found
    }

    /// Where room is kept for a pod.
    pub(crate) fn nomination(&self, key: &Key) -> Option<&str> {
        self.nominated.iter().find(|(_, pods)| pods.contains_key(key)).map(|(node, _)| node.as_str())
    }

    /// The pods for which room is kept on a node.
    pub(crate) fn nominated_on(&self, node: &str) -> impl Iterator<Item = &Arc<Ask>> {
        self.nominated.get(node).into_iter().flat_map(BTreeMap::values)
    }

    /// The nodes where room is kept for pods.
    pub(crate) fn nodes_with_nominated(&self) -> Vec<String> {
        self.nominated.keys().cloned().collect()
    }
}

/// Whether a pod has ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
