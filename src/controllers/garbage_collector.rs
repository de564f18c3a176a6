//! Deletes what lost its owners.
//!
//! *Owns*: the finalizers `foregroundDeletion` and `orphan`, and objects all of whose owners are gone.
//!
//! *Guarantees*: an owner counts as gone only after the server itself said so, so that a cache that lags deletes
//! nothing; an object with one owner left stays and loses the references to the others; cycles of blocking references
//! are broken.
//!
//! ```text
//! metadata of every kind ──▶ Graph (who owns whom) ──▶ uid to look at ──▶ the live object ──▶ plan ──▶ act
//! ```

use std::sync::Arc;
use std::time::Duration;

use client::Client;
use client::controller::{Controller, Queue};
use client::informers::{Change, Informer, Informers, Key, Watched};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::ApiResource;
use parking_lot::RwLock;

use crate::Rig;
use crate::kinds::{DiscoveredKind, discover};

mod act;
mod graph;
mod plan;
#[cfg(test)]
mod tests;

use act::Collector;
use graph::Graph;

/// How often the server is asked for kinds that came or went.
const DISCOVERY: Duration = Duration::from_secs(10);

/// Nothing owns them or is owned by them, and there are many.
const IGNORED: [&str; 1] = ["events"];

/// The kinds by group and kind, for the owners that references name.
#[derive(Default)]
struct Kinds {
    known: RwLock<Vec<DiscoveredKind>>,
}

impl Kinds {
    /// The kind that an owner reference means, in whichever version it names it.
    fn resolve(&self, api_version: &str, kind: &str) -> Option<DiscoveredKind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let known = self.known.read();
        known.iter().find(|known| known.resource.group == group && known.resource.kind == kind).cloned()
    }
}

pub(crate) fn start(rig: Rig) {
    let shutdown = rig.tasks.shutdown();
    let tasks = rig.tasks.clone();
    tasks.service("garbage collector's kinds", async move {
        tokio::select! {
            () = follow_kinds(rig) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

async fn follow_kinds(rig: Rig) {
    let kinds = Arc::new(Kinds::default());
    let graph = Arc::new(Graph::default());
    let mut controller = Some(Controller::new("garbage_collector", &rig.metrics).workers(16));
    loop {
        match discover(&rig.client).await {
            Ok(found) => {
                let found = found.into_iter().filter(|kind| kind.watchable && kind.deletable);
                let found: Vec<_> = found.filter(|kind| !IGNORED.contains(&kind.resource.plural.as_str())).collect();
                forget_missing(&kinds, &found, &rig.informers);
                let added = add_new(&kinds, found);
                if let Some(first) = controller.take() {
                    let watched =
                        added.iter().fold(first, |controller, kind| watch(controller, &rig.informers, kind, &graph));
                    controller = start_collecting(watched, &rig, &kinds, &graph, &added);
                } else {
                    // Later kinds feed the graph that is already being worked on.
                    let queue = graph.queue();
                    added.iter().for_each(|kind| feed_later(&rig.informers, kind, &graph, queue.as_ref()));
                }
            }
            Err(error) => tracing::debug!(error = client::explain(&error), "discovery failed"),
        }
        let wait = if controller.is_some() { Duration::from_millis(100) } else { DISCOVERY };
        tokio::time::sleep(wait).await;
    }
}

/// Returns the controller again when there is nothing to watch yet.
fn start_collecting(
    controller: Controller,
    rig: &Rig,
    kinds: &Arc<Kinds>,
    graph: &Arc<Graph>,
    added: &[DiscoveredKind],
) -> Option<Controller> {
    if added.is_empty() {
        return Some(controller);
    }
    graph.set_queue(controller.queue());
    let client: Client = rig.client.clone();
    controller.start(&rig.tasks, Collector::new(client, kinds.clone(), graph.clone()));
    None
}

fn forget_missing(kinds: &Kinds, found: &[DiscoveredKind], informers: &Informers) {
    let is_gone = |known: &DiscoveredKind| !found.iter().any(|found| found.resource == known.resource);
    let mut known = kinds.known.write();
    for gone in known.iter().filter(|known| is_gone(known)) {
        informers.forget(&gone.resource);
    }
    known.retain(|known| !is_gone(known));
}

fn add_new(kinds: &Kinds, found: Vec<DiscoveredKind>) -> Vec<DiscoveredKind> {
    let mut known = kinds.known.write();
    let added: Vec<_> =
        found.into_iter().filter(|found| !known.iter().any(|known| known.resource == found.resource)).collect();
    known.extend(added.iter().cloned());
    added
}

/// Adds one kind's informer. Kinds that other controllers hold whole are not watched a second time.
fn watch(controller: Controller, informers: &Informers, kind: &DiscoveredKind, graph: &Arc<Graph>) -> Controller {
    let is = |wanted: ApiResource| wanted == kind.resource;
    fn typed<K: Watched>(
        controller: Controller,
        informers: &Informers,
        kind: &DiscoveredKind,
        graph: &Arc<Graph>,
    ) -> Controller {
        watch_one(controller, &informers.of::<K>(), kind, graph)
    }
    macro_rules! shared {
        ($($shared:ty),*) => {
            $(if is(ApiResource::erase::<$shared>(&())) {
                return typed::<$shared>(controller, informers, kind, graph);
            })*
        };
    }
    shared!(Pod, ReplicaSet, Deployment, EndpointSlice, Endpoints, Service, Namespace, Node, ServiceAccount);
    watch_one(controller, &informers.metadata(&kind.resource), kind, graph)
}

fn watch_one<K: Resource + Send + Sync + 'static>(
    controller: Controller,
    informer: &Informer<K>,
    kind: &DiscoveredKind,
    graph: &Arc<Graph>,
) -> Controller {
    let (graph, kind) = (graph.clone(), Arc::new(kind.clone()));
    controller.watch(informer, move |change| note(&graph, &kind, change))
}

fn feed_later(informers: &Informers, kind: &DiscoveredKind, graph: &Arc<Graph>, queue: Option<&Queue<Key>>) {
    let Some(queue) = queue.cloned() else { return };
    let (graph, kind) = (graph.clone(), Arc::new(kind.clone()));
    informers.metadata(&kind.resource.clone()).on_change_while(move |change| {
        if queue.is_closed() {
            return false;
        }
        for key in note(&graph, &kind, change) {
            queue.add(key);
        }
        true
    });
}

/// Puts a change into the graph and names the objects that it concerns.
fn note<K: Resource>(graph: &Graph, kind: &Arc<DiscoveredKind>, change: &Change<K>) -> Vec<Key> {
    let uids = match (&change.new, &change.old) {
        (Some(object), _) => graph.put(kind, object.meta()),
        (None, Some(object)) => graph.remove(object.meta().uid.as_deref().unwrap_or_default()),
        (None, None) => Vec::new(),
    };
    uids.into_iter().map(|uid| Key::new("", uid)).collect()
}
