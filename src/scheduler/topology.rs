//! Domains: the values that a label has on nodes, as small numbers by node, so that counting by domain is adding.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

/// The node has no such label.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The domains of one label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Axis {
    by_slot: Vec<u32>,
    numbers: HashMap<String, u32>,
}

impl Axis {
    /// The domain of a node.
    pub fn of(&self, slot: usize) -> u32 {
        self.by_slot.get(slot).copied().unwrap_or(NOWHERE)
    }

    /// How many values there ever were: numbers are below this.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    fn set(&mut self, slot: usize, value: Option<&String>) {
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, NOWHERE);
        }
        self.by_slot[slot] = match value {
            None => NOWHERE,
            Some(value) => {
                let next = u32::try_from(self.numbers.len()).unwrap_or(NOWHERE);
                *self.numbers.entry(value.clone()).or_insert(next)
            }
        };
    }
}

/// The labels that somebody asked about.
#[derive(Default)]
pub(crate) struct Topology {
    axes: HashMap<String, Arc<Axis>>,
}

impl Topology {
    /// Makes a label's domains known; `nodes` are all that there are.
    pub fn learn<'a>(&mut self, key: &str, nodes: impl Iterator<Item = (usize, &'a Node)>) {
        if self.axes.contains_key(key) {
            return;
        }
        let mut axis = Axis::default();
        for (slot, node) in nodes {
            axis.set(slot, node.metadata.labels.as_ref().and_then(|labels| labels.get(key)));
        }
        self.axes.insert(key.to_owned(), Arc::new(axis));
    }

    /// The domains of a label that was learnt.
    pub fn axis(&self, key: &str) -> Arc<Axis> {
        self.axes.get(key).cloned().unwrap_or_default()
    }

    /// A node came, changed, or went (`None`).
    pub fn set(&mut self, slot: usize, node: Option<&Node>) {
        for (key, axis) in &mut self.axes {
            let labels = node.and_then(|node| node.metadata.labels.as_ref());
            Arc::make_mut(axis).set(slot, labels.and_then(|labels| labels.get(key)));
        }
    }
}
