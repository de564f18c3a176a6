//! What pods say about other pods: which ones they mean, and in which domain of the nodes' labels.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};

use crate::labels::{Labels, Matcher};

/// The labels of the namespaces that exist.
pub(crate) type Namespaces = HashMap<String, Labels>;

/// Some pods: by where they are and by their labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PodTerm {
    pub namespaces: Vec<String>,
    /// Namespaces besides those, by their labels.
    pub namespace_selector: Option<Matcher>,
    pub selector: Matcher,
}

impl PodTerm {
    pub fn in_namespace(namespace: &str, selector: Matcher) -> Self {
        Self { namespaces: vec![namespace.to_owned()], namespace_selector: None, selector }
    }

    pub fn of(term: &PodAffinityTerm, own_namespace: &str) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(own_namespace.to_owned());
        }
        namespaces.sort();
        namespaces.dedup();
        Self {
            namespaces,
            namespace_selector: term.namespace_selector.as_ref().map(|selector| Matcher::of(Some(selector))),
            selector: Matcher::of(term.label_selector.as_ref()),
        }
    }

    pub fn matches(&self, pod: &Pod, known: &Namespaces) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        self.covers(namespace, known) && self.selector.matches(labels_of(pod))
    }

    fn covers(&self, namespace: &str, known: &Namespaces) -> bool {
        static NONE: Labels = Labels::new();
        self.namespaces.iter().any(|named| named == namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|selector| selector.matches(known.get(namespace).unwrap_or(&NONE)))
    }
}

/// A term and the label that makes domains of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Anchored {
    pub term: PodTerm,
    pub topology: String,
}

impl Anchored {
    pub fn of(term: &PodAffinityTerm, own_namespace: &str) -> Self {
        Self { term: PodTerm::of(term, own_namespace), topology: term.topology_key.clone() }
    }
}

/// A pod's labels.
pub(crate) fn labels_of(pod: &Pod) -> &Labels {
    static NONE: Labels = Labels::new();
    pod.metadata.labels.as_ref().unwrap_or(&NONE)
}
