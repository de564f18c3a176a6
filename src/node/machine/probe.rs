//! When to probe a container, and what the answers mean.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Probe};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// How one probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// It is well, and something about the probe is not.
    Warning(String),
    Failure(String),
    /// Nobody knows: the probe itself could not be run.
    Unknown(String),
}

/// A probe's times and thresholds.
#[derive(Clone, Debug)]
pub(crate) struct ProbeSpec {
    pub initial_delay: Duration,
    pub period: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
    pub grace: Option<Duration>,
}

impl ProbeSpec {
    fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        let count =
            |value: Option<i32>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1);
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
            grace: probe
                .termination_grace_period_seconds
                .map(|grace| Duration::from_secs(u64::try_from(grace).unwrap_or(0))),
        }
    }
}

/// The probes of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes {
    startup: Option<ProbeSpec>,
    readiness: Option<ProbeSpec>,
    liveness: Option<ProbeSpec>,
}

impl Probes {
    pub fn of(container: &Container) -> Self {
        Self {
            startup: container.startup_probe.as_ref().map(ProbeSpec::of),
            readiness: container.readiness_probe.as_ref().map(ProbeSpec::of),
            liveness: container.liveness_probe.as_ref().map(ProbeSpec::of),
        }
    }

    pub fn get(&self, kind: ProbeKind) -> Option<&ProbeSpec> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }
}

/// What an outcome leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    Kill,
}

#[derive(Debug)]
struct Tracker {
    kind: ProbeKind,
    spec: ProbeSpec,
    /// `None` while a probe is under way.
    next_at: Option<Instant>,
    successes: u32,
    failures: u32,
    passed: bool,
}

/// The probes of a running container. The default is that of one without probes.
#[derive(Debug, Default)]
pub(super) struct Trackers(Vec<Tracker>);

impl Trackers {
    pub fn start(probes: &Probes, now: Instant) -> Self {
        let tracker = |kind| {
            let spec = probes.get(kind)?.clone();
            let next_at = Some(now + spec.initial_delay);
            // Until it is asked, a container is taken to live, and not to be ready.
            Some(Tracker { kind, spec, next_at, successes: 0, failures: 0, passed: kind == ProbeKind::Liveness })
        };
        Self(ProbeKind::ALL.into_iter().filter_map(tracker).collect())
    }

    pub fn started(&self) -> bool {
        self.passed(ProbeKind::Startup)
    }

    pub fn ready(&self) -> bool {
        self.started() && self.passed(ProbeKind::Readiness)
    }

    fn passed(&self, kind: ProbeKind) -> bool {
        self.0.iter().all(|tracker| tracker.kind != kind || tracker.passed)
    }

    /// Whether a tracker's turn has come: the startup probe's until it passes, then the others'.
    fn is_active(tracker: &Tracker, started: bool) -> bool {
        (tracker.kind == ProbeKind::Startup) != started
    }

    pub fn wake(&self) -> Option<Instant> {
        let started = self.started();
        self.0.iter().filter(|tracker| Self::is_active(tracker, started)).filter_map(|tracker| tracker.next_at).min()
    }

    /// The probes to run now. Each is taken to be under way until [`Trackers::record`].
    pub fn due(&mut self, now: Instant) -> Vec<ProbeKind> {
        let started = self.started();
        let due = self
            .0
            .iter_mut()
            .filter(|tracker| Self::is_active(tracker, started) && tracker.next_at.is_some_and(|at| at <= now));
        due.map(|tracker| {
            tracker.next_at = None;
            tracker.kind
        })
        .collect()
    }

    pub fn record(&mut self, kind: ProbeKind, outcome: &Outcome, now: Instant) -> Verdict {
        let Some(tracker) = self.0.iter_mut().find(|tracker| tracker.kind == kind) else { return Verdict::GoOn };
        tracker.next_at = Some(now + tracker.spec.period);
        match outcome {
            Outcome::Unknown(_) => Verdict::GoOn,
            Outcome::Success | Outcome::Warning(_) => {
                tracker.failures = 0;
                tracker.successes = tracker.successes.saturating_add(1);
                tracker.passed |= tracker.successes >= tracker.spec.success_threshold;
                Verdict::GoOn
            }
            Outcome::Failure(_) => {
                tracker.successes = 0;
                tracker.failures = tracker.failures.saturating_add(1);
                if tracker.failures < tracker.spec.failure_threshold {
                    return Verdict::GoOn;
                }
                tracker.passed = false;
                if kind == ProbeKind::Readiness { Verdict::GoOn } else { Verdict::Kill }
            }
        }
    }
}
