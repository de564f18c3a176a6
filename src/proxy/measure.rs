//! What the ingress counts.

use std::sync::atomic::AtomicI64;
use std::time::Instant;

use base::metrics::Metrics;
use base::metrics::prometheus_client::metrics::counter::Counter;
use base::metrics::prometheus_client::metrics::family::Family;
use base::metrics::prometheus_client::metrics::gauge::Gauge;
use base::metrics::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use base::metrics::prometheus_client::registry::Unit;
use http::StatusCode;

type CodeClass = [(&'static str, &'static str); 1];

/// The counters are looked up once, not per request.
pub(crate) struct Measures {
    by_class: [Counter; 5],
    in_flight: Gauge<i64, AtomicI64>,
    pub(crate) connections: Gauge<i64, AtomicI64>,
    seconds: Histogram,
}

impl Measures {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let requests = Family::<CodeClass, Counter>::default();
        let by_class =
            ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|code| requests.get_or_create(&[("code", code)]).clone());
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        // 50 µs to 26 s.
        let seconds = Histogram::new(exponential_buckets(0.000_05, 2.0, 20));
        metrics.room("proxy", |registry| {
            registry.register("ingress_requests", "Requests answered at the ingress, by code class", requests);
            registry.register("ingress_in_flight", "Requests without a response at the ingress", in_flight.clone());
            registry.register("ingress_connections", "Open client connections", connections.clone());
            let help = "Time from a request's head to its response's head";
            registry.register_with_unit("ingress_request_duration", help, Unit::Seconds, seconds.clone());
        });
        Self { by_class, in_flight, connections, seconds }
    }

    /// Counts a request until its guard is dropped.
    pub(crate) fn begin(&self) -> Pending<'_> {
        self.in_flight.inc();
        Pending { measures: self, started: Instant::now() }
    }
}

pub(crate) struct Pending<'m> {
    measures: &'m Measures,
    started: Instant,
}

impl Pending<'_> {
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.measures.by_class[class].inc();
        self.measures.seconds.observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.measures.in_flight.dec();
    }
}
