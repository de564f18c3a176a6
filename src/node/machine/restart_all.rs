//! `RestartAllContainers`: a container ended in a way after which the whole pod begins again, in its place.
//!
//! Everything else is stopped at once, without hooks. When nothing runs any more, the pod starts as it did at first: init
//! containers in their order, then the others. Address and volumes stay, and each count of restarts goes up. Who looks on is
//! left alone.

use super::{Effect, Moment, PodMachine, Role, State, event};
use std::time::Duration;

/// The condition that tells of it.
pub(super) const CONDITION: &str = "AllContainersRestarting";

/// How far a pod is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestartAll {
    /// It never came to that.
    Never,
    /// What still runs is being stopped.
    UnderWay,
    /// The pod has begun again.
    Done,
}

impl PodMachine {
    /// A container has ended after which all are to begin again.
    pub(super) fn restart_all(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.restarting = RestartAll::UnderWay;
        for (index, container) in self.containers.iter_mut().enumerate() {
            let plan = &self.plan.containers[index];
            if plan.role == Role::Ephemeral || !container.is_running() {
                continue;
            }
            if !container.stopping {
                effects.push(event(index, false, "Killing", format!("Stopping container {}", plan.name)));
            }
            container.stopping = true;
            effects.push(Effect::Stop { container: index, grace: Duration::ZERO });
        }
        self.begin_again(now, effects);
    }

    /// Begins again once nothing runs any more; stops what has begun to run meanwhile.
    pub(super) fn begin_again(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.restarting != RestartAll::UnderWay || self.launching.is_some() {
            return;
        }
        let concerned = |index: &usize| self.plan.containers[*index].role != Role::Ephemeral;
        let all: Vec<usize> = (0..self.containers.len()).filter(concerned).collect();
        let mut quiet = true;
        for index in &all {
            let container = &mut self.containers[*index];
            quiet &= !container.is_running();
            if container.is_running() && !container.stopping {
                container.stopping = true;
                effects.push(Effect::Stop { container: *index, grace: Duration::ZERO });
            }
        }
        if !quiet {
            return;
        }
        self.restarting = RestartAll::Done;
        let inits = all.iter().any(|index| self.plan.containers[*index].role != Role::Main);
        for index in all {
            let container = &mut self.containers[index];
            // Who waits for its back-off goes on waiting: that is the one that brought all this about.
            if let State::Terminated(termination) = &container.state {
                container.last = Some(termination.clone());
                let reason = if inits { "PodInitializing" } else { "ContainerCreating" };
                container.state = State::Waiting { reason: reason.to_owned(), message: None };
                container.retry_at = Some(now.at);
            }
        }
    }
}
