//! One task for each pod: feeds its machine, carries out the effects, tells the API.
//!
//! ```text
//! wanted (spec, deletion, shutdown) ─┐
//! jobs (launches, exits, probes)    ─┼→ machine.step → effects → jobs
//! timers                            ─┘             └→ status, when it differs from what was told → PATCH
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::backoff::Backoff;
use client::events::Severity;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use network::PodAddress;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::launch::{Launch, Order, about, launch};
use crate::machine::{Addresses, Effect, Input, LaunchError, LaunchFailure, Moment, PodMachine, ProbeKind, Role};
use crate::probing;
use crate::sandbox::{Container, ContainerId};

#[cfg(test)]
mod tests;

/// A pod that only begins is told of after this, unless something better can be told before.
const GATHER: Duration = Duration::from_millis(30);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long the stop of a container may take beyond its grace period.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// What is wanted of a pod.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub pod: Arc<Pod>,
    /// The object is no more: end at once.
    pub gone: bool,
    /// The node stops: end within this, and leave the object as it is. The sender is dropped when the pod has ended.
    pub shutdown: Option<(Duration, mpsc::Sender<()>)>,
}

/// What a job came to.
enum Done {
    Input(Input),
    Launch(usize, u32, Box<Result<Launch, LaunchError>>),
    Stopped,
    Published(Result<Box<PodStatus>, kube::Error>),
    Finished,
}

struct PodTask {
    context: Arc<Context>,
    pod: Arc<Pod>,
    machine: PodMachine,
    address: Option<PodAddress>,
    running: HashMap<usize, Arc<dyn Container>>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    told: Option<PodStatus>,
    telling: bool,
    tell_at: Option<Instant>,
    retry: Backoff,
    finishing: bool,
    /// Ends a launch that has not started anything yet.
    cancel: base::Shutdown,
}

/// Runs a pod until its object is gone or the node stops.
pub(crate) async fn run(context: Arc<Context>, mut wanted: watch::Receiver<Wanted>) {
    let pod = wanted.borrow_and_update().pod.clone();
    let mut task = PodTask::new(context, pod);
    task.observe_deletion();
    task.step(Input::Tick);
    loop {
        task.consider_telling();
        let tell_at = task.tell_at.filter(|_| !task.telling && !task.finishing);
        let wake = [task.machine.wake(), tell_at].into_iter().flatten().min();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wanted.changed() => {
                let now = wanted.borrow_and_update().clone();
                if let Some((grace, _ended)) = now.shutdown {
                    task.stop_all(grace).await;
                    return;
                }
                if now.gone {
                    task.stop_all(Duration::ZERO).await;
                    task.clean_up().await;
                    return;
                }
                if changed.is_err() {
                    // The agent ended without a word; the pod's files are for its next life.
                    task.stop_all(Duration::ZERO).await;
                    return;
                }
                task.pod = now.pod;
                task.observe_images();
                task.observe_deletion();
            }
            Some(done) = task.jobs.next() => task.done(done),
            () = timer => task.step(Input::Tick),
        }
    }
}

impl PodTask {
    fn new(context: Arc<Context>, pod: Arc<Pod>) -> Self {
        let machine = PodMachine::adopt(&pod, Moment::now());
        let told = pod.status.clone();
        Self {
            context,
            pod,
            machine,
            address: None,
            running: HashMap::new(),
            jobs: FuturesUnordered::new(),
            told,
            telling: false,
            tell_at: None,
            retry: Backoff::new(RETRY_FIRST, RETRY_MAX),
            finishing: false,
            cancel: base::Shutdown::new(),
        }
    }

    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    fn observe_images(&mut self) {
        for container in 0..self.machine.plan().containers.len() {
            let Some(spec) = self.spec_of(container) else { continue };
            let image = spec.image.unwrap_or_default();
            if self.machine.plan().containers[container].image != image {
                self.step(Input::Reimaged { container, image });
            }
        }
    }

    fn observe_deletion(&mut self) {
        if self.pod.metadata.deletion_timestamp.is_some() {
            let seconds = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            self.cancel.cancel();
            self.step(Input::Delete { grace });
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.machine.step(input, Moment::now());
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Input(input) => {
                if let Input::Exited { container, attempt, .. } = &input {
                    self.running.remove(container);
                    let name = &self.machine.plan().containers[*container].name;
                    self.context.presence.remove(self.uid(), name, *attempt);
                }
                self.step(input);
            }
            Done::Launch(index, attempt, result) => self.launched(index, attempt, *result),
            Done::Stopped => {}
            Done::Published(Ok(status)) => {
                self.telling = false;
                self.retry.reset();
                self.told = Some(*status);
            }
            Done::Published(Err(error)) => {
                self.telling = false;
                if !client::is_not_found(&error) {
                    tracing::debug!(pod = self.machine.plan().pod, %error, "cannot write a pod's status");
                }
                self.tell_at = Some(Instant::now() + self.retry.fail());
            }
            Done::Finished => self.finishing = true,
        }
    }

    fn launched(&mut self, index: usize, attempt: u32, result: Result<Launch, LaunchError>) {
        let input = match result {
            Err(error) => Input::Launched(index, Err(error)),
            Ok(Launch { launched, container, log }) => {
                let exit = container.exit();
                self.context.presence.add(self.id(index, attempt), Arc::clone(&container));
                self.running.insert(index, container);
                self.jobs.push(
                    async move {
                        let exit = exit.await;
                        // Whoever sees that it ended finds all that it printed.
                        log.close().await;
                        Done::Input(Input::Exited { container: index, attempt, exit })
                    }
                    .boxed(),
                );
                Input::Launched(index, Ok(launched))
            }
        };
        self.step(input);
    }

    fn id(&self, index: usize, attempt: u32) -> ContainerId {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &self.pod.metadata;
        let container = self.machine.plan().containers[index].name.clone();
        let (namespace, pod) = (text(&meta.namespace), text(&meta.name));
        ContainerId { namespace, pod, uid: self.uid().to_owned(), container, attempt }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { container, attempt } => self.begin_launch(container, attempt),
            Effect::Stop { container, grace } => {
                if let Some(running) = self.running.get(&container) {
                    let stop = running.stop(grace);
                    self.jobs.push(stop.map(|()| Done::Stopped).boxed());
                }
            }
            Effect::Probe { container, attempt, kind } => self.probe(container, attempt, kind),
            Effect::Event { container, warning, reason, message } => {
                let plan = &self.machine.plan().containers[container];
                let severity = if warning { Severity::Warning } else { Severity::Normal };
                let about = about(&self.pod, &plan.name, plan.role);
                self.context.events.event(about, severity, reason, message);
            }
            Effect::Finish => self.finish(),
        }
    }

    fn begin_launch(&mut self, index: usize, attempt: u32) {
        let found = match (self.address(), self.spec_of(index)) {
            (Ok(address), Some(container)) => Ok((address, container)),
            (Err(error), _) => Err(format!("Failed to create pod sandbox: {error}")),
            (_, None) => Err("the container is no longer in the spec".to_owned()),
        };
        let (address, container) = match found {
            Ok(found) => found,
            Err(message) => {
                let error = LaunchError { reason: "ContainerCreating", message, class: LaunchFailure::Volume };
                self.jobs.push(futures::future::ready(Done::Launch(index, attempt, Box::new(Err(error)))).boxed());
                return;
            }
        };
        let role = self.machine.plan().containers[index].role;
        let (pod, cancel) = (self.pod.clone(), self.cancel.clone());
        let order = Order { pod, container, role, attempt, address: address.ip(), cancel };
        let context = self.context.clone();
        let job = async move { Done::Launch(index, attempt, Box::new(launch(context, order).await)) };
        self.jobs.push(job.boxed());
    }

    /// The pod's address: the one that it had before, if that is free.
    fn address(&mut self) -> Result<PodAddress, network::AddressError> {
        if let Some(address) = &self.address {
            return Ok(address.clone());
        }
        let before = self.pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()?.parse().ok());
        let network = &self.context.network;
        let claimed = before.and_then(|address| network.claim(address).ok());
        let address = claimed.map_or_else(|| network.allocate(), Ok)?;
        self.context.logs.know_address(self.uid(), address.ip());
        self.address = Some(address.clone());
        Ok(address)
    }

    fn spec_of(&self, index: usize) -> Option<Spec> {
        let plan = self.machine.plan().containers.get(index)?;
        let spec = self.pod.spec.as_ref()?;
        let list = if plan.role == Role::Main { Some(&spec.containers) } else { spec.init_containers.as_ref() };
        list?.iter().find(|container| container.name == plan.name).cloned()
    }

    fn probe(&mut self, index: usize, attempt: u32, kind: ProbeKind) {
        let (Some(container), Some(address)) = (self.spec_of(index), &self.address) else { return };
        let (network, ip) = (self.context.network.clone(), address.ip());
        let job = async move {
            let outcome = match probing::spec(&container, kind) {
                Some(probe) => probing::run(&network, ip, &container, probe).await,
                None => crate::machine::Outcome::Success,
            };
            Done::Input(Input::Probed { container: index, attempt, kind, outcome })
        };
        self.jobs.push(job.boxed());
    }

    fn status(&mut self) -> PodStatus {
        let addresses = Addresses { pod: self.address.as_ref().map(PodAddress::ip), host: self.context.host_ip };
        self.machine.status(&self.pod, addresses, Moment::now())
    }

    /// Tells the API of the pod's status when it differs from what was told, at once unless it only begins.
    fn consider_telling(&mut self) {
        if self.telling || self.finishing {
            return;
        }
        let due = self.tell_at.is_some_and(|at| at <= Instant::now());
        if self.tell_at.is_some() && !due && self.retry.failures() > 0 {
            return;
        }
        let status = self.status();
        if self.told.as_ref() == Some(&status) {
            self.tell_at = None;
            return;
        }
        if !due && only_begins(&status) {
            self.tell_at.get_or_insert(Instant::now() + GATHER);
            return;
        }
        self.tell_at = None;
        self.telling = true;
        self.context.logs.know_waiting(self.uid(), waiting(&status));
        let (pods, name, uid) = (self.api(), self.name(), self.uid().to_owned());
        let job = async move { Done::Published(publish(&pods, &name, &uid, status).await) };
        self.jobs.push(job.boxed());
    }

    fn api(&self) -> Api<Pod> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        Api::namespaced(self.context.client.clone(), namespace)
    }

    fn name(&self) -> String {
        self.pod.metadata.name.clone().unwrap_or_default()
    }

    /// The last status, and then the end of the object.
    fn finish(&mut self) {
        self.finishing = true;
        // Whoever is told that the pod ended may take its address.
        let status = self.status();
        self.address = None;
        let (pods, name, uid) = (self.api(), self.name(), self.uid().to_owned());
        let job = async move {
            let mut retry = Backoff::new(RETRY_FIRST, RETRY_MAX);
            while let Err(error) = end(&pods, &name, &uid, &status).await {
                tracing::debug!(pod = name, %error, "cannot end a pod");
                tokio::time::sleep(retry.fail()).await;
            }
            Done::Finished
        };
        self.jobs.push(job.boxed());
    }

    /// Stops whatever runs, without telling the API.
    async fn stop_all(&mut self, grace: Duration) {
        self.context.presence.forget_pod(self.uid());
        let stops = join_all(self.running.drain().map(|(_, running)| running.stop(grace)));
        if tokio::time::timeout(grace + STOP_SLACK, stops).await.is_err() {
            tracing::warn!(pod = self.machine.plan().pod, "containers did not stop in time");
        }
        // A launch that is under way would leave a container behind.
        while let Some(done) = self.jobs.next().now_or_never().flatten() {
            if let Done::Launch(_, _, result) = done
                && let Ok(launch) = *result
            {
                launch.container.stop(Duration::ZERO).await;
            }
        }
    }

    async fn clean_up(self) {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default().to_owned();
        let (logs, volumes) = (self.context.logs.clone(), self.context.volumes.join(self.uid()));
        let (name, uid) = (self.name(), self.uid().to_owned());
        let cleaning = tokio::task::spawn_blocking(move || {
            logs.remove(&namespace, &name, &uid);
            let _ = std::fs::remove_dir_all(volumes);
        });
        let _ = cleaning.await;
    }
}

async fn publish(pods: &Api<Pod>, name: &str, uid: &str, status: PodStatus) -> Result<Box<PodStatus>, kube::Error> {
    let patch = json!({ "metadata": { "uid": uid }, "status": &status });
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(Box::new(status))
}

async fn end(pods: &Api<Pod>, name: &str, uid: &str, status: &PodStatus) -> Result<(), kube::Error> {
    let over = |error: &kube::Error| client::is_not_found(error) || client::is_conflict(error);
    match publish(pods, name, uid, status.clone()).await {
        Err(error) if over(&error) => return Ok(()),
        other => other?,
    };
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let options =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    match pods.delete(name, &options).await {
        Err(error) if over(&error) => Ok(()),
        other => other.map(drop),
    }
}

/// Whether there is nothing to tell but that containers are being made.
fn only_begins(status: &PodStatus) -> bool {
    let all = || status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    status.phase.as_deref() == Some("Pending")
        && all().all(|container| {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            container.restart_count == 0 && matches!(reason, Some("ContainerCreating" | "PodInitializing"))
        })
}

fn waiting(status: &PodStatus) -> HashMap<String, String> {
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        Some((container.name.clone(), reason))
    })
    .collect()
}
