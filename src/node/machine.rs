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

use jiff::Timestamp;

use crate::sandbox::{Exit, Limits};

mod adopt;
mod container;
mod ending;
mod launching;
mod plan;
mod probe;
mod respec;
mod restart_all;
mod status;
#[cfg(test)]
mod tests;

use container::{Container, ShownPull, State, Termination, terminated};
pub(crate) use plan::{ContainerPlan, PodPlan, Role, plain};
pub(crate) use probe::{Outcome, ProbeKind, Probes};
use probe::{Trackers, Verdict};
use restart_all::RestartAll;
pub(crate) use status::{Addresses, is_ours};

const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Why a pod ends that has run for as long as it may.
const DEADLINE: &str = "DeadlineExceeded";
/// A container that ran this long has left its crashes behind.
const HEALTHY_AFTER: Duration = Duration::from_secs(600);
/// A missing ConfigMap is looked for again after this.
const CONFIG_RETRY: Duration = Duration::from_secs(10);
/// How long `ErrImagePull` shows before it becomes `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);
const MESSAGE_BYTES_MAX: usize = 4096;
/// Whoever is stopped although its pod's time is over has this long all the same.
const GRACE_LEAST: Duration = Duration::from_secs(2);

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
    /// A container ended. `said` is what it left as its last message.
    Exited { container: usize, attempt: u32, exit: Exit, said: Option<String> },
    /// A probe ended.
    Probed { container: usize, attempt: u32, kind: ProbeKind, outcome: Outcome },
    /// The spec has changed. `refused` says why its amounts of resources cannot be given.
    Respec { plan: Box<PodPlan>, refused: Option<String> },
    /// The node wants it to go.
    Evict(Eviction),
    /// Somebody deletes the pod.
    Delete { grace: Duration },
    /// Time passed.
    Tick,
}

/// Why a node ends a pod that nobody deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    /// The pod's reason and that of its event.
    pub reason: &'static str,
    pub message: String,
    pub grace: Duration,
    /// The node ends a pod that did nothing wrong: controllers may want to count it apart.
    pub disruption: bool,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct Launched {
    pub image: String,
    pub image_id: String,
    pub container_id: String,
    pub started: Timestamp,
    /// What its postStart hook failed of.
    pub hook_error: Option<String>,
}

/// Why a container does not run. The reason is Kubernetes'.
#[derive(Clone, Debug)]
pub(crate) struct LaunchError {
    pub reason: &'static str,
    pub message: String,
    pub class: LaunchFailure,
}

/// What a failed launch means for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaunchFailure {
    /// The image is not here: back off, show `ImagePullBackOff`.
    Pull,
    /// The same of an image whose files are a volume.
    VolumePull { image: String },
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
    /// Stop it; or, when it is being stopped already, within this instead.
    Stop {
        container: usize,
        grace: Duration,
    },
    Resize {
        container: usize,
        limits: Limits,
    },
    Probe {
        container: usize,
        attempt: u32,
        kind: ProbeKind,
    },
    Event {
        /// Nothing when it is about the pod.
        container: Option<usize>,
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
    /// All are stopped because of the verdict; then it is `Failed`.
    Expired,
    /// All are stopped; then the object goes.
    Deleting { finished: bool },
    /// It was over before this agent saw it.
    Terminal,
}

/// Why the pod failed as a whole.
#[derive(Clone, Debug, PartialEq)]
struct Judgement {
    reason: &'static str,
    message: String,
    disruption: bool,
}

/// One pod.
#[derive(Debug)]
pub(crate) struct PodMachine {
    plan: PodPlan,
    containers: Vec<Container>,
    phase: Phase,
    judgement: Option<Judgement>,
    restarting: RestartAll,
    launching: Option<usize>,
    /// Since when it runs, for its deadline.
    began_at: Instant,
    /// The same as its status says it: what was told once stays, however late the object is to show it.
    started: Timestamp,
    /// When those that wind down have to be gone.
    gone_by: Option<Instant>,
    /// Why the amounts of resources that the spec wants cannot be given.
    resize_refused: Option<String>,
    conditions: status::Conditions,
}

impl PodMachine {
    /// Steps the machine: what is to be done because of `input`.
    pub fn step(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Launched(index, Ok(launched)) => self.launched(index, launched, now, &mut effects),
            Input::Launched(index, Err(error)) => self.launch_failed(index, &error, now, &mut effects),
            Input::Exited { container, attempt, exit, said } => {
                self.exited(container, attempt, (exit, said), now, &mut effects);
            }
            Input::Probed { container, attempt, kind, outcome } => {
                self.probed(container, attempt, kind, &outcome, now, &mut effects);
            }
            Input::Respec { plan, refused } => self.respec(*plan, refused, &mut effects),
            Input::Evict(eviction) => self.evict(eviction, now, &mut effects),
            Input::Delete { grace } => self.delete(grace, now, &mut effects),
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
            [
                retry,
                container.shown_pull.as_ref().map(|shown| shown.until),
                container.trackers.wake().filter(|_| active),
            ]
        });
        let expiry = self.expires_at().filter(|_| active && !self.is_done());
        containers.chain([expiry]).flatten().min()
    }

    /// What the machine knows of the spec.
    pub fn plan(&self) -> &PodPlan {
        &self.plan
    }

    /// Whether it only shows what an earlier life of it came to.
    pub fn is_terminal(&self) -> bool {
        self.phase == Phase::Terminal
    }

    /// Whether its containers are stopped for good.
    pub fn goes(&self) -> bool {
        self.phase != Phase::Active
    }

    fn expires_at(&self) -> Option<Instant> {
        self.plan.active_deadline.map(|deadline| self.began_at + deadline)
    }

    /// Whether every main container is over for good: nothing is left that a deadline could end.
    fn is_done(&self) -> bool {
        self.has_failed()
            || (0..self.containers.len())
                .filter(|index| self.plan.containers[*index].role == Role::Main)
                .all(|index| self.is_over(index))
    }

    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (index, (container, plan)) in self.containers.iter_mut().zip(&self.plan.containers).enumerate() {
            container.show_pull_backoff(index, &plan.image, now, effects);
        }
        if self.phase == Phase::Active && self.expires_at().is_some_and(|at| at <= now.at) && !self.is_done() {
            self.expire(now, effects);
        }
        match self.phase {
            Phase::Active => {
                self.begin_again(now, effects);
                self.launch_next(now, effects);
                self.stop_the_rest(now, effects);
                self.run_probes(now, effects);
            }
            Phase::Expired | Phase::Deleting { .. } => self.wind_down(now, effects),
            Phase::Terminal => {}
        }
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
        if container.attempt != attempt || !container.is_running() {
            return;
        }
        let verdict = container.trackers.record(kind, outcome, now.at);
        if !container.stopping {
            let title = kind.title();
            match outcome {
                Outcome::Failure(why) => {
                    effects.push(event(index, true, "Unhealthy", format!("{title} probe failed: {why}")));
                }
                Outcome::Unknown(why) => {
                    let message = format!("{title} probe errored and resulted in unknown state: {why}");
                    effects.push(event(index, true, "Unhealthy", message));
                }
                Outcome::Warning(why) => {
                    effects.push(event(index, true, "ProbeWarning", format!("{title} probe warning: {why}")));
                }
                Outcome::Success => {}
            }
        }
        if verdict == Verdict::Kill && !container.stopping && self.phase == Phase::Active {
            let plan = &self.plan.containers[index];
            let again = if plan.restarts(self.plan.restart, 137) { ", will be restarted" } else { "" };
            let message = format!("Container {} failed {} probe{again}", plan.name, kind.word());
            effects.push(event(index, false, "Killing", message));
            let grace = plan.probes.get(kind).and_then(|spec| spec.grace).unwrap_or(self.plan.grace);
            container.stopping = true;
            container.unhealthy = true;
            effects.push(Effect::Stop { container: index, grace });
        }
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
    Effect::Event { container: Some(container), warning, reason, message }
}

fn pod_event(warning: bool, reason: &'static str, message: String) -> Effect {
    Effect::Event { container: None, warning, reason, message }
}

/// As Go prints durations of whole seconds: `10s`, `2m40s`.
fn span(wait: Duration) -> String {
    match (wait.as_secs() / 60, wait.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
