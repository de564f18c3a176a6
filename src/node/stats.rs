//! What the node and its containers use, measured from time to time, and the pages on which it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use base::Tasks;
use client::informers::Informer;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::context::Context;
use crate::present::Present;
use crate::pressure::Thresholds;
use crate::sandbox::Stats;

mod cadvisor;
mod kubelet;
mod summary;
mod text;

/// How far apart measurements are that rates are made of.
const APART: Duration = Duration::from_secs(15);

/// One container's figures.
#[derive(Clone)]
pub struct ContainerFigures {
    /// Which one, since when, and what it runs.
    pub present: Present,
    /// What it uses and has used.
    pub stats: Stats,
    /// Billionths of a core, over the window.
    pub cpu_nanocores: u64,
}

/// The figures of a node.
#[derive(Clone)]
pub struct NodeFigures {
    /// When they were taken.
    pub taken: Timestamp,
    /// The time that rates are over.
    pub window: Duration,
    /// Of the whole process.
    pub process: base::os::Process,
    /// Billionths of a core that the process uses, over the window.
    pub cpu_nanocores: u64,
    /// Its containers.
    pub containers: Vec<ContainerFigures>,
}

/// A page of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// What it says.
    pub body: String,
}

/// Measures the node of this process. Cheap to clone.
#[derive(Clone)]
pub struct NodeStats {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    version: String,
    context: Arc<Context>,
    pods: Informer<Pod>,
    folder: std::path::PathBuf,
    thresholds: Thresholds,
    began: SystemTime,
    before: Mutex<Sample>,
}

/// What had been used at one moment.
struct Sample {
    at: Instant,
    time: SystemTime,
    process: Duration,
}

/// What pages are made of beside what is measured.
pub(crate) struct About {
    pub name: String,
    pub version: String,
    pub folder: std::path::PathBuf,
    pub thresholds: Thresholds,
}

impl NodeStats {
    /// Begins to measure; ends with `tasks`.
    pub(crate) fn start(about: About, context: Arc<Context>, pods: Informer<Pod>, tasks: &Tasks) -> Self {
        let before = Sample { at: Instant::now(), time: SystemTime::now(), process: base::os::process().cpu_time };
        let About { name, version, folder, thresholds } = about;
        let (began, before) = (SystemTime::now(), Mutex::new(before));
        let stats =
            Self { shared: Arc::new(Shared { name, version, context, pods, folder, thresholds, began, before }) };
        let (measured, shutdown) = (stats.clone(), tasks.shutdown());
        tasks.service("usage", async move {
            let measure = async {
                loop {
                    tokio::time::sleep(APART).await;
                    measured.sample();
                }
            };
            tokio::select! {
                () = measure => {}
                () = shutdown.cancelled() => {}
            }
        });
        stats
    }

    /// Measures all containers: one look at each, without anything kept apart from it, as there may be a hundred thousand.
    fn sample(&self) {
        let process = base::os::process().cpu_time;
        let first_byte = &self.shared.context.figures.stages.first_byte;
        let mut before = self.shared.before.lock();
        self.shared.context.presence.each(|one| {
            let (used, answered) = one.container.pulse();
            one.measured.cpu_ns.store(nanos(used), Ordering::Relaxed);
            if let Some(took) = answered
                && !one.measured.answered.swap(true, Ordering::Relaxed)
            {
                first_byte.observe(took);
            }
        });
        *before = Sample { at: Instant::now(), time: SystemTime::now(), process };
    }

    /// The newest figures.
    pub fn figures(&self) -> NodeFigures {
        let shared = &self.shared;
        let before = shared.before.lock();
        // Right after a measurement there is too little to tell of: all since the start is better.
        let fresh = before.at.elapsed() < Duration::from_secs(1);
        let process = base::os::process();
        let lived = shared.began.elapsed().unwrap_or(APART);
        let window = if fresh { lived.min(APART) } else { before.at.elapsed() };
        let containers = shared.context.presence.all().into_iter().map(|present| {
            let stats = present.container.stats();
            let age = present.since.elapsed().unwrap_or(window);
            let (used, over) = if !fresh && present.since < before.time {
                let earlier = Duration::from_nanos(present.measured.cpu_ns.load(Ordering::Relaxed));
                (stats.cpu_time.saturating_sub(earlier), window)
            } else {
                (stats.cpu_time, age)
            };
            ContainerFigures { present, stats, cpu_nanocores: rate(used, over) }
        });
        let containers = containers.collect();
        let (used, over) = if fresh {
            (process.cpu_time, process.age)
        } else {
            (process.cpu_time.saturating_sub(before.process), before.time.elapsed().unwrap_or(window))
        };
        NodeFigures { taken: Timestamp::now(), window, process, cpu_nanocores: rate(used, over), containers }
    }

    /// The page at this path, as the kubelet has it. Blocks for a moment. `process` are the metrics of the whole process.
    pub fn page(&self, path: &[&str], process: impl FnOnce() -> String) -> Option<Page> {
        const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
        const JSON: &str = "application/json";
        let page = |content_type, body| Some(Page { content_type, body });
        match path {
            ["stats"] | ["stats", "summary"] => page(JSON, summary::page(&self.shared, &self.figures()).to_string()),
            ["metrics"] => page(base::metrics::Metrics::CONTENT_TYPE, kubelet::page(&self.shared, &process())),
            ["metrics", "cadvisor"] => page(TEXT, cadvisor::page(&self.figures())),
            ["metrics", "resource"] => page(TEXT, cadvisor::resource(&self.figures())),
            ["metrics", "probes"] => page(TEXT, String::new()),
            ["configz"] => page(JSON, kubelet::config(&self.shared).to_string()),
            _ => None,
        }
    }
}

/// The claims that pods of this node mount: by the pod's uid and its volume's name, namespace and name.
fn claims(pods: &Informer<Pod>) -> BTreeMap<(String, String), (String, String)> {
    let mut found = BTreeMap::new();
    for pod in pods.list() {
        let (Some(uid), Some(namespace)) = (&pod.metadata.uid, &pod.metadata.namespace) else { continue };
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            // An ephemeral volume's claim is called after both.
            let claim = volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone()).or_else(|| {
                let pod = volume.ephemeral.as_ref().and(pod.metadata.name.as_ref())?;
                Some(format!("{pod}-{}", volume.name))
            });
            if let Some(claim) = claim {
                found.insert((uid.clone(), volume.name.clone()), (namespace.clone(), claim));
            }
        }
    }
    found
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Billionths of a core.
fn rate(used: Duration, over: Duration) -> u64 {
    let cores = used.as_secs_f64() / over.as_secs_f64().max(0.001);
    (cores * 1e9) as u64
}
