//! What this room counts for the whole process.

use std::sync::atomic::AtomicU64;

use base::metrics::Metrics;
use base::metrics::prometheus_client::encoding::EncodeLabelSet;
use base::metrics::prometheus_client::metrics::counter::Counter;
use base::metrics::prometheus_client::metrics::family::Family;
use base::metrics::prometheus_client::metrics::gauge::Gauge;

/// Why guests failed.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct FailureLabel {
    pub reason: &'static str,
}

impl EncodeLabelSet for FailureLabel {
    fn encode(
        &self,
        encoder: &mut base::metrics::prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        use base::metrics::prometheus_client::encoding::EncodeLabel;
        ("reason", self.reason).encode(encoder.encode_label())
    }
}

/// The families, shared by all containers.
#[derive(Clone, Default)]
pub(crate) struct Families {
    pub requests: Counter,
    pub failures: Family<FailureLabel, Counter>,
    pub moved: Counter,
    pub oom_kills: Counter,
    pub instances: Gauge,
    pub compile_seconds: Counter<f64, AtomicU64>,
}

impl Families {
    pub fn register(metrics: &Metrics) -> Self {
        let families = Self::default();
        metrics.room("runtime", |registry| {
            registry.register("requests", "Requests that reached a component", families.requests.clone());
            registry.register("failures", "Guests that did not come to their end", families.failures.clone());
            registry.register("moved", "Guests that moved to the bulk threads after a slice", families.moved.clone());
            registry.register("oom_kills", "Containers that ended for want of memory", families.oom_kills.clone());
            registry.register("instances", "Live instances", families.instances.clone());
            registry.register("compile_seconds", "Time spent compiling components", families.compile_seconds.clone());
        });
        families
    }

    pub fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&FailureLabel { reason }).inc();
    }
}
