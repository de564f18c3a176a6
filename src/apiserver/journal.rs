//! What is written down about each request: a line in the log, and the counters of `/metrics`.

use std::time::Duration;

use base::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::path::Asked;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CountLabels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeLabels {
    verb: &'static str,
    group: String,
    resource: String,
    subresource: String,
}

/// The families that this room registers.
pub(crate) struct Journal {
    requests: Family<CountLabels, Counter>,
    durations: Family<TimeLabels, Histogram>,
    panics: Counter,
    watches: Gauge,
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.5, 14))
}

impl Journal {
    pub fn new(metrics: &Metrics) -> Self {
        let journal = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(buckets),
            panics: Counter::default(),
            watches: Gauge::default(),
        };
        metrics.room("apiserver", |registry| {
            registry.register("request", "Requests by verb, resource and status code", journal.requests.clone());
            registry.register(
                "request_duration_seconds",
                "Time from the head of a request to the head of its answer; watches are not counted",
                journal.durations.clone(),
            );
            registry.register("request_panics", "Requests that ended in a panic", journal.panics.clone());
            registry.register("watches", "Watches that are open", journal.watches.clone());
        });
        journal
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }

    pub fn watches(&self) -> &Gauge {
        &self.watches
    }

    /// Notes an answered request. `known` says that the resource exists: a name that a client made up is no label.
    pub fn note(&self, asked: &Asked, known: bool, user: &str, code: u16, took: Duration) {
        let resource = asked.resource.as_ref();
        tracing::debug!(
            verb = asked.verb,
            path = %asked.path,
            resource = resource.map_or("", |resource| resource.plural.as_str()),
            user,
            code,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
        let resource = resource.filter(|_| known);
        let text = |pick: fn(&crate::path::Resource) -> &str| resource.map(pick).unwrap_or_default().to_owned();
        let labels = CountLabels {
            verb: asked.verb,
            group: text(|resource| &resource.group),
            version: text(|resource| &resource.version),
            resource: text(|resource| &resource.plural),
            subresource: text(|resource| resource.subresource()),
            code,
        };
        if asked.verb != "watch" {
            let labels = TimeLabels {
                verb: labels.verb,
                group: labels.group.clone(),
                resource: labels.resource.clone(),
                subresource: labels.subresource.clone(),
            };
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        self.requests.get_or_create(&labels).inc();
    }
}
