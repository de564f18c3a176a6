//! The loop: what changed → who waits → one decision after the other → bindings side by side.

use std::sync::Arc;

use client::informers::{Changes, Informer, Key};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use tokio::time::Instant;

use crate::Config;
use crate::bind::{Binder, Bound};
use crate::cluster::Cluster;
use crate::decide::{Decision, decide};
use crate::metrics::SchedulerMetrics;
use crate::queue::Queue;

/// Bindings and messages under way at once. Writes that arrive together share one fsync.
const WRITES_MAX: usize = 64;

pub(crate) struct Scheduler {
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    binder: Binder,
    config: Config,
    metrics: SchedulerMetrics,
    cluster: Cluster,
    queue: Queue,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
}

/// What was written.
enum Written {
    Bound { key: Key, uid: String, outcome: Bound },
    Told,
}

impl Scheduler {
    pub(crate) fn new(
        pods: Informer<Pod>,
        nodes: Informer<Node>,
        binder: Binder,
        config: Config,
        metrics: SchedulerMetrics,
    ) -> Self {
        let (cluster, queue, writes) = (Cluster::default(), Queue::default(), FuturesUnordered::new());
        Self { pods, nodes, binder, config, metrics, cluster, queue, writes }
    }

    pub(crate) async fn run(mut self) {
        // Deciding before all bound pods are known would give the same room away twice.
        tokio::join!(self.pods.synced(), self.nodes.synced());
        let (mut pods, mut nodes) = (self.pods.changes(), self.nodes.changes());
        loop {
            self.wait(&mut pods, &mut nodes).await;
            self.queue.promote(Instant::now());
            while self.writes.len() < WRITES_MAX
                && let Some(key) = self.queue.take()
            {
                self.schedule(&key);
            }
            self.metrics.pending(self.queue.len());
        }
    }

    /// Waits for anything that concerns a decision and takes it in.
    async fn wait(&mut self, pods: &mut Changes, nodes: &mut Changes) {
        let has_room = self.writes.len() < WRITES_MAX;
        if has_room && self.queue.has_active() {
            return;
        }
        let due = self.queue.next_due();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            keys = pods.next() => keys.iter().for_each(|key| self.see_pod(key)),
            keys = nodes.next() => keys.iter().for_each(|key| self.see_node(key)),
            Some(written) = self.writes.next() => self.see_written(written),
            () = timer => {}
        }
    }

    fn see_node(&mut self, key: &Key) {
        match self.nodes.at(key) {
            Some(node) => {
                if self.cluster.put_node(node) {
                    self.queue.wake();
                }
            }
            None => self.cluster.remove_node(&key.name),
        }
    }

    fn see_pod(&mut self, key: &Key) {
        let pod = self.pods.at(key).filter(|pod| !is_finished(pod));
        let Some(pod) = pod else {
            self.queue.remove(key);
            if self.cluster.remove(key) {
                self.queue.wake();
            }
            return;
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if !node.is_empty() {
            self.queue.remove(key);
            self.cluster.place(key, &pod, node, false);
        } else if !self.is_mine(&pod) {
            self.queue.remove(key);
        } else if !self.cluster.is_assumed(key, &pod.uid().unwrap_or_default()) {
            if self.cluster.remove(key) {
                self.queue.wake();
            }
            self.queue.add(key, &pod);
        }
    }

    fn is_mine(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let scheduler = spec.scheduler_name.as_deref().filter(|name| !name.is_empty());
        let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        scheduler.unwrap_or("default-scheduler") == self.config.name
            && !gated
            && pod.metadata.deletion_timestamp.is_none()
    }

    fn schedule(&mut self, key: &Key) {
        let Some(pod) = self.pods.at(key).filter(|pod| !is_finished(pod) && self.is_mine(pod)) else {
            return self.queue.remove(key);
        };
        let started = Instant::now();
        let decision = decide(&pod, &self.cluster, self.config.seed);
        self.metrics.decided(started.elapsed());
        match decision {
            Decision::Place(node) => self.place(key, pod, node),
            Decision::Nowhere(why) => {
                tracing::debug!(pod = %key, %why, "fits nowhere");
                self.metrics.attempted("unschedulable");
                self.queue.failed(key, Instant::now(), false);
                let (binder, key, why) = (self.binder.clone(), key.clone(), why.to_string());
                self.writes.push(Box::pin(async move {
                    binder.tell(&key, &pod, why).await;
                    Written::Told
                }));
            }
        }
    }

    fn place(&mut self, key: &Key, pod: Arc<Pod>, node: String) {
        tracing::debug!(pod = %key, node, "placing");
        self.cluster.place(key, &pod, &node, true);
        let (binder, key, uid) = (self.binder.clone(), key.clone(), pod.uid().unwrap_or_default());
        self.writes.push(Box::pin(async move {
            let outcome = binder.bind(&key, &pod, &node).await;
            Written::Bound { key, uid, outcome }
        }));
    }

    fn see_written(&mut self, written: Written) {
        let Written::Bound { key, uid, outcome } = written else { return };
        match outcome {
            Bound::Yes => {
                self.metrics.attempted("scheduled");
                self.queue.remove_pod(&key, &uid);
            }
            Bound::Moot => {
                self.metrics.attempted("moot");
                // The watch tells what became of the pod; if it is still without a node, it is tried again.
                if self.cluster.forget(&key, &uid) {
                    self.queue.failed(&key, Instant::now(), true);
                }
            }
            Bound::Failed => {
                self.metrics.attempted("error");
                if self.cluster.forget(&key, &uid) {
                    self.queue.failed(&key, Instant::now(), true);
                    self.queue.wake();
                }
            }
        }
    }
}

fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
