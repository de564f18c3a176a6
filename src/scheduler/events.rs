//! What happens in the cluster, as far as it may make a pod fit that did not fit before.
//!
//! A pod is looked at again only for an event that the plug-ins which refused it care about.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};

use crate::ask::Ask;
use crate::node::NodeState;

/// One event.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A node that is new.
    NodeAdded(Arc<Node>),
    /// A node before and after a change.
    NodeChanged(Arc<Node>, Arc<Node>),
    /// A node that is gone; domains are gone with it.
    NodeRemoved,
    /// A pod that counts on a node from now on, or whose labels are others.
    PodPlaced(Arc<Ask>),
    /// A pod that counts no longer, and on which node it was.
    PodGone(Arc<Ask>),
    /// A pod's requests fell.
    PodShrunk,
    /// A claim appeared or changed.
    Claim(Arc<PersistentVolumeClaim>),
    /// A volume appeared or changed.
    Volume,
    /// A storage class appeared or changed.
    Class,
    /// Labels of namespaces changed.
    Namespace,
    /// Whatever it was: everything is worth another look.
    Anything,
}

/// Whether an event may make a pod fit that the plug-in refused.
pub(crate) type Wakes = fn(&Ask, &Event) -> bool;

/// Whether a node is new, or has other labels than before.
pub(crate) fn is_relabelled(event: &Event) -> bool {
    match event {
        Event::NodeAdded(_) => true,
        Event::NodeChanged(old, new) => old.metadata.labels != new.metadata.labels,
        _ => false,
    }
}

/// The node of an event about a node.
pub(crate) fn state_of(event: &Event) -> Option<NodeState> {
    match event {
        Event::NodeAdded(node) | Event::NodeChanged(_, node) => {
            Some(NodeState::new(0, node.metadata.name.as_deref().unwrap_or_default(), node.clone()))
        }
        _ => None,
    }
}

/// Whether a change of a node is one that no plug-in looks at: heartbeats, mostly.
pub(crate) fn is_idle(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.metadata.labels == new.metadata.labels && old.spec == new.spec && allocatable(old) == allocatable(new)
}
