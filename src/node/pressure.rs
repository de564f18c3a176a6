//! When the node runs short of something: its conditions say so, and pods are ended until there is enough again.
//!
//! ```text
//! measure (every 10 s) → lacking what? → conditions of the Node
//!                              └→ the pod that is ranked first → its task: Failed, Evicted
//! ```
//!
//! A condition stays for a while after the shortage is over, so that it does not come and go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::quantity::Quantity;
use base::os::Room;
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::figures::Signal;
use crate::machine::Eviction;
use crate::resources::quantity;

mod rank;

use rank::{Candidate, Used};

const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// Right after an eviction it is worth looking sooner.
const MEASURE_AGAIN: Duration = Duration::from_secs(1);

/// From where on the node is short of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Bytes of memory that have to be available.
    pub memory_bytes: u64,
    /// Bytes of the disk that have to be available, or a tenth of it if that is less.
    pub disk_bytes: u64,
    /// How many more processes the host has to be able to start.
    pub pids: u64,
    /// How long a condition stays after the shortage is over.
    pub transition: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { memory_bytes: 100 << 20, disk_bytes: 1 << 30, pids: 500, transition: Duration::from_secs(300) }
    }
}

/// What a node is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub memory: bool,
    pub disk: bool,
    pub pids: bool,
}

impl Pressure {
    /// Why a pod that is new here is not begun, if so.
    pub fn refuses(self, pod: &Pod) -> Option<String> {
        if rank::is_critical(pod) {
            return None;
        }
        let best_effort = pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) == Some("BestEffort");
        let condition = match self {
            Self { memory: true, .. } if best_effort => "MemoryPressure",
            Self { disk: true, .. } => "DiskPressure",
            Self { pids: true, .. } => "PIDPressure",
            _ => return None,
        };
        Some(format!("Pod was rejected: The node had condition: [{condition}]. "))
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    pub memory: Room,
    pub disk: Option<Room>,
    pub pids: Option<Room>,
}

/// Something that is short: how much there has to be, and how much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shortage {
    threshold: u64,
    available: u64,
}

fn shortages(measured: &Measured, thresholds: &Thresholds) -> [Option<Shortage>; 3] {
    let short = |available: u64, threshold: u64| (available < threshold).then_some(Shortage { threshold, available });
    [
        short(measured.memory.available, thresholds.memory_bytes),
        measured.disk.and_then(|disk| short(disk.available, thresholds.disk_bytes.min(disk.total / 10))),
        measured.pids.and_then(|pids| short(pids.available, thresholds.pids)),
    ]
}

/// Since when conditions are over, as long as they still show.
#[derive(Debug, Default)]
struct Lasting([Option<Instant>; 3]);

impl Lasting {
    fn observe(&mut self, short: [bool; 3], now: Instant, transition: Duration) -> Pressure {
        for (until, short) in self.0.iter_mut().zip(short) {
            if short {
                *until = Some(now + transition);
            }
            if until.is_some_and(|until| until <= now) {
                *until = None;
            }
        }
        let [memory, disk, pids] = self.0.map(|until| until.is_some());
        Pressure { memory, disk, pids }
    }
}

/// What the watch over the node's resources works with.
pub(crate) struct Watch {
    pub context: Arc<Context>,
    pub pods: Informer<Pod>,
    pub folder: PathBuf,
    pub thresholds: Thresholds,
    pub pressure: watch::Sender<Pressure>,
    /// The pods that have to go.
    pub out: mpsc::UnboundedSender<(Key, String, Eviction)>,
}

impl Watch {
    pub async fn run(self) {
        let mut lasting = Lasting::default();
        loop {
            let measured = self.measure().await;
            let short = shortages(&measured, &self.thresholds);
            let pressure = lasting.observe(short.map(|one| one.is_some()), Instant::now(), self.thresholds.transition);
            self.pressure.send_if_modified(|known| std::mem::replace(known, pressure) != pressure);
            let evicted = self.relieve(short);
            tokio::time::sleep(if evicted { MEASURE_AGAIN } else { MEASURE_EVERY }).await;
        }
    }

    async fn measure(&self) -> Measured {
        let folder = self.folder.clone();
        let look =
            move || Measured { memory: base::os::memory(), disk: base::os::disk(&folder), pids: base::os::processes() };
        let mut measured = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        // A node that offers less than its host has is short as soon as that is used up.
        let capacity = self.context.allocatable.get("memory").and_then(|text| text.parse::<Quantity>().ok());
        let capacity = capacity.and_then(|capacity| u64::try_from(capacity.value()).ok());
        // Else all pods need not be asked.
        if let Some(capacity) = capacity.filter(|capacity| *capacity < measured.memory.total) {
            let used: u64 = self.context.presence.all().iter().map(|one| one.container.stats().memory_bytes).sum();
            let left = capacity.saturating_sub(used);
            if left < measured.memory.available {
                measured.memory = Room { total: capacity, available: left };
            }
        }
        measured
    }

    /// Ends one pod for whatever is short. Says whether it did. Pods have no processes that could be won back.
    fn relieve(&self, [memory, disk, _]: [Option<Shortage>; 3]) -> bool {
        let signals = [("memory", Signal::Memory, memory), ("ephemeral-storage", Signal::Disk, disk)];
        let Some((resource, signal, shortage)) =
            signals.into_iter().find_map(|(name, signal, shortage)| Some((name, signal, shortage?)))
        else {
            return false;
        };
        // Who uses nothing gives nothing back.
        let mut candidates: Vec<Candidate> =
            self.candidates(signal).into_iter().filter(|candidate| candidate.used() > 0).collect();
        candidates.sort_by(rank::order);
        let Some(first) = candidates.into_iter().next() else { return false };
        let message = rank::message(resource, shortage.threshold, shortage.available, &first);
        tracing::warn!(pod = %first.key, resource, "the node is short of a resource and ends a pod");
        self.context.figures.evicted(signal);
        let eviction = Eviction { reason: "Evicted", message, grace: Duration::ZERO, disruption: true };
        let _ = self.out.send((first.key, first.uid, eviction));
        true
    }

    fn candidates(&self, signal: Signal) -> Vec<Candidate> {
        let present = self.context.presence.all();
        let (resource, is_memory) = match signal {
            Signal::Memory => ("memory", true),
            _ => ("ephemeral-storage", false),
        };
        let mut candidates = Vec::new();
        for pod in self.pods.list() {
            let over = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let going = pod.metadata.deletion_timestamp.is_some();
            if rank::is_critical(&pod) || going || matches!(over, Some("Succeeded" | "Failed")) {
                continue;
            }
            let Some(uid) = pod.metadata.uid.clone() else { continue };
            let used = |name: &str| match is_memory {
                true => present
                    .iter()
                    .filter(|one| one.id.uid == uid && one.id.container == name)
                    .map(|one| one.container.stats().memory_bytes)
                    .sum(),
                false => self.context.volumes.written(&pod, name),
            };
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| Used {
                name: container.name.clone(),
                requested: container
                    .resources
                    .as_ref()
                    .and_then(|resources| quantity(resources.requests.as_ref(), resource))
                    .and_then(|quantity| u64::try_from(quantity.value()).ok())
                    .unwrap_or(0),
                used: used(&container.name),
            });
            let containers = containers.collect();
            let beside =
                if is_memory { 0 } else { self.context.volumes.sizes(&uid).iter().map(|(_, size)| size).sum() };
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            candidates.push(Candidate { key: Key::of(&*pod), uid, priority, containers, beside });
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_told_from_what_was_measured() {
        let thresholds = Thresholds::default();
        let room = |total: u64, available: u64| Room { total, available };
        let fine = Measured { memory: room(8 << 30, 4 << 30), disk: Some(room(100 << 30, 5 << 30)), pids: None };
        assert_eq!(shortages(&fine, &thresholds), [None; 3]);
        let tight = Measured {
            memory: room(8 << 30, 99 << 20),
            disk: Some(room(64 << 20, 7 << 20)),
            pids: Some(room(32_768, 10)),
        };
        let [memory, disk, pids] = shortages(&tight, &thresholds);
        assert_eq!(memory, Some(Shortage { threshold: 100 << 20, available: 99 << 20 }));
        // A small disk is full when less than a tenth of it is left.
        assert_eq!(disk, None);
        assert_eq!(pids, Some(Shortage { threshold: 500, available: 10 }));
    }

    #[test]
    fn a_condition_stays_for_a_while() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let mut lasting = Lasting::default();
        assert!(lasting.observe([true, false, false], now, minute).memory);
        assert!(lasting.observe([false, false, false], now + minute / 2, minute).memory);
        assert!(!lasting.observe([false, false, false], now + minute, minute).memory);
    }

    #[test]
    fn pods_are_refused_by_what_they_promise_to_use() {
        let pod = |qos: &str, priority: i32| -> Pod {
            let pod = serde_json::json!({ "spec": { "priority": priority, "containers": [] }, "status": { "qosClass": qos } });
            serde_json::from_value(pod).unwrap()
        };
        let memory = Pressure { memory: true, ..Pressure::default() };
        let disk = Pressure { disk: true, ..Pressure::default() };
        assert!(memory.refuses(&pod("BestEffort", 0)).is_some_and(|why| why.contains("[MemoryPressure]")));
        assert_eq!(memory.refuses(&pod("Burstable", 0)), None);
        assert!(disk.refuses(&pod("Guaranteed", 0)).is_some());
        assert_eq!(disk.refuses(&pod("Guaranteed", 2_000_000_000)), None);
        assert_eq!(Pressure::default().refuses(&pod("BestEffort", 0)), None);
    }
}
