//! What the node counts of its own work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base::histogram::Histogram;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The stages of a cold start, each with how long it took.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    /// From the pod's making to this node's first sight of it.
    pub schedule: Histogram,
    pub pull: Histogram,
    pub compile: Histogram,
    pub instantiate: Histogram,
    /// From a server's first request to the head of its response.
    pub first_byte: Histogram,
}

impl Stages {
    pub fn all(&self) -> [(&'static str, &Histogram); 5] {
        [
            ("schedule", &self.schedule),
            ("pull", &self.pull),
            ("compile", &self.compile),
            ("instantiate", &self.instantiate),
            ("first_byte", &self.first_byte),
        ]
    }
}

/// When a pod was made: to the millisecond where its uid begins with the time (version 7), and to the second where an API gives
/// others.
pub(crate) fn made_at(pod: &Pod) -> Option<Timestamp> {
    let Time(made) = pod.metadata.creation_timestamp.as_ref()?;
    let exact = pod.metadata.uid.as_deref().and_then(time_of).filter(|exact| exact.as_second() == made.as_second());
    Some(exact.unwrap_or(*made))
}

fn time_of(uid: &str) -> Option<Timestamp> {
    let (high, rest) = uid.split_once('-')?;
    let (low, rest) = rest.split_once('-')?;
    let millis = i64::from_str_radix(&format!("{high}{low}"), 16).ok().filter(|_| rest.starts_with('7'))?;
    Timestamp::from_millisecond(millis).ok()
}

/// Why the node ended pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Memory,
    Disk,
    Pids,
    /// The pod passed a limit of its own storage.
    PodStorage,
}

impl Signal {
    pub const ALL: [Self; 4] = [Self::Memory, Self::Disk, Self::Pids, Self::PodStorage];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Disk => "nodefs.available",
            Self::Pids => "pid.available",
            Self::PodStorage => "ephemeralpodfs.limit",
        }
    }
}

/// Counts of this node since it was started.
#[derive(Debug)]
pub(crate) struct Figures {
    pub since: SystemTime,
    pub stages: Stages,
    /// From this node's first sight of a pod to the moment at which all of it runs.
    pub pod_start: Histogram,
    pub pods_started: AtomicU64,
    pub containers_started: AtomicU64,
    pub start_failures: AtomicU64,
    evictions: [AtomicU64; Signal::ALL.len()],
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            since: SystemTime::now(),
            stages: Stages::default(),
            pod_start: Histogram::default(),
            pods_started: AtomicU64::new(0),
            containers_started: AtomicU64::new(0),
            start_failures: AtomicU64::new(0),
            evictions: Default::default(),
        }
    }
}

impl Figures {
    pub fn evicted(&self, signal: Signal) {
        self.evictions[signal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn evictions(&self, signal: Signal) -> u64 {
        self.evictions[signal as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_uid_may_tell_when_it_was_made() {
        let made = |uid: &str| {
            let pod = serde_json::json!({ "metadata": { "uid": uid, "creationTimestamp": "2026-11-22T02:20:13Z" } });
            serde_json::from_value::<Pod>(pod).ok().and_then(|pod| made_at(&pod)).map(|at| at.to_string())
        };
        let moment: Timestamp = "2026-11-22T02:20:13.127Z".parse().unwrap();
        let digits = format!("{:012x}", moment.as_millisecond());
        let seventh = format!("{}-{}-7000-8000-000000000000", &digits[..8], &digits[8..]);
        for (uid, at) in [
            (seventh.as_str(), "2026-11-22T02:20:13.127Z"),
            (&seventh.replace("-7", "-4"), "2026-11-22T02:20:13Z"),
            ("01000000-0000-7000-8000-000000000000", "2026-11-22T02:20:13Z"),
            ("ours", "2026-11-22T02:20:13Z"),
        ] {
            assert_eq!(made(uid).as_deref(), Some(at), "{uid}");
        }
    }
}
