//! One container of a pod: what state it is in, and what that means.

use std::time::Instant;

use base::backoff::Backoff;
use jiff::Timestamp;

use super::probe::Trackers;
use super::{BACKOFF_FIRST, BACKOFF_MAX, ContainerPlan, Effect, MESSAGE_BYTES_MAX, Moment, Role, event, pod_event};
use crate::sandbox::{Exit, ExitReason};

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Termination {
    pub code: i32,
    pub reason: String,
    pub message: Option<String>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub container_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Waiting { reason: String, message: Option<String> },
    Running { started: Timestamp },
    Terminated(Termination),
}

/// A failed pull that is still shown as such.
#[derive(Debug)]
pub(super) struct ShownPull {
    /// When `ErrImagePull` turns into `ImagePullBackOff`.
    pub until: Instant,
    /// The image, if it is not the container's but that of a volume.
    pub volume_image: Option<String>,
}

#[derive(Debug)]
pub(super) struct Container {
    pub state: State,
    pub last: Option<Termination>,
    /// How often it was started before the present run: `restartCount`.
    pub attempt: u32,
    pub has_run: bool,
    pub image: Option<String>,
    pub image_id: Option<String>,
    pub container_id: Option<String>,
    /// When to launch (again), if the state wants that.
    pub retry_at: Option<Instant>,
    /// How long to wait after the next crash; none after the first.
    pub crashes: Option<Backoff>,
    pub launches: Backoff,
    pub shown_pull: Option<ShownPull>,
    pub stopping: bool,
    /// It is being stopped because a probe or its hook says so: its exit is a failure.
    pub unhealthy: bool,
    /// It is started again whatever the policy says, since its spec changed.
    pub replaced: bool,
    /// What its postStart hook failed of, until it has ended because of that.
    pub hook_error: Option<String>,
    pub trackers: Trackers,
}

impl Container {
    pub fn waiting(reason: &str) -> Self {
        Self {
            state: State::Waiting { reason: reason.to_owned(), message: None },
            last: None,
            attempt: 0,
            has_run: false,
            image: None,
            image_id: None,
            container_id: None,
            retry_at: None,
            crashes: None,
            launches: Backoff::new(BACKOFF_FIRST, BACKOFF_MAX),
            shown_pull: None,
            stopping: false,
            unhealthy: false,
            replaced: false,
            hook_error: None,
            trackers: Trackers::default(),
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    pub fn is_started(&self) -> bool {
        self.is_running() && self.trackers.started()
    }

    pub fn is_ready(&self) -> bool {
        self.is_running() && self.trackers.ready()
    }

    pub fn is_initialized(&self, plan: &ContainerPlan) -> bool {
        match &self.state {
            State::Terminated(termination) => plan.role == Role::Init && termination.code == 0,
            State::Running { .. } => plan.role == Role::Sidecar && self.is_started(),
            State::Waiting { .. } => false,
        }
    }

    pub fn show_pull_backoff(&mut self, index: usize, image: &str, now: Moment, effects: &mut Vec<Effect>) {
        let Some(shown) = self.shown_pull.take_if(|shown| shown.until <= now.at) else { return };
        let image = shown.volume_image.as_deref().unwrap_or(image);
        if let State::Waiting { reason, message } = &mut self.state {
            let told = format!("Back-off pulling image {image:?}");
            *message = Some(format!("{told}: {reason}: {}", message.as_deref().unwrap_or_default()));
            *reason = "ImagePullBackOff".to_owned();
            // Volumes are the pod's.
            effects.push(match shown.volume_image {
                Some(_) => pod_event(false, "BackOff", told),
                None => event(index, false, "BackOff", told),
            });
            effects.push(event(index, true, "Failed", "Error: ImagePullBackOff".to_owned()));
        }
    }
}

/// `said` is what the container left as its termination message; without one it is what the sandbox says.
pub(super) fn terminated(
    exit: Exit,
    said: Option<String>,
    started: Timestamp,
    container_id: Option<String>,
    unhealthy: bool,
) -> Termination {
    let (code, reason) = match (exit.code, exit.reason) {
        // Stopped by a failed probe, so that it counts as a failure however politely it went.
        (0, ExitReason::Completed) if unhealthy => (137, ExitReason::Error),
        given => given,
    };
    Termination {
        code,
        reason: reason.as_str().to_owned(),
        // That it was stopped says the event.
        message: Some(cut(said.unwrap_or(exit.message))).filter(|message| !matches!(message.as_str(), "" | "stopped")),
        started: Some(started),
        finished: Some(Timestamp::try_from(exit.finished).unwrap_or_else(|_| Timestamp::now())),
        container_id,
    }
}

/// Messages in a status are short; back-traces can be long.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
    }
    message
}
