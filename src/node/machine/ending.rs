//! How containers end, and how a pod does.

use std::time::Duration;

use base::backoff::Backoff;

use super::{
    BACKOFF_FIRST, BACKOFF_MAX, DEADLINE, Effect, Eviction, GRACE_LEAST, HEALTHY_AFTER, Judgement, Moment, Phase,
    PodMachine, RestartAll, Role, State, Trackers, event, pod_event, span, terminated,
};
use crate::sandbox::Exit;

impl PodMachine {
    pub(super) fn exited(
        &mut self,
        index: usize,
        attempt: u32,
        ended: (Exit, Option<String>),
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if self.ended(index, attempt, ended, now, effects) {
            self.restart_all(now, effects);
        }
    }

    /// Whether all containers are to begin again because of it.
    fn ended(
        &mut self,
        index: usize,
        attempt: u32,
        (exit, said): (Exit, Option<String>),
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let served_out = self.plan.containers[index].role == Role::Sidecar && self.is_done();
        let plan = &self.plan.containers[index];
        let container = &mut self.containers[index];
        let State::Running { started } = container.state else { return false };
        if attempt != container.attempt {
            return false;
        }
        container.trackers = Trackers::default();
        let termination = terminated(exit, said, started, container.container_id.clone(), container.unhealthy);
        let code = termination.code;
        container.state = State::Terminated(termination.clone());
        let hook_error = container.hook_error.take();
        if self.restarting == RestartAll::UnderWay && plan.role != Role::Ephemeral {
            return false;
        }
        let restarts_all = self.phase == Phase::Active && plan.restarts_all(code);
        if container.replaced && !restarts_all {
            container.retry_at = Some(now.at);
            return false;
        }
        if self.phase != Phase::Active || served_out || !plan.restarts(self.plan.restart, code) {
            return false;
        }
        let ran = termination.finished.unwrap_or(now.wall).duration_since(started);
        if ran.unsigned_abs() >= HEALTHY_AFTER {
            container.crashes = None;
        }
        let Some(crashes) = &mut container.crashes else {
            // The first restart is immediate.
            container.crashes = Some(Backoff::new(BACKOFF_FIRST, BACKOFF_MAX));
            container.retry_at = Some(now.at);
            if let Some(why) = hook_error {
                container.last = Some(termination);
                container.state = State::Waiting { reason: "PostStartHookError".to_owned(), message: Some(why) };
            }
            return restarts_all;
        };
        let wait = crashes.fail();
        container.retry_at = Some(now.at + wait);
        container.last = Some(termination);
        let message =
            format!("back-off {} restarting failed container={} pod={}", span(wait), plan.name, self.plan.pod);
        container.state = State::Waiting { reason: "CrashLoopBackOff".to_owned(), message: Some(message) };
        let told = format!("Back-off restarting failed container {} in pod {}", plan.name, self.plan.pod);
        effects.push(event(index, true, "BackOff", told));
        restarts_all
    }

    pub(super) fn delete(&mut self, grace: Duration, now: Moment, effects: &mut Vec<Effect>) {
        let by = now.at + grace;
        if let Phase::Deleting { .. } = self.phase {
            // A second deletion with a shorter grace period hurries those that still run.
            if self.gone_by.is_none_or(|known| by < known) {
                self.gone_by = Some(by);
                self.hurry(grace, effects);
            }
            return;
        }
        if self.phase == Phase::Expired && self.gone_by.is_some_and(|known| by < known) {
            self.hurry(grace, effects);
        }
        self.plan.grace = grace;
        self.gone_by = Some(self.gone_by.map_or(by, |known| known.min(by)));
        self.phase = Phase::Deleting { finished: false };
    }

    fn hurry(&mut self, grace: Duration, effects: &mut Vec<Effect>) {
        self.plan.grace = grace;
        for (index, container) in self.containers.iter().enumerate() {
            if container.is_running() && container.stopping {
                effects.push(Effect::Stop { container: index, grace });
            }
        }
    }

    pub(super) fn expire(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        effects.push(pod_event(false, DEADLINE, message.clone()));
        self.judge(Judgement { reason: DEADLINE, message, disruption: false }, self.plan.grace, now);
    }

    pub(super) fn evict(&mut self, eviction: Eviction, now: Moment, effects: &mut Vec<Effect>) {
        let Eviction { reason, message, grace, disruption } = eviction;
        if self.phase != Phase::Active || self.is_done() {
            return;
        }
        effects.push(pod_event(true, reason, message.clone()));
        self.judge(Judgement { reason, message, disruption }, grace, now);
    }

    fn judge(&mut self, judgement: Judgement, grace: Duration, now: Moment) {
        self.judgement = Some(judgement);
        self.plan.grace = grace;
        self.gone_by = Some(now.at + grace);
        self.phase = Phase::Expired;
    }

    /// Stops what runs: sidecars after everything else, the last first.
    pub(super) fn wind_down(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let left = self.gone_by.map_or(self.plan.grace, |by| by.saturating_duration_since(now.at));
        let first = !self.containers.iter().any(|container| container.stopping);
        for index in self.stoppable() {
            let (container, plan) = (&mut self.containers[index], &self.plan.containers[index]);
            container.stopping = true;
            let grace = if first || self.plan.grace.is_zero() { left } else { left.max(GRACE_LEAST) };
            effects.push(event(index, false, "Killing", format!("Stopping container {}", plan.name)));
            effects.push(Effect::Stop { container: index, grace });
        }
        let quiet = self.launching.is_none() && !self.containers.iter().any(super::Container::is_running);
        if quiet && self.phase == (Phase::Deleting { finished: false }) {
            self.phase = Phase::Deleting { finished: true };
            effects.push(Effect::Finish);
        }
    }

    /// Who is to be stopped now: everybody but sidecars, and of those the last once nobody else runs.
    fn stoppable(&self) -> Vec<usize> {
        let running = |index: &usize| self.containers[*index].is_running();
        let is_sidecar = |index: &usize| self.plan.containers[*index].role == Role::Sidecar;
        let all = || (0..self.containers.len()).filter(running);
        let others: Vec<usize> = all().filter(|index| !is_sidecar(index)).collect();
        let chosen = if others.is_empty() { all().next_back().into_iter().collect() } else { others };
        chosen.into_iter().filter(|index| !self.containers[*index].stopping).collect()
    }

    /// When all main containers are over for good, sidecars and those that look on have nobody left to serve.
    pub(super) fn stop_the_rest(&mut self, _now: Moment, effects: &mut Vec<Effect>) {
        if !self.is_done() || self.launching.is_some() {
            return;
        }
        let grace = self.plan.grace;
        for index in self.stoppable() {
            let name = &self.plan.containers[index].name;
            effects.push(event(index, false, "Killing", format!("Stopping container {name}")));
            self.containers[index].stopping = true;
            effects.push(Effect::Stop { container: index, grace });
        }
    }
}
