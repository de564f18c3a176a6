//! The life of a pod on this node, without any IO.
//!
//! ```text
//! step(input, now) → effects      what happened → what to do about it
//! wake()                          when to step with Tick although nothing happened
//! status(pod, now)                what the world may see of it
//! ```
//!
//! *Guarantees*: containers of a pod are launched one after the other; a container that is running or being launched is
//! not launched again; a container that waits for its back-off is not launched before; after [`Input::Delete`] nothing is
//! launched, and [`Effect::Finish`] comes once, after the last container has ended.

use std::time::{Duration, Instant};

use base::backoff::Backoff;
use jiff::Timestamp;

use crate::sandbox::Exit;

mod adopt;
mod container;
mod plan;
mod probe;
mod status;
#[cfg(test)]
mod tests;

use container::{Container, State, Termination, terminated};
pub(crate) use plan::{ContainerPlan, PodPlan, Restart, Role};
pub(crate) use probe::{Outcome, ProbeKind, Probes};
use probe::{Trackers, Verdict};
pub(crate) use status::Addresses;

const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long has left its crashes behind.
const HEALTHY_AFTER: Duration = Duration::from_secs(600);
/// A missing ConfigMap is looked for again after this.
const CONFIG_RETRY: Duration = Duration::from_secs(10);
/// How long `ErrImagePull` shows before it becomes `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);
const MESSAGE_BYTES_MAX: usize = 4096;

/// A moment on both clocks: the one that timers need and the one that people read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub at: Instant,
    pub wall: Timestamp,
}

impl Moment {
    pub fn now() -> Self {
        Self { at: Instant::now(), wall: Timestamp::now() }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A launch ended.
    Launched(usize, Result<Launched, LaunchError>),
    /// A container ended.
    Exited { container: usize, attempt: u32, exit: Exit },
    /// A probe ended.
    Probed { container: usize, attempt: u32, kind: ProbeKind, outcome: Outcome },
    /// The spec names another image.
    Reimaged { container: usize, image: String },
    /// Somebody deletes the pod.
    Delete { grace: Duration },
    /// Time passed.
    Tick,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct Launched {
    pub image: String,
    pub image_id: String,
    pub container_id: String,
    pub started: Timestamp,
}

/// Why a container does not run. The reason is Kubernetes'.
#[derive(Clone, Debug)]
pub(crate) struct LaunchError {
    pub reason: &'static str,
    pub message: String,
    pub class: LaunchFailure,
}

/// What a failed launch means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaunchFailure {
    /// The image is not here: back off, show `ImagePullBackOff`.
    Pull,
    /// The image cannot be had under this name or policy: back off, keep the reason.
    Image,
    /// Something that the spec refers to is not there yet: look again soon.
    Config,
    /// The component cannot be started: back off, keep the reason.
    Create,
    /// A volume cannot be made: look again soon, go on showing that the container is being made.
    Volume,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Launch {
        container: usize,
        attempt: u32,
    },
    Stop {
        container: usize,
        grace: Duration,
    },
    Probe {
        container: usize,
        attempt: u32,
        kind: ProbeKind,
    },
    Event {
        container: usize,
        warning: bool,
        reason: &'static str,
        message: String,
    },
    /// All has ended and the object can go.
    Finish,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Containers are started as they need it.
    Active,
    /// All are stopped because the pod ran too long; then it is `Failed`.
    Expired { reason: &'static str, message: String },
    /// All are stopped; then the object goes.
    Deleting { finished: bool },
    /// It was over before this agent saw it.
    Terminal,
}

/// One pod.
#[derive(Debug)]
pub(crate) struct PodMachine {
    plan: PodPlan,
    containers: Vec<Container>,
    phase: Phase,
    launching: Option<usize>,
    expires_at: Option<Instant>,
    conditions: status::Conditions,
}

impl PodMachine {
    /// Steps the machine: what is to be done because of `input`.
    pub fn step(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Launched(index, Ok(launched)) => self.launched(index, launched, now),
            Input::Launched(index, Err(error)) => self.launch_failed(index, &error, now, &mut effects),
            Input::Exited { container, attempt, exit } => self.exited(container, attempt, exit, now, &mut effects),
            Input::Probed { container, attempt, kind, outcome } => {
                self.probed(container, attempt, kind, &outcome, now, &mut effects);
            }
            Input::Reimaged { container, image } => self.reimaged(container, image, &mut effects),
            Input::Delete { grace } => self.delete(grace, &mut effects),
            Input::Tick => {}
        }
        self.advance(now, &mut effects);
        effects
    }

    /// When to step with [`Input::Tick`] if nothing else happens.
    pub fn wake(&self) -> Option<Instant> {
        let active = self.phase == Phase::Active;
        let containers = self.containers.iter().enumerate().flat_map(|(index, container)| {
            let retry = container.retry_at.filter(|_| self.launching.is_none() && self.wants_launch(index));
            // Probes rest while a pod winds down.
            [retry, container.pull_shown_until, container.trackers.wake().filter(|_| active)]
        });
        let expiry = self.expires_at.filter(|_| active);
        containers.chain([expiry]).flatten().min()
    }

    /// What the machine knows of the spec.
    pub fn plan(&self) -> &PodPlan {
        &self.plan
    }

    fn launched(&mut self, index: usize, launched: Launched, now: Moment) {
        self.launching = None;
        let next = self.next_attempt(index);
        let (container, plan) = (&mut self.containers[index], &self.plan.containers[index]);
        if let State::Terminated(termination) = &container.state {
            container.last = Some(termination.clone());
        }
        container.attempt = next;
        container.has_run = true;
        container.state = State::Running { started: launched.started };
        container.image = Some(launched.image);
        container.image_id = Some(launched.image_id);
        container.container_id = Some(launched.container_id);
        container.retry_at = None;
        container.pull_shown_until = None;
        container.stopping = false;
        container.unhealthy = false;
        container.reimaged = false;
        container.launches.reset();
        container.trackers = Trackers::start(&plan.probes, now.at);
    }

    fn next_attempt(&self, index: usize) -> u32 {
        let container = &self.containers[index];
        container.attempt + u32::from(container.has_run)
    }

    fn launch_failed(&mut self, index: usize, error: &LaunchError, now: Moment, effects: &mut Vec<Effect>) {
        self.launching = None;
        let container = &mut self.containers[index];
        if let State::Terminated(termination) = &container.state {
            container.last = Some(termination.clone());
        }
        let (waiting, wait) = match error.class {
            LaunchFailure::Config => (true, CONFIG_RETRY),
            LaunchFailure::Volume => (false, CONFIG_RETRY),
            LaunchFailure::Pull | LaunchFailure::Image | LaunchFailure::Create => (true, container.launches.fail()),
        };
        let reason = if waiting { error.reason } else { "ContainerCreating" };
        container.state = State::Waiting { reason: reason.to_owned(), message: Some(error.message.clone()) };
        container.retry_at = Some(now.at + wait);
        let pull = error.class == LaunchFailure::Pull;
        container.pull_shown_until = pull.then(|| now.at + PULL_ERROR_SHOWN);
        if self.phase != Phase::Active {
            return;
        }
        let reason = if error.class == LaunchFailure::Volume { "FailedMount" } else { "Failed" };
        effects.push(event(
            index,
            true,
            reason,
            match error.class {
                LaunchFailure::Volume => error.message.clone(),
                LaunchFailure::Pull | LaunchFailure::Image => format!("Error: {}", error.reason),
                LaunchFailure::Config | LaunchFailure::Create => format!("Error: {}", error.message),
            },
        ));
    }

    fn exited(&mut self, index: usize, attempt: u32, exit: Exit, now: Moment, effects: &mut Vec<Effect>) {
        let plan = &self.plan.containers[index];
        let container = &mut self.containers[index];
        let State::Running { started } = container.state else { return };
        if attempt != container.attempt {
            return;
        }
        container.trackers = Trackers::default();
        let termination = terminated(exit, started, container.container_id.clone(), container.unhealthy);
        let failed = termination.code != 0;
        container.state = State::Terminated(termination.clone());
        if container.reimaged {
            container.retry_at = Some(now.at);
            return;
        }
        if self.phase != Phase::Active || !plan.restarts(self.plan.restart, failed) {
            return;
        }
        let ran = termination.finished.unwrap_or(now.wall).duration_since(started);
        if ran.unsigned_abs() >= HEALTHY_AFTER {
            container.crashes = None;
        }
        let Some(crashes) = &mut container.crashes else {
            // The first restart is immediate.
            container.crashes = Some(Backoff::new(BACKOFF_FIRST, BACKOFF_MAX));
            container.retry_at = Some(now.at);
            return;
        };
        let wait = crashes.fail();
        container.retry_at = Some(now.at + wait);
        container.last = Some(termination);
        let message =
            format!("back-off {} restarting failed container={} pod={}", span(wait), plan.name, self.plan.pod);
        container.state = State::Waiting { reason: "CrashLoopBackOff".to_owned(), message: Some(message) };
        let told = format!("Back-off restarting failed container {} in pod {}", plan.name, self.plan.pod);
        effects.push(event(index, true, "BackOff", told));
    }

    fn probed(
        &mut self,
        index: usize,
        attempt: u32,
        kind: ProbeKind,
        outcome: &Outcome,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let container = &mut self.containers[index];
        if container.attempt != attempt || !matches!(container.state, State::Running { .. }) {
            return;
        }
        let verdict = container.trackers.record(kind, outcome, now.at);
        if let (Outcome::Failure(why), false) = (outcome, container.stopping) {
            effects.push(event(index, true, "Unhealthy", format!("{} probe failed: {why}", kind.title())));
        }
        if verdict == Verdict::Kill && !container.stopping {
            let plan = &self.plan.containers[index];
            let message = format!("Container {} failed {} probe, will be restarted", plan.name, kind.word());
            effects.push(event(index, false, "Killing", message));
            let grace = plan.probes.get(kind).and_then(|spec| spec.grace).unwrap_or(self.plan.grace);
            container.stopping = true;
            container.unhealthy = true;
            effects.push(Effect::Stop { container: index, grace });
        }
    }

    /// A new image: what runs is replaced, what waits for the old one tries the new one at once.
    fn reimaged(&mut self, index: usize, image: String, effects: &mut Vec<Effect>) {
        let (plan, container) = (&mut self.plan.containers[index], &mut self.containers[index]);
        if plan.image == image || self.phase != Phase::Active {
            return;
        }
        plan.image = image;
        match &container.state {
            State::Running { .. } if !container.stopping => {
                container.stopping = true;
                container.reimaged = true;
                let message = format!("Container {} definition changed, will be restarted", plan.name);
                effects.push(event(index, false, "Killing", message));
                effects.push(Effect::Stop { container: index, grace: self.plan.grace });
            }
            State::Running { .. } => container.reimaged = true,
            State::Waiting { .. } => {
                container.retry_at = None;
                container.pull_shown_until = None;
                container.launches.reset();
            }
            State::Terminated(_) => {}
        }
    }

    fn delete(&mut self, grace: Duration, effects: &mut Vec<Effect>) {
        if let Phase::Deleting { .. } = self.phase {
            // A second deletion with a shorter grace period hurries those that still run.
            if grace < self.plan.grace {
                self.plan.grace = grace;
                for (index, container) in self.containers.iter().enumerate() {
                    if matches!(container.state, State::Running { .. }) {
                        effects.push(Effect::Stop { container: index, grace });
                    }
                }
            }
            return;
        }
        self.plan.grace = grace;
        self.phase = Phase::Deleting { finished: false };
    }

    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (index, (container, plan)) in self.containers.iter_mut().zip(&self.plan.containers).enumerate() {
            container.show_pull_backoff(index, &plan.image, now, effects);
        }
        if self.phase == Phase::Active && self.expires_at.is_some_and(|at| at <= now.at) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.phase = Phase::Expired { reason: "DeadlineExceeded", message };
        }
        match self.phase {
            Phase::Active => {
                self.launch_next(now, effects);
                self.stop_sidecars_of_the_finished(effects);
                self.run_probes(now, effects);
            }
            Phase::Expired { .. } | Phase::Deleting { .. } => self.wind_down(effects),
            Phase::Terminal => {}
        }
    }

    /// Stops what runs: sidecars after everything else.
    fn wind_down(&mut self, effects: &mut Vec<Effect>) {
        let grace = self.plan.grace;
        let running = |container: &Container| matches!(container.state, State::Running { .. });
        let mains = self
            .containers
            .iter()
            .zip(&self.plan.containers)
            .any(|(container, plan)| plan.role != Role::Sidecar && running(container));
        for (index, (container, plan)) in self.containers.iter_mut().zip(&self.plan.containers).enumerate() {
            if running(container) && !container.stopping && !(mains && plan.role == Role::Sidecar) {
                container.stopping = true;
                effects.push(event(index, false, "Killing", format!("Stopping container {}", plan.name)));
                effects.push(Effect::Stop { container: index, grace });
            }
        }
        let quiet = self.launching.is_none() && !self.containers.iter().any(running);
        if quiet && self.phase == (Phase::Deleting { finished: false }) {
            self.phase = Phase::Deleting { finished: true };
            effects.push(Effect::Finish);
        }
    }

    /// When all main containers are over for good, sidecars have nobody left to serve.
    fn stop_sidecars_of_the_finished(&mut self, effects: &mut Vec<Effect>) {
        if self.containers.iter().all(|container| !matches!(container.state, State::Running { .. })) {
            return;
        }
        let mut mains = (0..self.containers.len()).filter(|index| self.plan.containers[*index].role == Role::Main);
        if mains.any(|index| !self.is_over(index)) {
            return;
        }
        let grace = self.plan.grace;
        for (index, (container, plan)) in self.containers.iter_mut().zip(&self.plan.containers).enumerate() {
            let running = matches!(container.state, State::Running { .. });
            if plan.role == Role::Sidecar && running && !container.stopping {
                container.stopping = true;
                effects.push(Effect::Stop { container: index, grace });
            }
        }
    }

    fn launch_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.launching.is_some() {
            return;
        }
        let due =
            |index: &usize| self.wants_launch(*index) && self.containers[*index].retry_at.is_none_or(|at| at <= now.at);
        let Some(index) = (0..self.containers.len()).find(due) else { return };
        self.launching = Some(index);
        effects.push(Effect::Launch { container: index, attempt: self.next_attempt(index) });
    }

    /// Whether the container is to be launched, now or when its back-off is over.
    fn wants_launch(&self, index: usize) -> bool {
        if self.phase != Phase::Active || self.launching == Some(index) {
            return false;
        }
        let stopped = !matches!(self.containers[index].state, State::Running { .. });
        stopped && !self.is_over(index) && self.is_unblocked(index) && !self.has_failed()
    }

    /// Whether everything that comes before the container is done.
    fn is_unblocked(&self, index: usize) -> bool {
        let before = self.plan.containers[..index].iter().zip(&self.containers[..index]);
        before.filter(|(plan, _)| plan.role != Role::Main).all(|(plan, container)| container.is_initialized(plan))
    }

    /// Whether the container has ended and is not started again.
    fn is_over(&self, index: usize) -> bool {
        let plan = &self.plan.containers[index];
        match &self.containers[index].state {
            State::Terminated(_) if self.containers[index].reimaged => false,
            State::Terminated(termination) => {
                !plan.restarts(self.plan.restart, termination.code != 0)
                    || (plan.role == Role::Sidecar && self.containers[index].stopping)
            }
            _ => false,
        }
    }

    /// Whether an init container failed that is not tried again.
    fn has_failed(&self) -> bool {
        self.plan.containers.iter().zip(&self.containers).any(|(plan, container)| {
            plan.role == Role::Init
                && self.plan.restart == Restart::Never
                && matches!(&container.state, State::Terminated(termination) if termination.code != 0)
        })
    }

    fn run_probes(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (index, container) in self.containers.iter_mut().enumerate() {
            for kind in container.trackers.due(now.at) {
                effects.push(Effect::Probe { container: index, attempt: container.attempt, kind });
            }
        }
    }
}

fn event(container: usize, warning: bool, reason: &'static str, message: String) -> Effect {
    Effect::Event { container, warning, reason, message }
}

/// As Go prints durations of whole seconds: `10s`, `2m40s`.
fn span(wait: Duration) -> String {
    match (wait.as_secs() / 60, wait.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
