//! How fast nodes are tainted: slowly in a zone where many are down at once, and not at all when all zones are, because then
//! it is more likely that we are the ones who see nothing.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;

use super::NodeSettings;

/// How a zone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Initial,
    Normal,
    Partial,
    Full,
}

#[derive(Debug, Default)]
struct Zone {
    condition: Condition,
    /// Nodes a second.
    rate: f64,
    /// Nodes that are to be tainted, in the order in which they went silent.
    waiting: VecDeque<String>,
    /// The next may be tainted from then on.
    next: Option<Timestamp>,
}

/// What changed for all zones together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    /// Everything is down now: taints are taken back.
    AllDown,
    /// Something is up again: nobody is blamed for the time before.
    Recovered,
}

#[derive(Debug, Default)]
pub(super) struct Zones(BTreeMap<String, Zone>);

/// The zone of a node, empty when it names none.
pub(super) fn zone_of(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let region = label("topology.kubernetes.io/region").or_else(|| label("failure-domain.beta.kubernetes.io/region"));
    let zone = label("topology.kubernetes.io/zone").or_else(|| label("failure-domain.beta.kubernetes.io/zone"));
    match (region, zone) {
        (None, None) => String::new(),
        (region, zone) => format!("{}:{}", region.unwrap_or_default(), zone.unwrap_or_default()),
    }
}

impl Zones {
    /// Takes in how many nodes of each zone are ready and how many are not.
    pub fn count(&mut self, counts: &BTreeMap<String, (usize, usize)>, settings: &NodeSettings) -> Turn {
        let before =
            |zones: &Self| !zones.0.is_empty() && zones.0.values().all(|zone| zone.condition == Condition::Full);
        let was_down = before(self);
        self.0.retain(|name, _| counts.contains_key(name));
        let mut conditions = BTreeMap::new();
        for (name, (ready, not_ready)) in counts {
            conditions.insert(name.clone(), condition(*ready, *not_ready, settings));
        }
        let all_down = !conditions.is_empty() && conditions.values().all(|condition| *condition == Condition::Full);
        for (name, condition) in conditions {
            let (ready, not_ready) = counts[&name];
            let zone = self.0.entry(name).or_default();
            zone.condition = condition;
            zone.rate = match condition {
                _ if all_down => 0.0,
                Condition::Partial if ready + not_ready > settings.large_zone => settings.secondary_eviction_rate,
                Condition::Partial => 0.0,
                _ => settings.eviction_rate,
            };
            if all_down {
                zone.waiting.clear();
            }
        }
        match (was_down, all_down) {
            (false, true) => Turn::AllDown,
            (true, false) => Turn::Recovered,
            _ => Turn::None,
        }
    }

    /// Whether everything is down.
    pub fn are_down(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|zone| zone.condition == Condition::Full)
    }

    /// A node is to be tainted when its turn comes.
    pub fn enqueue(&mut self, zone: &str, node: &str) {
        let zone = self.0.entry(zone.to_owned()).or_default();
        if !zone.waiting.iter().any(|waiting| waiting == node) {
            zone.waiting.push_back(node.to_owned());
        }
    }

    /// A node is well again, or gone.
    pub fn dequeue(&mut self, node: &str) {
        self.0.values_mut().for_each(|zone| zone.waiting.retain(|waiting| waiting != node));
    }

    /// The nodes whose turn it is.
    pub fn due(&mut self, now: Timestamp) -> Vec<String> {
        let mut due = Vec::new();
        for zone in self.0.values_mut().filter(|zone| zone.rate > 0.0) {
            while zone.next.is_none_or(|next| next <= now)
                && let Some(node) = zone.waiting.pop_front()
            {
                due.push(node);
                zone.next = now.checked_add(SignedDuration::from_secs_f64(1.0 / zone.rate)).ok();
            }
        }
        due
    }
}

fn condition(ready: usize, not_ready: usize, settings: &NodeSettings) -> Condition {
    let share = not_ready as f64 / (ready + not_ready).max(1) as f64;
    match (ready, not_ready) {
        (0, 1..) => Condition::Full,
        (_, 3..) if share >= settings.unhealthy_zone => Condition::Partial,
        _ => Condition::Normal,
    }
}
