//! Waking what sleeps: a workload that was scaled to nothing is scaled to one when somebody calls its Service.
//!
//! ```text
//! call finds no endpoint → network holds it → wake → PATCH …/scale → controllers, scheduler, node → endpoints → it goes on
//! ```
//!
//! A workload sleeps when an autoscaler with `minReplicas: 0` aims at it and it wants no replicas; a Service is its when
//! its selector fits the labels of the workload's template. Whoever scaled something to zero without such an autoscaler
//! meant it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use client::events::Recorder;
use client::informers::{Informer, Informers};
use client::{Client, explain};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController, Service};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use network::Activator;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;

/// How often a write is tried again that met another one.
const TRIES: u32 = 6;

/// Starts what wakes workloads for the calls that `network` finds nobody for. Writes are made through `client`.
pub fn activate(informers: &Informers, network: &network::PodNetwork, client: Client, tasks: &Tasks) {
    let (ask, asked) = mpsc::unbounded_channel();
    let known = Arc::new(Known {
        scalers: informers.of(),
        services: informers.of(),
        deployments: informers.of(),
        replica_sets: informers.of(),
        stateful_sets: informers.of(),
        replication_controllers: informers.of(),
        waking: Mutex::default(),
    });
    network.set_activator(Arc::new(Alarm { known: Arc::clone(&known), ask }));
    let events = Recorder::new(client.clone(), tasks, "activator", None);
    let waker = Waker { known, client, events };
    let shutdown = tasks.shutdown();
    tasks.service("activator", async move {
        tokio::select! {
            () = waker.run(asked) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// A workload that may sleep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sleeper {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// What is to be woken, and for whom.
struct Wish {
    sleeper: Sleeper,
    /// The revision at which it was seen asleep.
    seen: String,
    service: String,
}

struct Known {
    scalers: Informer<HorizontalPodAutoscaler>,
    services: Informer<Service>,
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
    replication_controllers: Informer<ReplicationController>,
    /// What is being woken, and the revision at which it was seen asleep: until the cache shows another one, it has been
    /// taken care of.
    waking: Mutex<HashMap<Sleeper, String>>,
}

/// What is known of a workload.
struct State {
    replicas: i32,
    revision: String,
    is_selected: bool,
}

impl Known {
    /// The workload behind a Service that may sleep, and how it is.
    fn sleeper(&self, service: &str) -> Option<(Sleeper, State)> {
        let (namespace, name) = service.split_once('/')?;
        let service = self.services.get(namespace, name)?;
        let selector = service.spec.as_ref()?.selector.as_ref().filter(|selector| !selector.is_empty())?;
        let scalers = self.scalers.in_namespace(namespace);
        let may_sleep = scalers.iter().filter(|scaler| scaler.spec.min_replicas == Some(0));
        may_sleep.filter_map(|scaler| self.target(namespace, scaler, selector)).find(|(_, state)| state.is_selected)
    }

    fn target(
        &self,
        namespace: &str,
        scaler: &HorizontalPodAutoscaler,
        selector: &std::collections::BTreeMap<String, String>,
    ) -> Option<(Sleeper, State)> {
        let target = &scaler.spec.scale_target_ref;
        let is_selected = |template: Option<&PodTemplateSpec>| {
            let labels = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
            labels.is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        };
        let state = |replicas: Option<i32>, template: Option<&PodTemplateSpec>, revision: Option<String>| State {
            replicas: replicas.unwrap_or(1),
            revision: revision.unwrap_or_default(),
            is_selected: is_selected(template),
        };
        let name = target.name.as_str();
        let (kind, state) = match target.kind.as_str() {
            "Deployment" => {
                let found = self.deployments.get(namespace, name)?;
                let spec = found.spec.as_ref()?;
                let revision = found.metadata.resource_version.clone();
                ("Deployment", state(spec.replicas, Some(&spec.template), revision))
            }
            "ReplicaSet" => {
                let found = self.replica_sets.get(namespace, name)?;
                let spec = found.spec.as_ref()?;
                ("ReplicaSet", state(spec.replicas, spec.template.as_ref(), found.metadata.resource_version.clone()))
            }
            "StatefulSet" => {
                let found = self.stateful_sets.get(namespace, name)?;
                let spec = found.spec.as_ref()?;
                let revision = found.metadata.resource_version.clone();
                ("StatefulSet", state(spec.replicas, Some(&spec.template), revision))
            }
            "ReplicationController" => {
                let found = self.replication_controllers.get(namespace, name)?;
                let spec = found.spec.as_ref()?;
                let revision = found.metadata.resource_version.clone();
                ("ReplicationController", state(spec.replicas, spec.template.as_ref(), revision))
            }
            _ => return None,
        };
        Some((Sleeper { kind, namespace: namespace.to_owned(), name: name.to_owned() }, state))
    }
}

/// The network's side: says whether a call is worth holding.
struct Alarm {
    known: Arc<Known>,
    ask: mpsc::UnboundedSender<Wish>,
}

impl Activator for Alarm {
    fn wake(&self, service: &str) -> bool {
        let Some((sleeper, state)) = self.known.sleeper(service) else { return false };
        if state.replicas > 0 {
            return true;
        }
        let mut waking = self.known.waking.lock();
        if waking.get(&sleeper) != Some(&state.revision) {
            waking.insert(sleeper.clone(), state.revision.clone());
            drop(waking);
            let _ = self.ask.send(Wish { sleeper, seen: state.revision, service: service.to_owned() });
        }
        true
    }
}

/// The API's side.
struct Waker {
    known: Arc<Known>,
    client: Client,
    events: Recorder,
}

impl Waker {
    async fn run(&self, mut asked: mpsc::UnboundedReceiver<Wish>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(wish) = asked.recv() => running.push(self.wake(wish)),
                Some(()) = running.next() => {}
                else => return,
            }
        }
    }

    async fn wake(&self, wish: Wish) {
        let sleeper = &wish.sleeper;
        let outcome = match sleeper.kind {
            "Deployment" => self.scale::<Deployment>(&wish, &self.known.deployments).await,
            "ReplicaSet" => self.scale::<ReplicaSet>(&wish, &self.known.replica_sets).await,
            "StatefulSet" => self.scale::<StatefulSet>(&wish, &self.known.stateful_sets).await,
            _ => self.scale::<ReplicationController>(&wish, &self.known.replication_controllers).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(
                kind = sleeper.kind,
                namespace = sleeper.namespace,
                name = sleeper.name,
                error = explain(&error),
                "cannot wake a workload"
            );
            // The next call tries again.
            self.known.waking.lock().remove(sleeper);
        }
    }

    async fn scale<K>(&self, wish: &Wish, cache: &Informer<K>) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let Sleeper { namespace, name, .. } = &wish.sleeper;
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let mut seen = wish.seen.clone();
        let mut attempt = 0;
        loop {
            // Held against the revision at which it slept: whoever scales it in between is not overruled.
            let change = json!({ "metadata": { "resourceVersion": seen }, "spec": { "replicas": 1 } });
            match api.patch_scale(name, &PatchParams::default(), &Patch::Merge(change)).await {
                Ok(_) => {
                    if let Some(object) = cache.get(namespace, name) {
                        let message = format!("Scaled up from 0 to 1: a request waits for service {}", wish.service);
                        self.events.normal(object.as_ref(), "Activated", message);
                    }
                    return Ok(());
                }
                Err(error) if client::is_conflict(&error) && attempt < TRIES => {
                    let scale = api.get_scale(name).await?;
                    if scale.spec.is_some_and(|spec| spec.replicas.unwrap_or(0) > 0) {
                        return Ok(());
                    }
                    seen = scale.metadata.resource_version.unwrap_or_default();
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(1 << attempt)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
