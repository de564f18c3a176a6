//! Which container is launched next, and what comes of a launch.

use super::{
    CONFIG_RETRY, Effect, LaunchError, LaunchFailure, Launched, Moment, PULL_ERROR_SHOWN, Phase, PodMachine,
    RestartAll, Role, ShownPull, State, Trackers, event,
};

impl PodMachine {
    pub(super) fn launched(&mut self, index: usize, launched: Launched, now: Moment, effects: &mut Vec<Effect>) {
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
        container.shown_pull = None;
        container.stopping = false;
        container.unhealthy = false;
        container.replaced = false;
        container.launches.reset();
        container.trackers = Trackers::start(&plan.probes, now.at);
        if launched.hook_error.is_some() && self.phase == Phase::Active {
            container.hook_error = launched.hook_error;
            container.stopping = true;
            container.unhealthy = true;
            container.trackers = Trackers::default();
            effects.push(event(index, true, "FailedPostStartHook", "PostStartHook failed".to_owned()));
            effects.push(event(index, false, "Killing", "FailedPostStartHook".to_owned()));
            effects.push(Effect::Stop { container: index, grace: self.plan.grace });
        }
    }

    pub(super) fn next_attempt(&self, index: usize) -> u32 {
        let container = &self.containers[index];
        container.attempt + u32::from(container.has_run)
    }

    pub(super) fn launch_failed(&mut self, index: usize, error: &LaunchError, now: Moment, effects: &mut Vec<Effect>) {
        self.launching = None;
        let container = &mut self.containers[index];
        if let State::Terminated(termination) = &container.state {
            container.last = Some(termination.clone());
        }
        let (waiting, wait) = match &error.class {
            LaunchFailure::Config => (true, CONFIG_RETRY),
            LaunchFailure::Volume => (false, CONFIG_RETRY),
            LaunchFailure::Pull | LaunchFailure::VolumePull { .. } | LaunchFailure::Image | LaunchFailure::Create => {
                (true, container.launches.fail())
            }
        };
        let reason = if waiting { error.reason } else { "ContainerCreating" };
        container.state = State::Waiting { reason: reason.to_owned(), message: Some(error.message.clone()) };
        container.retry_at = Some(now.at + wait);
        let shown = |volume_image| Some(ShownPull { until: now.at + PULL_ERROR_SHOWN, volume_image });
        container.shown_pull = match &error.class {
            LaunchFailure::Pull => shown(None),
            LaunchFailure::VolumePull { image } => shown(Some(image.clone())),
            _ => None,
        };
        if self.phase != Phase::Active {
            return;
        }
        let reason = if error.class == LaunchFailure::Volume { "FailedMount" } else { "Failed" };
        effects.push(event(
            index,
            true,
            reason,
            match &error.class {
                LaunchFailure::Volume => error.message.clone(),
                LaunchFailure::Pull | LaunchFailure::VolumePull { .. } | LaunchFailure::Image => {
                    format!("Error: {}", error.reason)
                }
                LaunchFailure::Config | LaunchFailure::Create => format!("Error: {}", error.message),
            },
        ));
    }

    pub(super) fn launch_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
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
    pub(super) fn wants_launch(&self, index: usize) -> bool {
        if self.phase != Phase::Active || self.launching == Some(index) || self.restarting == RestartAll::UnderWay {
            return false;
        }
        let (container, plan) = (&self.containers[index], &self.plan.containers[index]);
        if container.is_running() || self.is_over(index) || self.is_done() {
            return false;
        }
        // Whoever looks for what is wrong does not wait for it to be right.
        plan.role == Role::Ephemeral || self.is_unblocked(index)
    }

    /// Whether everything that comes before the container is done.
    fn is_unblocked(&self, index: usize) -> bool {
        let before = self.plan.containers[..index].iter().zip(&self.containers[..index]);
        before
            .filter(|(plan, _)| matches!(plan.role, Role::Init | Role::Sidecar))
            .all(|(plan, container)| container.is_initialized(plan))
    }

    /// Whether the container has ended and is not started again.
    pub(super) fn is_over(&self, index: usize) -> bool {
        let (plan, container) = (&self.plan.containers[index], &self.containers[index]);
        match &container.state {
            State::Terminated(_) if container.replaced => false,
            State::Terminated(termination) => {
                !plan.restarts(self.plan.restart, termination.code) || (plan.role == Role::Sidecar && self.is_done())
            }
            _ => false,
        }
    }

    /// Whether an init container failed that is not tried again.
    pub(super) fn has_failed(&self) -> bool {
        self.plan.containers.iter().zip(&self.containers).any(|(plan, container)| {
            plan.role == Role::Init
                && matches!(&container.state, State::Terminated(termination)
                    if termination.code != 0 && !plan.restarts(self.plan.restart, termination.code))
        })
    }
}
