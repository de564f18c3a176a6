//! One decision: filter, score, pick. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::cluster::{Cluster, NodeState};
use crate::filters::{Wanted, refusal};
use crate::resources::Requests;
use crate::scores::scores;

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To this node.
    Place(String),
    /// Nowhere.
    Nowhere(Why),
}

/// Why a pod fits nowhere. Its text is what people read in events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Why {
    nodes: usize,
    /// How many nodes each reason refused.
    reasons: BTreeMap<String, usize>,
    /// How many of them no eviction could make fit.
    hopeless: usize,
}

/// Finds the best node for a pod. Of equally good ones `seed` picks.
pub(crate) fn decide(pod: &Pod, cluster: &Cluster, seed: u64) -> Decision {
    let wanted = Wanted { pod, requests: Requests::of(pod) };
    let mut why = Why::default();
    let mut fitting: Vec<&NodeState> = Vec::new();
    for state in cluster.nodes() {
        why.nodes += 1;
        let Some(refusal) = refusal(&wanted, state) else {
            fitting.push(state);
            continue;
        };
        why.hopeless += usize::from(!refusal.resolvable);
        for reason in refusal.reasons {
            *why.reasons.entry(reason).or_default() += 1;
        }
    }
    let uid = pod.uid();
    let scored = fitting.iter().zip(scores(&wanted, &fitting));
    let best = scored.max_by_key(|(state, score)| {
        let mut hasher = DefaultHasher::new();
        (seed, &uid, &state.node.metadata.name).hash(&mut hasher);
        (*score, hasher.finish())
    });
    match best {
        Some((state, _)) => Decision::Place(state.node.name_any()),
        None => Decision::Nowhere(why),
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, reasons, hopeless } = self;
        if *nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        // Kubernetes sorts the finished phrases, counts and all.
        let mut phrases: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        phrases.sort();
        write!(f, "0/{nodes} nodes are available: {}. ", phrases.join(", "))?;
        let (hopeless, others) = (*hopeless, nodes - hopeless);
        let evictions = [
            (hopeless, "Preemption is not helpful for scheduling"),
            (others, "No preemption victims found for incoming pod"),
        ];
        let mut phrases: Vec<String> =
            evictions.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        phrases.sort();
        write!(f, "preemption: 0/{nodes} nodes are available: {}.", phrases.join(", "))
    }
}
