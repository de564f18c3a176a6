//! What the scheduler counts.

use std::time::Duration;

use base::metrics::Metrics;
use base::metrics::prometheus_client::metrics::counter::Counter;
use base::metrics::prometheus_client::metrics::family::Family;
use base::metrics::prometheus_client::metrics::gauge::Gauge;
use base::metrics::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

type Labels = [(&'static str, &'static str); 1];

/// The counters. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct SchedulerMetrics {
    attempts: Family<Labels, Counter>,
    decision_seconds: Histogram,
    pending: Family<Labels, Gauge>,
    victims: Counter,
}

impl SchedulerMetrics {
    /// Registers them. Once a process.
    pub fn new(metrics: &Metrics) -> Self {
        let families = Self {
            attempts: Family::default(),
            decision_seconds: Histogram::new(exponential_buckets(0.000_01, 4.0, 8)),
            pending: Family::default(),
            victims: Counter::default(),
        };
        metrics.room("scheduler", |registry| {
            registry.register("attempts", "Attempts to place a pod by outcome", families.attempts.clone());
            registry.register("decision_seconds", "How long a decision took", families.decision_seconds.clone());
            registry.register("pending_pods", "Pods that wait for a node by where they wait", families.pending.clone());
            registry.register("preemption_victims", "Pods that gave way to others", families.victims.clone());
        });
        families
    }

    pub(crate) fn attempted(&self, outcome: &'static str) {
        self.attempts.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn preempted(&self, victims: usize) {
        self.victims.inc_by(victims as u64);
    }

    pub(crate) fn pending(&self, counts: [(&'static str, usize); 4]) {
        for (queue, count) in counts {
            self.pending.get_or_create(&[("queue", queue)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
