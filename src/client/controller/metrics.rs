//! What controllers count.

use std::time::Duration;

use base::metrics::Metrics;
use base::metrics::prometheus_client::metrics::counter::Counter;
use base::metrics::prometheus_client::metrics::family::Family;
use base::metrics::prometheus_client::metrics::gauge::Gauge;
use base::metrics::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

type ByController = [(&'static str, &'static str); 1];
type ByOutcome = [(&'static str, &'static str); 2];

/// The families that all controllers share. Make one a process and clone it.
#[derive(Clone)]
pub struct ControllerMetrics {
    runs: Family<ByOutcome, Counter>,
    seconds: Family<ByController, Histogram, fn() -> Histogram>,
    depth: Family<ByController, Gauge>,
}

impl ControllerMetrics {
    /// Registers the families as `coracle_controller_…`.
    pub fn new(metrics: &Metrics) -> Self {
        let families = Self {
            runs: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 4.0, 9))),
            depth: Family::default(),
        };
        metrics.room("controller", |registry| {
            registry.register("runs", "Runs of controllers by outcome", families.runs.clone());
            registry.register("run_seconds", "How long a run took", families.seconds.clone());
            registry.register("queue_depth", "Keys that wait for a worker", families.depth.clone());
        });
        families
    }

    pub(super) fn ran(&self, controller: &'static str, outcome: &'static str, took: Duration) {
        self.runs.get_or_create(&[("controller", controller), ("outcome", outcome)]).inc();
        self.seconds.get_or_create(&[("controller", controller)]).observe(took.as_secs_f64());
    }

    pub(super) fn depth(&self, controller: &'static str, depth: usize) {
        self.depth.get_or_create(&[("controller", controller)]).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }
}
