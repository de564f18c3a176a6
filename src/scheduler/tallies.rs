//! How many pods on each node answer a question, kept current as pods come and go, so that nobody counts all pods for one
//! decision.
//!
//! ```text
//! Tallies: questions that pods in the queue ask about placed pods    (affinity, anti-affinity, spreading)
//! Carried: what placed pods say about pods that are yet to come      (the other direction of affinity)
//! ```

use std::collections::HashMap;

use crate::ask::Ask;
use crate::terms::{Anchored, Namespaces, PodTerm};

/// A question about a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// All of them must mean the pod.
    pub terms: Vec<PodTerm>,
    /// What must control it.
    pub owner: Option<String>,
    /// Pods that are being deleted do not count.
    pub only_staying: bool,
}

impl Question {
    fn answer(&self, ask: &Ask, namespaces: &Namespaces) -> bool {
        (!self.only_staying || !ask.leaving)
            && (self.owner.is_none() || self.owner == ask.owner)
            && self.terms.iter().all(|term| term.matches(&ask.pod, namespaces))
    }

    fn depends_on_namespaces(&self) -> bool {
        self.terms.iter().any(|term| term.namespace_selector.is_some())
    }

    /// The one namespace that it is about, when it is about one.
    fn namespace(&self) -> Option<&str> {
        self.terms.iter().find_map(|term| match (&term.namespace_selector, &term.namespaces[..]) {
            (None, [one]) => Some(one.as_str()),
            _ => None,
        })
    }
}

struct Tally {
    question: Question,
    by_slot: Vec<u32>,
    total: u64,
    used: u64,
}

/// How many questions are remembered; the longest unasked are forgotten.
const REMEMBERED: usize = 1024;

/// Names one tally until the next question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TallyId(usize);

#[derive(Default)]
pub(crate) struct Tallies {
    all: Vec<Tally>,
    ids: HashMap<Question, usize>,
    by_namespace: HashMap<String, Vec<usize>>,
    wide: Vec<usize>,
    clock: u64,
}

impl Tallies {
    /// Makes the answers to a question known. `placed` are all pods and where they are; they are read only for a question
    /// that is new.
    pub fn learn<'a>(
        &mut self,
        question: Question,
        namespaces: &Namespaces,
        placed: impl Iterator<Item = (usize, &'a Ask)>,
    ) -> TallyId {
        self.clock += 1;
        if let Some(id) = self.ids.get(&question) {
            self.all[*id].used = self.clock;
            return TallyId(*id);
        }
        let mut tally = Tally { question: question.clone(), by_slot: Vec::new(), total: 0, used: self.clock };
        for (slot, ask) in placed {
            if question.answer(ask, namespaces) {
                tally.change(slot, 1);
            }
        }
        self.insert(tally);
        TallyId(self.all.len() - 1)
    }

    /// Forgets what nobody asked for a while. Ids that were given before mean nothing after this.
    pub fn tidy(&mut self) {
        if self.all.len() <= REMEMBERED {
            return;
        }
        let mut kept = std::mem::take(&mut self.all);
        kept.sort_by_key(|tally| std::cmp::Reverse(tally.used));
        kept.truncate(REMEMBERED / 2);
        self.rebuild(kept);
    }

    /// The labels of namespaces changed: what depends on them is to be counted anew.
    pub fn namespaces_changed(&mut self) {
        if self.all.iter().any(|tally| tally.question.depends_on_namespaces()) {
            let mut kept = std::mem::take(&mut self.all);
            kept.retain(|tally| !tally.question.depends_on_namespaces());
            self.rebuild(kept);
        }
    }

    fn rebuild(&mut self, kept: Vec<Tally>) {
        self.ids.clear();
        self.by_namespace.clear();
        self.wide.clear();
        self.all.clear();
        kept.into_iter().for_each(|tally| self.insert(tally));
    }

    fn insert(&mut self, tally: Tally) {
        let id = self.all.len();
        match tally.question.namespace() {
            Some(namespace) => self.by_namespace.entry(namespace.to_owned()).or_default().push(id),
            None => self.wide.push(id),
        }
        self.ids.insert(tally.question.clone(), id);
        self.all.push(tally);
    }

    /// A pod came to a node (`1`) or left it (`-1`).
    pub fn change(&mut self, slot: usize, ask: &Ask, by: i64, namespaces: &Namespaces) {
        let Self { all, by_namespace, wide, .. } = self;
        let near = by_namespace.get(&ask.key.namespace).into_iter().flatten();
        for id in near.chain(wide.iter()) {
            let tally = &mut all[*id];
            if tally.question.answer(ask, namespaces) {
                tally.change(slot, by);
            }
        }
    }

    /// How many pods on a node.
    pub fn on(&self, id: TallyId, slot: usize) -> i64 {
        self.all[id.0].by_slot.get(slot).copied().unwrap_or(0).into()
    }

    /// How many pods everywhere.
    pub fn total(&self, id: TallyId) -> u64 {
        self.all[id.0].total
    }
}

impl Tally {
    fn change(&mut self, slot: usize, by: i64) {
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, 0);
        }
        let count = i64::from(self.by_slot[slot]).saturating_add(by).max(0);
        self.by_slot[slot] = u32::try_from(count).unwrap_or(u32::MAX);
        self.total = self.total.saturating_add_signed(by);
    }
}

/// What a placed pod says about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Says {
    /// None of these in my domain.
    Forbids,
    /// I had to be with these.
    Requires,
    /// I would like to be with these, or (below zero) not.
    Prefers(i64),
}

/// How many pods on which node say it.
type BySlot = HashMap<usize, u32>;

#[derive(Default)]
pub(crate) struct Carried {
    all: HashMap<(Says, Anchored), BySlot>,
}

impl Carried {
    pub fn change(&mut self, slot: usize, ask: &Ask, by: i64) {
        let forbidden = ask.forbidden.iter().map(|term| (Says::Forbids, term));
        let required = ask.required.iter().map(|term| (Says::Requires, term));
        let preferred = ask.preferred.iter().map(|(weight, term)| (Says::Prefers(*weight), term));
        for (says, term) in forbidden.chain(required).chain(preferred) {
            let key = (says, term.clone());
            let slots = self.all.entry(key.clone()).or_default();
            let count = i64::from(slots.get(&slot).copied().unwrap_or(0)) + by;
            if count > 0 {
                slots.insert(slot, u32::try_from(count).unwrap_or(u32::MAX));
            } else {
                slots.remove(&slot);
            }
            if slots.is_empty() {
                self.all.remove(&key);
            }
        }
    }

    /// What is said about a pod.
    pub fn about<'a>(
        &'a self,
        ask: &'a Ask,
        namespaces: &'a Namespaces,
    ) -> impl Iterator<Item = (Says, &'a str, &'a BySlot)> {
        let all = self.all.iter();
        all.filter(|((_, anchored), _)| anchored.term.matches(&ask.pod, namespaces))
            .map(|((says, anchored), slots)| (*says, anchored.topology.as_str(), slots))
    }

    /// The labels that make domains of anything that is said.
    pub fn topologies(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(|(_, anchored)| anchored.topology.as_str())
    }
}
