//! What becomes of a canary next. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;

use super::settings::{Settings, Step};
use super::state::{Pair, Phase, State, size};

/// What is known of the requests that the canary's pods were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Requests {
    pub all: i64,
    pub failed: i64,
    pub p99: Option<Duration>,
}

/// What a decision goes by.
pub(super) struct Seen<'a> {
    pub deployment: &'a Deployment,
    pub pair: &'a Pair,
    pub requests: Requests,
    /// What somebody told it.
    pub order: Option<&'a str>,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    Keep,
    Set(State),
    /// As [`Decision::Set`], with the template of before.
    RollBack(State),
}

pub(super) fn decide(settings: &Settings, state: Option<&State>, seen: &Seen<'_>) -> Decision {
    let own = state.filter(|state| state.hash == seen.pair.hash());
    let Some(state) = own else {
        return if seen.pair.is_whole(wanted(seen.deployment)) { withdraw(state, seen) } else { begin(settings, seen) };
    };
    if !state.runs() {
        return Decision::Keep;
    }
    if let Some(why) = failure(settings, seen) {
        return roll_back(state, seen, &why);
    }
    if seen.order == Some("full") {
        return promote(state, seen);
    }
    let Some(step) = settings.steps.get(state.step.saturating_sub(1)) else { return promote(state, seen) };
    // The steps were changed on the way.
    if step.percent != state.weight {
        return at_step(settings, seen, state.step);
    }
    let wanted = size(step.percent, wanted(seen.deployment));
    let Some(since) = state.since else {
        if seen.pair.available() < wanted {
            return Decision::Keep;
        }
        let phase = if step.hold.is_none() { Phase::Waiting } else { Phase::Progressing };
        return Decision::Set(State { phase, since: Some(seen.now), ..state.clone() });
    };
    let is_over = step.hold.is_some_and(|hold| {
        let hold = SignedDuration::try_from(hold).unwrap_or(SignedDuration::MAX);
        seen.now.duration_since(since) >= hold
    });
    if !is_over && seen.order != Some("next") {
        return Decision::Keep;
    }
    if state.step < settings.steps.len() { at_step(settings, seen, state.step + 1) } else { promote(state, seen) }
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Somebody brought the template of before back himself: the canary goes, and what was there all the time is no canary.
fn withdraw(state: Option<&State>, seen: &Seen<'_>) -> Decision {
    let Some(state) = state.filter(|state| state.runs()) else { return Decision::Keep };
    let message = format!("Canary {} was rolled back: its template was taken away", seen.pair.stable_name());
    let hash = seen.pair.hash().to_owned();
    Decision::Set(State { phase: Phase::RolledBack, hash, weight: 0, since: None, message, ..state.clone() })
}

fn begin(settings: &Settings, seen: &Seen<'_>) -> Decision {
    at_step(settings, seen, 1)
}

/// The step of this number, from its beginning.
fn at_step(settings: &Settings, seen: &Seen<'_>, step: usize) -> Decision {
    let Some(Step { percent, .. }) = settings.steps.get(step - 1) else { return Decision::Keep };
    let message = format!(
        "Canary {} gets {percent}% of the requests (step {step} of {})",
        seen.pair.canary_name(),
        settings.steps.len()
    );
    Decision::Set(State {
        phase: Phase::Progressing,
        hash: seen.pair.hash().to_owned(),
        step,
        weight: *percent,
        since: None,
        message,
    })
}

fn promote(state: &State, seen: &Seen<'_>) -> Decision {
    let message = format!("Canary {} gets all of the requests", seen.pair.canary_name());
    Decision::Set(State { phase: Phase::Promoted, weight: 100, since: None, message, ..state.clone() })
}

/// The state is about the template that is put back: it is no canary, and needs none.
fn roll_back(state: &State, seen: &Seen<'_>, why: &str) -> Decision {
    let message = format!("Canary {} was rolled back: {why}", seen.pair.canary_name());
    let hash = seen.pair.stable_hash().to_owned();
    Decision::RollBack(State { phase: Phase::RolledBack, hash, weight: 0, since: None, message, ..state.clone() })
}

/// Why the canary is no good.
fn failure(settings: &Settings, seen: &Seen<'_>) -> Option<String> {
    if seen.order == Some("abort") {
        return Some("it was told to abort".to_owned());
    }
    let conditions = seen.deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let current = seen.deployment.status.as_ref().and_then(|status| status.observed_generation)
        >= seen.deployment.metadata.generation;
    if current && conditions.into_iter().any(|row| row.reason.as_deref() == Some("ProgressDeadlineExceeded")) {
        return Some("its pods were not available within progressDeadlineSeconds".to_owned());
    }
    let Requests { all, failed, p99 } = seen.requests;
    if all < settings.requests_min.max(1) {
        return None;
    }
    let rate = failed as f64 * 100.0 / all as f64;
    if rate > settings.errors_max {
        return Some(format!("{failed} of {all} requests failed ({rate:.1}%), more than {}% may", settings.errors_max));
    }
    let (most, slow) = (settings.latency_max?, p99?);
    (slow > most).then(|| format!("1 of 100 responses took longer than {slow:?}, which may be {most:?} at most"))
}
