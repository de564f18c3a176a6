//! One pod before one decision: what it asks for and what is known about that, computed once for all nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ask::Ask;
use crate::cluster::Cluster;
use crate::node::NodeState;
use crate::plugins::{ALL, Refusal, affinity, inter_pod, number, spread};
use crate::profile::Profile;
use crate::volumes::Wanted;

pub(crate) struct Case {
    pub ask: Arc<Ask>,
    pub profile: Arc<Profile>,
    pub volumes: Wanted,
    pub spread: spread::State,
    pub inter_pod: inter_pod::State,
    /// The only nodes that are worth a look.
    pub named: Option<BTreeSet<String>>,
    /// The rows that have something to say.
    filters: Vec<usize>,
}

/// No node will do, whichever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hopeless {
    /// The row that said so.
    pub plugin: usize,
    pub why: String,
}

impl Case {
    pub fn new(ask: &Arc<Ask>, profile: &Arc<Profile>, cluster: &mut Cluster) -> Result<Self, Hopeless> {
        let mut case = Self {
            ask: ask.clone(),
            profile: profile.clone(),
            volumes: Wanted::default(),
            spread: spread::State::default(),
            inter_pod: inter_pod::State::default(),
            named: affinity::named(&ask.pod),
            filters: Vec::new(),
        };
        if !ask.claims.is_empty() {
            case.volumes = cluster.volumes.read(ask).map_err(|why| {
                let plugin = number("VolumeBinding").unwrap_or_default();
                Hopeless { plugin, why }
            })?;
        }
        cluster.tallies.tidy();
        case.spread = spread::State::new(&case, cluster);
        case.inter_pod = inter_pod::State::new(&case, cluster);
        let on = |index: &usize| profile.filters & 1 << index != 0 && (ALL[*index].filters)(&case);
        case.filters = (0..ALL.len()).filter(on).collect();
        Ok(case)
    }

    /// Why a node will not do, and the row that says so. None when it will.
    pub fn refusal(&self, cluster: &Cluster, state: &NodeState) -> Option<(usize, Refusal)> {
        self.filters.iter().find_map(|index| {
            let filter = ALL[*index].filter?;
            filter(self, cluster, state).map(|refusal| (*index, refusal))
        })
    }

    /// The sums of the scores, in the order of `nodes`.
    pub fn scores(&self, cluster: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
        let mut sums = vec![0; nodes.len()];
        for (plugin, weight) in ALL.iter().zip(&self.profile.weights) {
            let Some(score) = plugin.score.filter(|_| *weight != 0 && (plugin.scores)(self)) else { continue };
            for (sum, value) in sums.iter_mut().zip(score(self, cluster, nodes)) {
                *sum += value * weight;
            }
        }
        sums
    }
}
