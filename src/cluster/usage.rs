//! What this node and its containers use, measured from time to time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use apiserver::gateway::{ContainerUsage, MetricsSource, NodeUsage};
use base::Tasks;
use jiff::Timestamp;
use node::{ContainerId, Presence};
use parking_lot::Mutex;

/// How far apart measurements are that rates are made of.
const APART: Duration = Duration::from_secs(15);

/// The figures of the node in this process.
pub(crate) struct LocalUsage {
    node: String,
    presence: Presence,
    began: SystemTime,
    before: Mutex<Sample>,
}

/// What had been used at one moment.
struct Sample {
    at: Instant,
    time: SystemTime,
    process: Duration,
    containers: HashMap<ContainerId, Duration>,
}

impl LocalUsage {
    /// Begins to measure; ends with `tasks`.
    pub fn start(node: String, presence: Presence, tasks: &Tasks) -> Arc<Self> {
        let usage = Arc::new(Self { before: Mutex::new(sample(&presence)), began: SystemTime::now(), node, presence });
        let (measured, shutdown) = (Arc::clone(&usage), tasks.shutdown());
        tasks.service("usage", async move {
            let measure = async {
                let mut ticks = tokio::time::interval(APART);
                loop {
                    ticks.tick().await;
                    let now = sample(&measured.presence);
                    *measured.before.lock() = now;
                }
            };
            tokio::select! {
                () = measure => {}
                () = shutdown.cancelled() => {}
            }
        });
        usage
    }
}

fn sample(presence: &Presence) -> Sample {
    let containers = presence.all().into_iter().map(|one| (one.id, one.container.stats().cpu_time)).collect();
    Sample { at: Instant::now(), time: SystemTime::now(), process: base::os::process().cpu_time, containers }
}

/// Billionths of a core.
fn rate(used: Duration, over: Duration) -> u64 {
    let cores = used.as_secs_f64() / over.as_secs_f64().max(0.001);
    (cores * 1e9) as u64
}

impl MetricsSource for LocalUsage {
    fn usage(&self) -> Vec<NodeUsage> {
        let before = self.before.lock();
        // Right after a measurement there is too little to tell of: all since the start is better.
        let fresh = before.at.elapsed() < Duration::from_secs(1);
        let process = base::os::process();
        let lived = self.began.elapsed().unwrap_or(APART);
        let window = if fresh { lived.min(APART) } else { before.at.elapsed() };
        let containers = self.presence.all().into_iter().map(|one| {
            let stats = one.container.stats();
            let measured = before.containers.get(&one.id).filter(|_| !fresh);
            let age = one.since.elapsed().unwrap_or(window);
            let (used, over) = match measured {
                Some(earlier) => (stats.cpu_time.saturating_sub(*earlier), window),
                None => (stats.cpu_time, age),
            };
            ContainerUsage {
                namespace: one.id.namespace,
                pod: one.id.pod,
                uid: one.id.uid,
                container: one.id.container,
                cpu_nanocores: rate(used, over),
                memory_bytes: stats.memory_bytes,
                cpu_time: stats.cpu_time,
            }
        });
        let containers = containers.collect();
        let (used, over) = if fresh {
            (process.cpu_time, process.age)
        } else {
            (process.cpu_time.saturating_sub(before.process), before.time.elapsed().unwrap_or(window))
        };
        vec![NodeUsage {
            node: self.node.clone(),
            taken: Timestamp::now(),
            window,
            cpu_nanocores: rate(used, over),
            memory_bytes: process.memory_bytes,
            cpu_time: process.cpu_time,
            containers,
        }]
    }
}
