//! What the node counts of its own work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base::histogram::Histogram;

/// The stages of a cold start, each with how long it took.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    /// From the pod's making to this node's first sight of it, as exact as the object's time, which has whole seconds.
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
