//! One task for each pod: feeds its machine, carries out the effects, tells the API.
//!
//! ```text
//! wanted (spec, deletion, shutdown) ─┐
//! jobs (launches, exits, probes)    ─┼→ machine.step → effects → jobs
//! timers                            ─┘             └→ status, when it differs from what was told → PATCH
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::backoff::Backoff;
use client::events::Severity;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodStatus};
use kube::Api;
use network::PodAddress;
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::last_words::LastWords;
use crate::launch::{Launch, Order, about, launch};
use crate::logs::LogOptions;
use crate::machine::{
    Addresses, Effect, Eviction, Input, LaunchError, LaunchFailure, Moment, PodMachine, PodPlan, ProbeKind, Role, plain,
};
use crate::probing::{self, Asked};
use crate::resources;
use crate::sandbox::{Container, ContainerId, Exit};

mod stopping;
mod telling;
#[cfg(test)]
mod tests;

use stopping::{Stopping, Until};
use telling::Told;

/// A pod that only begins is told of after this, unless something better can be told before.
const GATHER: Duration = Duration::from_secs(1);
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
    /// The node wants it to go, and why.
    pub eviction: Option<Eviction>,
}

/// What a job came to.
enum Done {
    Input(Input),
    Launch(usize, u32, Box<Result<Launch, LaunchError>>),
    Stopped,
    Published(Box<Result<Told, kube::Error>>),
    Finished,
}

struct PodTask {
    context: Arc<Context>,
    pod: Arc<Pod>,
    machine: PodMachine,
    address: Option<PodAddress>,
    running: HashMap<usize, Arc<dyn Container>>,
    /// Those of them that are being stopped, and until when.
    stopping: HashMap<usize, watch::Sender<Until>>,
    /// The spec that the machine knows.
    generation: Option<i64>,
    /// When this task first saw the pod, until all of it runs.
    starting: Option<Instant>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    told: Option<PodStatus>,
    /// The revision of the object that says so.
    told_at: Option<u64>,
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
    let eviction = wanted.borrow().eviction.clone();
    let mut task = PodTask::new(context, pod);
    task.observe_deletion();
    task.step(eviction.map_or(Input::Tick, Input::Evict));
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
                    task.stop_all(grace.min(task.own_grace())).await;
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
                task.observe_spec();
                task.observe_status();
                if let Some(eviction) = now.eviction {
                    task.step(Input::Evict(eviction));
                }
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
        let told = pod.status.clone().map(telling::ours);
        let (generation, told_at) = (pod.metadata.generation, telling::revision(&pod));
        Self {
            context,
            pod,
            machine,
            address: None,
            running: HashMap::new(),
            stopping: HashMap::new(),
            generation,
            starting: Some(Instant::now()),
            jobs: FuturesUnordered::new(),
            told,
            told_at,
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

    fn observe_spec(&mut self) {
        let generation = self.pod.metadata.generation;
        if generation.is_some() && generation == self.generation {
            return;
        }
        self.generation = generation;
        let refused = resources::infeasible(&self.pod, &self.context.allocatable);
        self.step(Input::Respec { plan: Box::new(PodPlan::of(&self.pod)), refused });
    }

    /// Who takes a node for lost says that its pods are not ready. The node knows better, once it can say so.
    fn observe_status(&mut self) {
        let is_news = telling::revision(&self.pod) > self.told_at && self.told_at.is_some();
        if !self.telling && is_news && telling::contradicts(&self.pod, self.told.as_ref()) {
            self.told = self.pod.status.clone().map(telling::ours);
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

    fn published(&mut self, outcome: Result<Told, kube::Error>) {
        self.telling = false;
        match outcome {
            Ok(told) => {
                self.retry.reset();
                (self.told, self.told_at) = (Some(told.status), told.revision);
                self.observe_status();
            }
            Err(error) => {
                if !client::is_not_found(&error) {
                    tracing::debug!(pod = self.machine.plan().pod, %error, "cannot write a pod's status");
                }
                self.tell_at = Some(Instant::now() + self.retry.fail());
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Input(input) => {
                if let Input::Exited { container, attempt, .. } = &input {
                    self.running.remove(container);
                    self.stopping.remove(container);
                    let name = &self.machine.plan().containers[*container].name;
                    self.context.presence.remove(self.uid(), name, *attempt);
                }
                self.step(input);
            }
            Done::Launch(index, attempt, result) => self.launched(index, attempt, *result),
            Done::Stopped => {}
            Done::Published(outcome) => self.published(*outcome),
            Done::Finished => self.finishing = true,
        }
    }

    fn launched(&mut self, index: usize, attempt: u32, result: Result<Launch, LaunchError>) {
        let input = match result {
            Err(error) => {
                self.context.figures.start_failures.fetch_add(1, Ordering::Relaxed);
                Input::Launched(index, Err(error))
            }
            Ok(Launch { launched, container, log, words }) => {
                let (exit, logs) = (container.exit(), self.context.logs.clone());
                let of = self.id(index, attempt).into();
                let going = self.cancel.clone();
                let limits = self.machine.plan().containers[index].limits().changeable();
                self.context.presence.add(self.id(index, attempt), &launched.image, limits, Arc::clone(&container));
                self.context.figures.containers_started.fetch_add(1, Ordering::Relaxed);
                self.running.insert(index, container);
                self.jobs.push(
                    async move {
                        let exit = exit.await;
                        log.tell_of(&exit);
                        // Whoever sees that it ended finds all that it printed.
                        log.close(!going.is_cancelled()).await;
                        let said = last_words(&logs, &of, &words, &exit).await;
                        Done::Input(Input::Exited { container: index, attempt, exit, said })
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
            Effect::Stop { container, grace } => self.stop(container, grace),
            Effect::Resize { container, limits } => {
                let name = &self.machine.plan().containers[container].name;
                self.context.presence.resize(self.uid(), name, limits);
                let held = self.running.get(&container).is_some_and(|running| running.resize(limits));
                if !held {
                    tracing::debug!(
                        pod = self.machine.plan().pod,
                        "a container keeps the limits that it was started with"
                    );
                }
            }
            Effect::Probe { container, attempt, kind } => self.probe(container, attempt, kind),
            Effect::Event { container, warning, reason, message } => {
                let severity = if warning { Severity::Warning } else { Severity::Normal };
                let about = match container.map(|index| &self.machine.plan().containers[index]) {
                    Some(plan) => about(&self.pod, &plan.name, plan.role),
                    None => client::events::reference(&*self.pod),
                };
                self.context.events.event(about, severity, reason, message);
            }
            Effect::Finish => self.finish(),
        }
    }

    /// Begins to stop a container, or hurries it.
    fn stop(&mut self, index: usize, grace: Duration) {
        let until = Until::after(grace);
        if let Some(known) = self.stopping.get(&index) {
            known.send_replace(until);
            return;
        }
        let Some(container) = self.running.get(&index).cloned() else { return };
        let (sender, receiver) = watch::channel(until);
        self.stopping.insert(index, sender);
        let plan = &self.machine.plan().containers[index];
        let (events, about) = (self.context.events.clone(), about(&self.pod, &plan.name, plan.role));
        let stopping = self.stopping_of(container, self.spec_of(index), self.machine.goes(), receiver);
        let failed = move |why: String| {
            tracing::debug!(why, "a preStop hook failed");
            events.event(about, Severity::Warning, "FailedPreStopHook", "PreStopHook failed".to_owned());
        };
        self.jobs.push(stopping.run(failed).map(|()| Done::Stopped).boxed());
    }

    fn stopping_of(
        &self,
        container: Arc<dyn Container>,
        spec: Option<Spec>,
        leaves: bool,
        until: watch::Receiver<Until>,
    ) -> Stopping {
        let (network, address) = (self.context.network.clone(), self.address.as_ref().map(PodAddress::ip));
        Stopping { container, spec, pod: self.machine.plan().pod.clone(), network, address, leaves, until }
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
        let named = |list: &[Spec]| list.iter().find(|container| container.name == plan.name).cloned();
        match plan.role {
            Role::Main => named(&spec.containers),
            Role::Init | Role::Sidecar => named(spec.init_containers.as_deref()?),
            Role::Ephemeral => {
                spec.ephemeral_containers.iter().flatten().find(|container| container.name == plan.name).map(plain)
            }
        }
    }

    fn probe(&mut self, index: usize, attempt: u32, kind: ProbeKind) {
        let (Some(container), Some(address)) = (self.spec_of(index), &self.address) else { return };
        let (network, pod) = (self.context.network.clone(), address.ip());
        let running = self.running.get(&index).cloned();
        let job = async move {
            let asked = Asked { network: &network, pod, container: &container, running };
            let outcome = match probing::spec(&container, kind) {
                Some(probe) => probing::run(asked, probe).await,
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
        if self.telling || self.finishing || self.machine.is_terminal() {
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
        if !due && telling::only_begins(&status) {
            self.tell_at.get_or_insert(Instant::now() + GATHER);
            return;
        }
        self.tell_at = None;
        self.telling = true;
        self.count_start(&status);
        self.herald(&status);
        self.context.logs.know_waiting(self.uid(), telling::waiting(&status));
        let (pods, name, uid) = (self.api(), self.name(), self.uid().to_owned());
        let told = self.told.clone();
        let job = async move {
            let outcome = telling::publish(&pods, &name, &uid, told.as_ref(), status).await;
            Done::Published(Box::new(outcome))
        };
        self.jobs.push(job.boxed());
    }

    /// A pod that becomes ready can be called at once.
    fn herald(&self, status: &PodStatus) {
        let (Some(on_ready), Some(address)) = (&self.context.on_ready, &self.address) else { return };
        if telling::is_ready(Some(status)) && !telling::is_ready(self.told.as_ref()) {
            on_ready(&self.pod, address.ip());
        }
    }

    /// A pod has started when all of it has.
    fn count_start(&mut self, status: &PodStatus) {
        if status.phase.as_deref() == Some("Running")
            && let Some(since) = self.starting.take()
        {
            self.context.figures.pod_start.observe(since.elapsed());
            self.context.figures.pods_started.fetch_add(1, Ordering::Relaxed);
        }
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
        let told = self.told.clone();
        let (pods, name, uid) = (self.api(), self.name(), self.uid().to_owned());
        let job = async move {
            let mut retry = Backoff::new(RETRY_FIRST, RETRY_MAX);
            while let Err(error) = telling::end(&pods, &name, &uid, told.as_ref(), &status).await {
                tracing::debug!(pod = name, %error, "cannot end a pod");
                tokio::time::sleep(retry.fail()).await;
            }
            Done::Finished
        };
        self.jobs.push(job.boxed());
    }

    /// Stops whatever runs, without telling the API.
    /// What its spec gives it to end in: a node that goes down waits no longer.
    fn own_grace(&self) -> Duration {
        let seconds = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(u64::try_from(seconds.unwrap_or(30)).unwrap_or(0))
    }

    async fn stop_all(&mut self, grace: Duration) {
        self.context.presence.forget_pod(self.uid());
        let until = Until::after(grace);
        for known in self.stopping.values() {
            known.send_replace(until);
        }
        let mut stops = Vec::new();
        for (index, container) in std::mem::take(&mut self.running) {
            // Hooks that run already run on; their jobs end with this task.
            let spec = self.spec_of(index).filter(|_| !self.stopping.contains_key(&index));
            let (_, receiver) = watch::channel(until);
            stops.push(self.stopping_of(container, spec, false, receiver).run(|_| {}));
        }
        let stops = join_all(stops);
        let stops = tokio::time::timeout(grace + STOP_SLACK, stops);
        tokio::pin!(stops);
        // Jobs go on meanwhile: a probe that is not listened to would be a request that never ends.
        loop {
            tokio::select! {
                stopped = &mut stops => {
                    if stopped.is_err() {
                        tracing::warn!(pod = self.machine.plan().pod, "containers did not stop in time");
                    }
                    break;
                }
                Some(done) = self.jobs.next() => abandon(done).await,
            }
        }
        while let Some(done) = self.jobs.next().now_or_never().flatten() {
            abandon(done).await;
        }
    }

    async fn clean_up(self) {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default().to_owned();
        let (logs, volumes) = (self.context.logs.clone(), self.context.volumes.clone());
        let (name, uid) = (self.name(), self.uid().to_owned());
        let cleaning = tokio::task::spawn_blocking(move || {
            logs.remove(&namespace, &name, &uid);
            volumes.remove(&uid);
        });
        let _ = cleaning.await;
    }
}

/// A launch that was under way would leave a container behind.
async fn abandon(done: Done) {
    if let Done::Launch(_, _, result) = done
        && let Ok(launch) = *result
    {
        launch.container.stop(Duration::ZERO).await;
    }
}

/// What a container that ended wants known: its own words, or else the end of its log if it asks for that.
async fn last_words(
    logs: &crate::logs::Logs,
    of: &crate::logs::LogOf,
    words: &LastWords,
    exit: &Exit,
) -> Option<String> {
    let said = words.read();
    let Some(lines) = words.of_log(exit.code != 0).filter(|_| said.is_none()) else { return said };
    let options = LogOptions { tail_lines: Some(lines), ..LogOptions::default() };
    let mut stream = logs.open(of, options).await.ok()?;
    let mut end = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        end.extend_from_slice(&chunk);
    }
    Some(LastWords::shortened(&end)).filter(|text| !text.is_empty())
}
