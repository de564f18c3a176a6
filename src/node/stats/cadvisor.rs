//! Containers' figures under the names that cAdvisor and the kubelet gave them, and Coracle's own beside them.

use std::time::{Duration, SystemTime};

use super::text::{Text, labels};
use super::{ContainerFigures, NodeFigures};
use crate::sandbox::Stats;

/// The period that CPU limits are told in, as Linux has it.
const PERIOD_US: u64 = 100_000;

type Value = fn(&ContainerFigures) -> Option<f64>;

/// Name, kind, help, value: nothing where the container has none.
const FAMILIES: &[(&str, &str, &str, Value)] = &[
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", |one| {
        Some(one.stats.cpu_time.as_secs_f64())
    }),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "Total time duration the container has been throttled.",
        |one| one.present.limits.cpu_millis.map(|_| one.stats.throttled_time.as_secs_f64()),
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Number of times that the container was throttled.",
        |one| one.present.limits.cpu_millis.map(|_| one.stats.throttled as f64),
    ),
    ("container_cpu_cfs_periods_total", "counter", "Number of elapsed enforcement period intervals.", |one| {
        let periods = age(one).as_micros() / u128::from(PERIOD_US);
        one.present.limits.cpu_millis.map(|_| periods as f64)
    }),
    ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes.", |one| {
        Some(one.stats.memory_bytes as f64)
    }),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |one| {
        Some(one.stats.memory_bytes as f64)
    }),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", |one| Some(one.stats.memory_bytes as f64)),
    ("container_memory_max_usage_bytes", "gauge", "Maximum memory usage recorded in bytes.", |one| {
        Some(one.stats.memory_bytes_peak as f64)
    }),
    ("container_memory_failcnt", "counter", "Number of times that memory was refused.", |one| {
        Some(one.stats.growth_refused as f64)
    }),
    ("container_spec_memory_limit_bytes", "gauge", "Memory limit for the container.", |one| {
        Some(one.present.limits.memory_bytes.unwrap_or(0) as f64)
    }),
    ("container_spec_cpu_period", "gauge", "CPU period of the container.", |one| {
        one.present.limits.cpu_millis.map(|_| PERIOD_US as f64)
    }),
    ("container_spec_cpu_quota", "gauge", "CPU quota of the container.", |one| {
        one.present.limits.cpu_millis.map(|millis| (millis * PERIOD_US / 1000) as f64)
    }),
    ("container_spec_cpu_shares", "gauge", "CPU share of the container.", |one| {
        Some((u64::from(one.present.limits.cpu_weight) * 1024 / 1000).max(2) as f64)
    }),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", |one| {
        Some(since_epoch(one.present.since))
    }),
    ("container_last_seen", "gauge", "Last time a container was seen by the exporter.", |_| {
        Some(since_epoch(SystemTime::now()).floor())
    }),
    ("coracle_container_requests_total", "counter", "Requests that the container took.", |one| {
        Some(one.stats.requests as f64)
    }),
    ("coracle_container_requests_in_flight", "gauge", "Requests that are being answered.", |one| {
        Some(one.stats.in_flight as f64)
    }),
    ("coracle_container_traps_total", "counter", "Requests and runs that ended in a trap.", |one| {
        Some(one.stats.traps as f64)
    }),
    ("coracle_container_timeouts_total", "counter", "Requests that were not answered within their time.", |one| {
        Some(one.stats.timeouts as f64)
    }),
    ("coracle_container_overloads_total", "counter", "Requests that found no room, not even to wait.", |one| {
        Some(one.stats.overloads as f64)
    }),
    ("coracle_container_fuel_total", "counter", "Fuel that was burnt, where it is counted.", |one| {
        Some(one.stats.fuel as f64).filter(|fuel| *fuel > 0.0)
    }),
    (
        "coracle_container_first_byte_seconds",
        "gauge",
        "Time from the first request to the head of its response.",
        |one| one.stats.first_byte.map(|took| took.as_secs_f64()),
    ),
];

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn age(one: &ContainerFigures) -> Duration {
    one.present.since.elapsed().unwrap_or_default()
}

pub(super) fn page(figures: &NodeFigures) -> String {
    let mut text = Text::default();
    let labelled: Vec<(String, &ContainerFigures)> =
        figures.containers.iter().map(|one| (labels_of(one), one)).collect();
    for (name, kind, help, value) in FAMILIES {
        text.family(name, kind, help);
        for (labels, one) in &labelled {
            if let Some(value) = value(one) {
                let labels = if *name == "container_cpu_usage_seconds_total" {
                    &format!("{labels},cpu=\"total\"")
                } else {
                    labels
                };
                text.sample(name, labels, value);
            }
        }
    }
    let name = "coracle_container_request_duration_seconds";
    text.family(name, "histogram", "How long requests took.");
    for (labels, one) in &labelled {
        if one.stats.requests > 0 {
            text.histogram(name, labels, &one.stats.latency);
        }
    }
    let host = base::os::memory();
    text.family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
    text.sample("machine_memory_bytes", "", host.total);
    text.family("machine_cpu_cores", "gauge", "Number of logical CPU cores.");
    text.sample("machine_cpu_cores", "", std::thread::available_parallelism().map_or(1, usize::from));
    text.finish()
}

fn labels_of(one: &ContainerFigures) -> String {
    let id = &one.present.id;
    let path = format!("/pods/{}/{}", id.uid, id.container);
    let name = format!("{}_{}_{}_{}_{}", id.container, id.pod, id.namespace, id.uid, id.attempt);
    labels(&[
        ("container", &id.container),
        ("id", &path),
        ("image", &one.present.image),
        ("name", &name),
        ("namespace", &id.namespace),
        ("pod", &id.pod),
    ])
}

/// The figures that autoscalers read.
pub(super) fn resource(figures: &NodeFigures) -> String {
    let mut text = Text::default();
    text.family("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
    text.sample("node_cpu_usage_seconds_total", "", figures.process.cpu_time.as_secs_f64());
    text.family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
    text.sample("node_memory_working_set_bytes", "", figures.process.memory_bytes);
    let labels_of = |one: &ContainerFigures| {
        let id = &one.present.id;
        labels(&[("container", &id.container), ("namespace", &id.namespace), ("pod", &id.pod)])
    };
    let families: [(&str, &str, &str, Value); 3] = [
        (
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
            |one| Some(one.stats.cpu_time.as_secs_f64()),
        ),
        ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", |one| {
            Some(one.stats.memory_bytes as f64)
        }),
        ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds", |one| {
            Some(since_epoch(one.present.since))
        }),
    ];
    for (name, kind, help, value) in families {
        text.family(name, kind, help);
        for one in &figures.containers {
            if let Some(value) = value(one) {
                text.sample(name, &labels_of(one), value);
            }
        }
    }
    let mut pods: std::collections::BTreeMap<(&str, &str), Stats> = std::collections::BTreeMap::new();
    for one in &figures.containers {
        let sum = pods.entry((&one.present.id.namespace, &one.present.id.pod)).or_default();
        sum.cpu_time += one.stats.cpu_time;
        sum.memory_bytes += one.stats.memory_bytes;
    }
    let pod_labels = |(namespace, pod): &(&str, &str)| labels(&[("namespace", namespace), ("pod", pod)]);
    text.family("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds");
    for (pod, sum) in &pods {
        text.sample("pod_cpu_usage_seconds_total", &pod_labels(pod), sum.cpu_time.as_secs_f64());
    }
    text.family("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
    for (pod, sum) in &pods {
        text.sample("pod_memory_working_set_bytes", &pod_labels(pod), sum.memory_bytes);
    }
    text.family(
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    text.sample("resource_scrape_error", "", 0);
    text.finish()
}
