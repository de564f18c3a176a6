//! The loop: what changed → who waits → one decision after the other → bindings side by side.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::informers::{Changes, Informer, Key};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::Config;
use crate::ask::Ask;
use crate::bind::{Binder, Bound, Nomination, Word, scheduler_of};
use crate::cluster::{Cluster, is_finished};
use crate::decide::{Decision, Why, decide};
use crate::events::{Event, is_idle};
use crate::metrics::SchedulerMetrics;
use crate::preemption::{Preemption, preempt};
use crate::profile::{Profile, Profiles};
use crate::queue::{Queue, is_gated};
use crate::volumes::{Step, Volumes};

/// Bindings and messages under way at once. Writes that arrive together share one fsync.
const WRITES_MAX: usize = 64;

/// Everything that the scheduler watches.
#[derive(Clone)]
pub(crate) struct Watched {
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    pub namespaces: Informer<Namespace>,
    pub budgets: Informer<PodDisruptionBudget>,
    pub volumes: Volumes,
}

pub(crate) struct Scheduler {
    watched: Watched,
    binder: Binder,
    seed: u64,
    profiles: Profiles,
    metrics: SchedulerMetrics,
    cluster: Cluster,
    queue: Queue,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Bindings that wait for volumes: they may take long and are no reason to hold back others.
    waits: FuturesUnordered<BoxFuture<'static, Written>>,
}

/// What was written.
enum Written {
    Bound {
        ask: Arc<Ask>,
        outcome: Bound,
        steps: Vec<Step>,
    },
    /// Pods were told to give way; whether all of them go.
    Preempted {
        ask: Arc<Ask>,
        all: bool,
    },
    Told,
}

/// The keys that change, of each kind.
struct AllChanges {
    pods: Changes,
    nodes: Changes,
    namespaces: Changes,
    claims: Changes,
    volumes: Changes,
    classes: Changes,
}

/// What the loop woke for.
enum News {
    Pods(BTreeSet<Key>),
    Nodes(BTreeSet<Key>),
    Namespaces(BTreeSet<Key>),
    Claims(BTreeSet<Key>),
    Volumes,
    Classes,
    Written(Written),
    Time,
}

impl Scheduler {
    pub(crate) fn new(watched: Watched, binder: Binder, config: Config, metrics: SchedulerMetrics) -> Self {
        let cluster = Cluster::with_volumes(watched.volumes.clone());
        let queue = Queue::new(config.backoff_first, config.backoff_max);
        let (profiles, seed) = (config.profiles, config.seed);
        let (writes, waits) = (FuturesUnordered::new(), FuturesUnordered::new());
        Self { watched, binder, seed, profiles, metrics, cluster, queue, writes, waits }
    }

    pub(crate) async fn run(mut self) {
        // Deciding before all bound pods are known would give the same room away twice.
        let Watched { pods, nodes, namespaces, volumes, .. } = self.watched.clone();
        let volumes_known =
            futures::future::join3(volumes.claims.synced(), volumes.volumes.synced(), volumes.classes.synced());
        tokio::join!(pods.synced(), nodes.synced(), namespaces.synced(), volumes_known);
        let mut changes = AllChanges {
            pods: pods.changes(),
            nodes: nodes.changes(),
            namespaces: namespaces.changes(),
            claims: volumes.claims.changes(),
            volumes: volumes.volumes.changes(),
            classes: volumes.classes.changes(),
        };
        let mut counted = Instant::now();
        loop {
            let news = self.wait(&mut changes).await;
            self.see(news);
            while self.writes.len() < WRITES_MAX
                && let Some(ask) = self.queue.take(Instant::now())
            {
                self.schedule(&ask);
            }
            if counted.elapsed() >= Duration::from_millis(100) || !self.queue.has_active() {
                counted = Instant::now();
                self.metrics.pending(self.queue.counts());
            }
        }
    }

    /// Waits for anything that concerns a decision.
    async fn wait(&mut self, changes: &mut AllChanges) -> News {
        let has_room = self.writes.len() < WRITES_MAX;
        let due = if self.queue.has_active() { Some(Instant::now()) } else { self.queue.next_due() };
        let timer = async {
            match due.filter(|_| has_room) {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let AllChanges { pods, nodes, namespaces, claims, volumes, classes } = changes;
        // What is where comes before what is to go where.
        tokio::select! {
            biased;
            keys = nodes.next() => News::Nodes(keys),
            keys = pods.next() => News::Pods(keys),
            Some(written) = self.writes.next() => News::Written(written),
            Some(written) = self.waits.next() => News::Written(written),
            keys = namespaces.next() => News::Namespaces(keys),
            keys = claims.next() => News::Claims(keys),
            _ = volumes.next() => News::Volumes,
            _ = classes.next() => News::Classes,
            () = timer => News::Time,
        }
    }

    fn see(&mut self, news: News) {
        match news {
            News::Pods(keys) => keys.iter().for_each(|key| self.see_pod(key)),
            News::Nodes(keys) => keys.iter().for_each(|key| self.see_node(key)),
            News::Namespaces(keys) => keys.iter().for_each(|key| self.see_namespace(key)),
            News::Claims(keys) => {
                let claims = keys.iter().filter_map(|key| self.watched.volumes.claims.at(key));
                claims.collect::<Vec<_>>().into_iter().for_each(|claim| self.wake(&Event::Claim(claim)));
            }
            News::Volumes => self.wake(&Event::Volume),
            News::Classes => self.wake(&Event::Class),
            News::Written(written) => self.see_written(written),
            News::Time => {}
        }
    }

    fn wake(&mut self, event: &Event) {
        self.queue.wake(event, Instant::now());
    }

    fn see_node(&mut self, key: &Key) {
        match self.watched.nodes.at(key) {
            Some(node) => match self.cluster.put_node(node.clone()) {
                None => self.wake(&Event::NodeAdded(node)),
                Some(old) if !is_idle(&old, &node) => self.wake(&Event::NodeChanged(old, node)),
                Some(_) => {}
            },
            None => {
                self.cluster.remove_node(&key.name);
                self.wake(&Event::NodeRemoved);
            }
        }
    }

    fn see_namespace(&mut self, key: &Key) {
        let labels = self.watched.namespaces.at(key).map(|namespace| namespace.labels().clone());
        if self.cluster.set_namespace(&key.name, labels) {
            self.wake(&Event::Namespace);
        }
    }

    fn see_pod(&mut self, key: &Key) {
        let pod = self.watched.pods.at(key).filter(|pod| !is_finished(pod));
        let Some(pod) = pod else { return self.see_no_pod(key) };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if !node.is_empty() {
            return self.see_placed(key, &pod, node);
        }
        let is_mine = self.profile_of(&pod).is_some() && pod.metadata.deletion_timestamp.is_none();
        if !is_mine {
            self.see_no_pod(key);
        } else if !self.cluster.is_assumed(key, &pod.uid().unwrap_or_default()) {
            if let Some(gone) = self.cluster.remove(key) {
                self.wake(&Event::PodGone(gone));
            }
            self.queue.add(key, &pod);
            let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
            if let Some(node) = nominated.filter(|node| !node.is_empty())
                && self.cluster.nomination(key).is_none()
            {
                self.cluster.nominate(&Ask::of(&pod), node);
            }
        }
    }

    fn see_no_pod(&mut self, key: &Key) {
        self.queue.remove(key);
        let withdrawn = self.cluster.withdraw(key);
        if let Some(gone) = self.cluster.remove(key) {
            self.wake(&Event::PodGone(gone));
        } else if withdrawn {
            self.wake(&Event::Anything);
        }
    }

    fn see_placed(&mut self, key: &Key, pod: &Arc<Pod>, node: &str) {
        self.queue.remove(key);
        if let Some((ask, at)) = self.cluster.placed(key)
            && at == node
            && ask.is_of(pod)
        {
            let ask = ask.clone();
            self.cluster.place(&ask, node, false);
            return;
        }
        let ask = Ask::of(pod);
        let before = self.cluster.place(&ask, node, false);
        if before.is_some_and(|before| before.requests != ask.requests) {
            self.wake(&Event::PodShrunk);
        }
        self.wake(&Event::PodPlaced(ask));
    }

    fn profile_of(&self, pod: &Pod) -> Option<&Arc<Profile>> {
        self.profiles.of(scheduler_of(pod))
    }

    fn schedule(&mut self, ask: &Arc<Ask>) {
        let key = &ask.key;
        let is_there = self.watched.pods.at(key).is_some_and(|pod| {
            pod.metadata.uid == ask.pod.metadata.uid && !is_finished(&pod) && pod.metadata.deletion_timestamp.is_none()
        });
        let Some(profile) = self.profile_of(&ask.pod).cloned().filter(|_| is_there) else {
            return self.queue.remove(key);
        };
        if is_gated(ask) {
            return self.queue.refused(key, Instant::now(), 0);
        }
        let started = Instant::now();
        let decision = decide(ask, &mut self.cluster, &profile, self.seed);
        self.metrics.decided(started.elapsed());
        match decision {
            Decision::Place(node, steps) => self.place(ask, node, steps),
            Decision::Nowhere(why) => self.refuse(ask, &profile, why),
        }
    }

    fn refuse(&mut self, ask: &Arc<Ask>, profile: &Arc<Profile>, mut why: Why) {
        tracing::debug!(pod = %ask.key, %why, plugins = ?why.plugins(), "fits nowhere");
        self.metrics.attempted("unschedulable");
        self.queue.refused(&ask.key, Instant::now(), why.rejected_by);
        let mut nomination = Nomination::Stays;
        if profile.preempts && why.nodes > 0 {
            let budgets = self.watched.budgets.list();
            match preempt(ask, &mut self.cluster, profile, &budgets, &why) {
                Ok(preemption) => {
                    nomination = Nomination::Is(preemption.node.clone());
                    self.make_room(ask, preemption);
                }
                Err(refused) => {
                    let kept = self.cluster.nomination(&ask.key).is_some();
                    if refused.withdraws && kept && self.cluster.withdraw(&ask.key) {
                        nomination = Nomination::Ends;
                        self.wake(&Event::Anything);
                    }
                    why.preemption = Some(refused.words);
                }
            }
        }
        let (binder, ask, word) = (self.binder.clone(), ask.clone(), Word { message: why.to_string(), nomination });
        self.writes.push(Box::pin(async move {
            binder.tell(&ask, word).await;
            Written::Told
        }));
    }

    fn make_room(&mut self, ask: &Arc<Ask>, preemption: Preemption) {
        let Preemption { node, victims } = preemption;
        tracing::info!(pod = %ask.key, node, victims = victims.len(), "preempting");
        self.metrics.preempted(victims.len());
        // Lesser pods that count on the same room are to look again.
        let lesser: Vec<Arc<Ask>> =
            self.cluster.nominated_on(&node).filter(|other| other.priority < ask.priority).cloned().collect();
        for other in &lesser {
            self.cluster.withdraw(&other.key);
        }
        self.cluster.nominate(ask, &node);
        let (binder, ask) = (self.binder.clone(), ask.clone());
        self.writes.push(Box::pin(async move {
            let withdrawals = lesser.iter().map(|other| binder.withdraw(other));
            let evictions = victims.iter().map(|victim| binder.evict(victim, &ask, &node));
            let (_, gone) = tokio::join!(futures::future::join_all(withdrawals), futures::future::join_all(evictions));
            Written::Preempted { all: gone.into_iter().all(|gone| gone), ask: ask.clone() }
        }));
    }

    fn place(&mut self, ask: &Arc<Ask>, node: String, steps: Vec<Step>) {
        tracing::debug!(pod = %ask.key, node, "placing");
        self.cluster.place(ask, &node, true);
        self.wake(&Event::PodPlaced(ask.clone()));
        let (binder, ask) = (self.binder.clone(), ask.clone());
        if steps.is_empty() {
            self.writes.push(Box::pin(async move {
                let outcome = binder.bind(&ask, &node).await;
                Written::Bound { ask, outcome, steps }
            }));
            return;
        }
        self.cluster.volumes.promise(&steps);
        let volumes = self.cluster.volumes.clone();
        self.waits.push(Box::pin(async move {
            let outcome = binder.bind_with_volumes(&ask, &node, &steps, &volumes).await;
            Written::Bound { ask, outcome, steps }
        }));
    }

    fn see_written(&mut self, written: Written) {
        let (ask, outcome, steps) = match written {
            Written::Bound { ask, outcome, steps } => (ask, outcome, steps),
            Written::Preempted { ask, all: false } => {
                if self.cluster.withdraw(&ask.key) {
                    self.wake(&Event::Anything);
                }
                return;
            }
            Written::Preempted { .. } | Written::Told => return,
        };
        let (key, uid) = (&ask.key, ask.uid.as_str());
        self.cluster.volumes.release(&steps);
        if outcome == Bound::Yes {
            self.metrics.attempted("scheduled");
            return self.queue.remove_pod(key, uid);
        }
        self.metrics.attempted(if outcome == Bound::Moot { "moot" } else { "error" });
        // The watch tells what became of the pod; if it is still without a node, it is tried again.
        if self.cluster.forget(key, uid) {
            self.queue.failed(key, Instant::now());
            self.wake(&Event::PodGone(ask));
        }
    }
}
