//! All nodes at one moment: who is silent, what is to be written. Pure; time is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::NodeSettings;
use super::health::{Finding, Health};
use super::zones::{Turn, Zones, zone_of};

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const EFFECT: &str = "NoExecute";
/// Nodes with this label are in no count of what is down.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    /// Say something about a node: reason and message.
    Tell(Arc<Node>, &'static str, String),
    /// Write its conditions.
    Report(Arc<Node>, Vec<NodeCondition>),
    /// Its pods are not ready.
    Unready(Arc<Node>),
    /// Write its taints.
    Taint(Arc<Node>, Vec<Taint>),
}

pub(super) struct Monitor {
    settings: NodeSettings,
    known: BTreeMap<String, (Arc<Node>, Health)>,
    zones: Zones,
    /// When nodes were looked at last.
    looked: Option<Timestamp>,
}

impl Monitor {
    pub fn new(settings: NodeSettings) -> Self {
        Self { settings, known: BTreeMap::new(), zones: Zones::default(), looked: None }
    }

    /// Looks at every node once.
    pub fn step(
        &mut self,
        now: Timestamp,
        nodes: &[Arc<Node>],
        lease_of: &dyn Fn(&str) -> Option<Arc<Lease>>,
    ) -> Vec<Deed> {
        let mut deeds = Vec::new();
        self.forget(nodes, &mut deeds);
        if self.was_away(now) {
            self.known.values_mut().for_each(|(_, health)| health.forgive(now));
        }
        let mut findings: BTreeMap<String, (Arc<Node>, Finding)> = BTreeMap::new();
        for node in nodes {
            let name = node.name_any();
            let (known, health) = self.known.entry(name.clone()).or_insert_with(|| {
                deeds.push(tell(node, "RegisteredNode", format!("Registered Node {name} in Controller")));
                (node.clone(), Health::default())
            });
            *known = node.clone();
            let finding = health.look(node, lease_of(&name).as_deref(), now, &self.settings);
            if let Some(conditions) = &finding.conditions {
                deeds.push(Deed::Report(node.clone(), conditions.clone()));
            }
            let present = finding.present.as_deref();
            if present != Some("True") && finding.observed == "True" {
                let message = format!("Node {name} status is now: NodeNotReady");
                deeds.push(Deed::Tell(node.clone(), "NodeNotReady", message));
            }
            // A node that reports speaks for its pods itself.
            if present == Some("Unknown") {
                deeds.push(Deed::Unready(node.clone()));
            }
            findings.insert(name, (node.clone(), finding));
        }
        self.taint(now, &findings, &mut deeds);
        deeds
    }

    /// Whether nobody has looked for long: this machine slept, or was too busy. No node is blamed for its silence in that time.
    fn was_away(&mut self, now: Timestamp) -> bool {
        let NodeSettings { monitor_period, monitor_grace, .. } = self.settings;
        let long = SignedDuration::try_from((monitor_grace / 2).max(monitor_period * 2)).unwrap_or(SignedDuration::MAX);
        let before = self.looked.replace(now);
        before.is_some_and(|before| now.duration_since(before) > long)
    }

    fn forget(&mut self, nodes: &[Arc<Node>], deeds: &mut Vec<Deed>) {
        let present: BTreeSet<(String, Option<String>)> =
            nodes.iter().map(|node| (node.name_any(), node.metadata.uid.clone())).collect();
        let gone = |(name, (node, _)): &(&String, &(Arc<Node>, Health))| {
            !present.contains(&((*name).clone(), node.metadata.uid.clone()))
        };
        let gone: Vec<String> = self.known.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some((node, _)) = self.known.remove(&name) {
                deeds.push(tell(&node, "RemovingNode", format!("Removing Node {name} from Controller")));
            }
            self.zones.dequeue(&name);
        }
    }

    fn taint(&mut self, now: Timestamp, findings: &BTreeMap<String, (Arc<Node>, Finding)>, deeds: &mut Vec<Deed>) {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (node, finding) in findings.values() {
            let zone = counts.entry(zone_of(node)).or_default();
            if !node.labels().contains_key(EXCLUDED) {
                let is_ready = finding.present.as_deref() == Some("True");
                if is_ready { zone.0 += 1 } else { zone.1 += 1 }
            }
        }
        let turn = self.zones.count(&counts, &self.settings);
        if turn == Turn::Recovered {
            self.known.values_mut().for_each(|(_, health)| health.forgive(now));
        }
        let down = self.zones.are_down();
        for (name, (node, finding)) in findings {
            let wanted = wanted(finding);
            let held = held(node);
            match (wanted, held) {
                _ if down => {
                    // Nobody leaves while everything seems to be down.
                    if held.is_some() {
                        deeds.push(Deed::Taint(node.clone(), with(node, None, now)));
                    }
                }
                (None, Some(_)) => {
                    self.zones.dequeue(name);
                    deeds.push(Deed::Taint(node.clone(), with(node, None, now)));
                }
                (None, None) => self.zones.dequeue(name),
                (Some(wanted), Some(held)) if wanted != held => {
                    deeds.push(Deed::Taint(node.clone(), with(node, Some(wanted), now)));
                }
                (Some(_), Some(_)) => {}
                (Some(_), None) => self.zones.enqueue(&zone_of(node), name),
            }
        }
        for name in self.zones.due(now) {
            if let Some((node, finding)) = findings.get(&name)
                && let Some(key) = wanted(finding)
            {
                deeds.push(Deed::Taint(node.clone(), with(node, Some(key), now)));
            }
        }
    }
}

fn tell(node: &Arc<Node>, reason: &'static str, event: String) -> Deed {
    Deed::Tell(node.clone(), reason, format!("Node {} event: {event}", node.name_any()))
}

/// The taint that a node should have.
fn wanted(finding: &Finding) -> Option<&'static str> {
    match finding.present.as_deref() {
        None | Some("True") => None,
        Some("False") => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
    }
}

fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten())
}

/// The taint that it has.
fn held(node: &Node) -> Option<&'static str> {
    let has = |key: &str| taints(node).any(|taint| taint.key == key && taint.effect == EFFECT);
    [NOT_READY, UNREACHABLE].into_iter().find(|key| has(key))
}

/// Its taints with this one of ours.
fn with(node: &Node, key: Option<&str>, now: Timestamp) -> Vec<Taint> {
    let is_ours = |taint: &Taint| taint.effect == EFFECT && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
    let mut wanted: Vec<Taint> = taints(node).filter(|taint| !is_ours(taint)).cloned().collect();
    wanted.extend(key.map(|key| Taint {
        key: key.to_owned(),
        effect: EFFECT.to_owned(),
        time_added: Some(Time(now)),
        ..Taint::default()
    }));
    wanted
}
