//! How fast a target may be scaled, and how long a recommendation is remembered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler};

const USUAL_TOLERANCE: f64 = 0.1;
const USUAL_WINDOW_DOWN: i32 = 300;
/// Who says nothing of behaviour gets at most twice as many replicas at once, or this many.
const FEW: i32 = 4;
/// Nothing is remembered for longer than the longest window that can be asked for.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// What was recommended and done for one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recommended: Vec<(Timestamp, i32)>,
    /// How many replicas were added or taken away, and when.
    changes: Vec<(Timestamp, i32)>,
    looked: Option<(Timestamp, Option<i64>)>,
    /// When to look again, where that is earlier than usual.
    period: Option<Duration>,
}

fn rules(scaler: &HorizontalPodAutoscaler, up: bool) -> Option<&HPAScalingRules> {
    let behavior = scaler.spec.behavior.as_ref()?;
    if up { behavior.scale_up.as_ref() } else { behavior.scale_down.as_ref() }
}

/// By how much a metric may be above and below its target without anything happening.
pub(super) fn tolerances(scaler: &HorizontalPodAutoscaler) -> (f64, f64) {
    let of = |up| {
        let said = rules(scaler, up).and_then(|rules| rules.tolerance.as_ref());
        said.and_then(|text| text.0.parse::<api::Quantity>().ok()).map_or(USUAL_TOLERANCE, api::Quantity::as_f64)
    };
    (of(true), of(false))
}

fn window(scaler: &HorizontalPodAutoscaler, up: bool) -> SignedDuration {
    let usual = if up { 0 } else { USUAL_WINDOW_DOWN };
    let seconds = rules(scaler, up).and_then(|rules| rules.stabilization_window_seconds).unwrap_or(usual);
    SignedDuration::from_secs(i64::from(seconds))
}

fn policies(scaler: &HorizontalPodAutoscaler, up: bool) -> (Vec<HPAScalingPolicy>, String) {
    let policy = |type_: &str, value| HPAScalingPolicy { type_: type_.to_owned(), value, period_seconds: 15 };
    let usual = || if up { vec![policy("Pods", 4), policy("Percent", 100)] } else { vec![policy("Percent", 100)] };
    let rules = rules(scaler, up);
    let all = rules.and_then(|rules| rules.policies.clone()).filter(|all| !all.is_empty()).unwrap_or_else(usual);
    let select = rules.and_then(|rules| rules.select_policy.clone()).unwrap_or_else(|| "Max".to_owned());
    (all, select)
}

impl Memory {
    /// How long it is until the next look; nothing when that is now.
    pub fn rest(&mut self, scaler: &HorizontalPodAutoscaler, now: Timestamp, period: Duration) -> Option<Duration> {
        let generation = scaler.metadata.generation;
        let period = self.period(period);
        if let Some((last, seen)) = self.looked {
            let since = Duration::try_from(now.duration_since(last)).unwrap_or(period);
            // A little early is in time: the queue wakes to the millisecond.
            if seen == generation && since + period.min(Duration::from_secs(5)) / 10 < period {
                return Some(period - since);
            }
        }
        self.looked = Some((now, generation));
        None
    }

    /// As if there had been no look.
    pub fn forget_look(&mut self) {
        self.looked = None;
    }

    /// How long it is to the next look.
    pub fn period(&self, usual: Duration) -> Duration {
        self.period.map_or(usual, |earlier| earlier.min(usual))
    }

    /// Wants the next look after so long.
    pub fn again(&mut self, period: Option<Duration>) {
        self.period = period;
    }

    /// Remembers how many replicas there were when the target was met first, as if that had been recommended: nothing is taken
    /// away before a whole window was seen.
    pub fn met(&mut self, current: i32, now: Timestamp) {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
    }

    /// Remembers a recommendation and answers what the windows make of it.
    pub fn stabilized(&mut self, scaler: &HorizontalPodAutoscaler, current: i32, asked: i32, now: Timestamp) -> i32 {
        self.recommended.retain(|(at, _)| now.duration_since(*at) < REMEMBERED);
        let since = |at: Timestamp| now.duration_since(at);
        let within = |up: bool| {
            let window = window(scaler, up);
            self.recommended.iter().filter(move |(at, _)| since(*at) < window).map(|(_, count)| *count).chain([asked])
        };
        let stable = match scaler.spec.behavior {
            None => {
                let window = window(scaler, false);
                let recent = self.recommended.iter().filter(|(at, _)| since(*at) <= window);
                recent.map(|(_, count)| *count).chain([asked]).max().unwrap_or(asked)
            }
            // Up only as far as all of the one window agree, down only as far as all of the other do.
            Some(_) => current.max(within(true).min().unwrap_or(asked)).min(within(false).max().unwrap_or(asked)),
        };
        self.recommended.push((now, asked));
        stable
    }

    /// Remembers that a target was scaled.
    pub fn scaled(&mut self, from: i32, to: i32, now: Timestamp) {
        self.changes.retain(|(at, _)| now.duration_since(*at) < REMEMBERED);
        self.changes.push((now, to - from));
    }

    fn changed(&self, seconds: i32, up: bool, now: Timestamp) -> i32 {
        let period = SignedDuration::from_secs(i64::from(seconds));
        let recent = self.changes.iter().filter(|(at, _)| now.duration_since(*at) < period);
        recent.map(|(_, change)| if up { (*change).max(0) } else { (-*change).max(0) }).sum()
    }

    /// The fewest and the most replicas that the policies allow now.
    pub fn limits(&self, scaler: &HorizontalPodAutoscaler, current: i32, now: Timestamp) -> (i32, i32) {
        (self.limit(scaler, false, current, now), self.limit(scaler, true, current, now))
    }

    fn limit(&self, scaler: &HorizontalPodAutoscaler, up: bool, current: i32, now: Timestamp) -> i32 {
        if scaler.spec.behavior.is_none() {
            return if up { current.saturating_mul(2).max(FEW) } else { 0 };
        }
        let (policies, select) = policies(scaler, up);
        if select == "Disabled" {
            return current;
        }
        let each = policies.iter().map(|policy| {
            let done = self.changed(policy.period_seconds, up, now);
            let start = if up { current - done } else { current + done };
            let share = f64::from(start) * f64::from(policy.value) / 100.0;
            match (policy.type_.as_str(), up) {
                ("Pods", true) => start.saturating_add(policy.value),
                ("Pods", false) => start.saturating_sub(policy.value),
                (_, true) => (f64::from(start) + share).ceil() as i32,
                (_, false) => (f64::from(start) - share) as i32,
            }
        });
        // The one that allows the most change, unless the least is asked for.
        let farthest = (select != "Min") == up;
        let found = if farthest { each.max() } else { each.min() };
        found.unwrap_or(current).max(0)
    }
}
