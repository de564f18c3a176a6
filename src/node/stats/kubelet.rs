//! The node's own metrics, and how it is set.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Shared;
use super::text::{Text, labels};
use crate::figures::Signal;

/// The process' metrics with the node's beside them. OpenMetrics ends with a mark of its own.
pub(super) fn page(shared: &Shared, process: &str) -> String {
    const END: &str = "# EOF\n";
    let mut page = process.strip_suffix(END).unwrap_or(process).to_owned();
    page.push_str(&own(shared));
    page.push_str(END);
    page
}

fn own(shared: &Shared) -> String {
    let (context, figures) = (&shared.context, &shared.context.figures);
    let present = context.presence.all();
    let pods: std::collections::HashSet<&str> = present.iter().map(|one| one.id.uid.as_str()).collect();
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let mut text = Text::default();
    text.family("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
    text.sample("kubelet_running_pods", "", pods.len());
    text.family("kubelet_running_containers", "gauge", "Number of containers currently running");
    text.sample("kubelet_running_containers", &labels(&[("container_state", "running")]), present.len());
    text.family("kubelet_desired_pods", "gauge", "The number of pods the kubelet is being instructed to run");
    text.sample("kubelet_desired_pods", &labels(&[("static", "")]), shared.pods.len());
    text.family("kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    text.sample("kubelet_node_name", &labels(&[("node", &shared.name)]), 1);
    text.family("kubelet_started_pods", "counter", "Cumulative number of pods started");
    text.sample("kubelet_started_pods_total", "", count(&figures.pods_started));
    text.family("kubelet_started_containers", "counter", "Cumulative number of containers started");
    let started = labels(&[("container_type", "container")]);
    text.sample("kubelet_started_containers_total", &started, count(&figures.containers_started));
    text.family("kubelet_started_containers_errors", "counter", "Cumulative number of errors when starting containers");
    text.sample("kubelet_started_containers_errors_total", &started, count(&figures.start_failures));
    text.family("kubelet_evictions", "counter", "Cumulative number of pod evictions by eviction signal");
    for signal in Signal::ALL {
        let signal_label = labels(&[("eviction_signal", signal.as_str())]);
        text.sample("kubelet_evictions_total", &signal_label, figures.evictions(signal));
    }
    let name = "kubelet_pod_start_duration_seconds";
    text.family(
        name,
        "histogram",
        "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
    );
    text.histogram(name, "", &figures.pod_start.snapshot());
    let name = "coracle_node_cold_start_seconds";
    text.family(name, "histogram", "How long each stage of a cold start took");
    for (stage, histogram) in figures.stages.all() {
        text.histogram(name, &labels(&[("stage", stage)]), &histogram.snapshot());
    }
    volumes(shared, &mut text);
    text.family(
        "coracle_node_log_lines_dropped",
        "counter",
        "Lines that were dropped because their containers printed too much",
    );
    text.sample("coracle_node_log_lines_dropped_total", "", context.logs.lines_dropped());
    text.family("kubernetes_build_info", "gauge", "A metric with a constant 1 value labeled by version");
    text.sample("kubernetes_build_info", &labels(&[("git_version", &shared.version)]), 1);
    text.finish()
}

/// A figure of a volume, of what it holds and of the disk that it lies on.
type OfVolume = fn(u64, &base::os::Room) -> u64;

/// What claims hold. They share the disk with everything else, as a volume of local storage does.
fn volumes(shared: &Shared, text: &mut Text) {
    let claims = super::claims(&shared.pods);
    if claims.is_empty() {
        return;
    }
    let disk = base::os::disk(&shared.folder).unwrap_or_default();
    let mut used = std::collections::BTreeMap::new();
    for (uid, name) in claims.keys() {
        let sizes = shared.context.volumes.sizes(uid);
        let size = sizes.into_iter().find(|(volume, _)| volume == name).map(|(_, size)| size);
        let key = claims.get(&(uid.clone(), name.clone()));
        used.extend(key.zip(size));
    }
    let figures: [(&str, &str, OfVolume); 3] = [
        ("kubelet_volume_stats_available_bytes", "Number of available bytes in the volume", |_, disk| disk.available),
        ("kubelet_volume_stats_capacity_bytes", "Capacity in bytes of the volume", |_, disk| disk.total),
        ("kubelet_volume_stats_used_bytes", "Number of used bytes in the volume", |used, _| used),
    ];
    for (name, help, value) in figures {
        text.family(name, "gauge", help);
        for ((namespace, claim), used) in &used {
            let labels = labels(&[("namespace", namespace), ("persistentvolumeclaim", claim)]);
            text.sample(name, &labels, value(*used, &disk));
        }
    }
}

/// How the node is set, as far as a kubelet could be set the same way.
pub(super) fn config(shared: &Shared) -> Value {
    let thresholds = &shared.thresholds;
    let limits = shared.context.logs.limits();
    json!({ "kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "maxPods": shared.context.allocatable.get("pods").and_then(|pods| pods.parse::<u64>().ok()),
        "nodeLeaseDurationSeconds": 40,
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s",
        "evictionHard": {
            "memory.available": format!("{}Mi", thresholds.memory_bytes >> 20),
            "nodefs.available": format!("{}Mi", thresholds.disk_bytes >> 20),
            "pid.available": thresholds.pids.to_string(),
        },
        "evictionPressureTransitionPeriod": format!("{}s", thresholds.transition.as_secs()),
        "containerLogMaxSize": format!("{}Ki", limits.file_bytes >> 10),
        "containerLogMaxFiles": limits.files,
        "enforceNodeAllocatable": ["pods"],
    } })
}
