//! What nodes and their containers use, as far as somebody measures it.

use std::time::Duration;

use jiff::Timestamp;

/// What one container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContainerUsage {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
    /// Billionths of a core, over the window.
    pub cpu_nanocores: u64,
    /// At the end of the window.
    pub memory_bytes: u64,
    /// All that it has used since it was started.
    pub cpu_time: Duration,
}

/// What one node and its containers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUsage {
    /// The Node's name.
    pub node: String,
    /// When it was measured.
    pub taken: Timestamp,
    /// The time that rates are over.
    pub window: Duration,
    /// Billionths of a core, for all of it.
    pub cpu_nanocores: u64,
    /// Bytes of memory, for all of it.
    pub memory_bytes: u64,
    /// All the CPU time since its start.
    pub cpu_time: Duration,
    /// Its containers.
    pub containers: Vec<ContainerUsage>,
}

/// Who measures.
pub trait MetricsSource: Send + Sync + 'static {
    /// The newest figures of every node that is known.
    fn usage(&self) -> Vec<NodeUsage>;
}

/// Nobody measures.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl MetricsSource for NoMetrics {
    fn usage(&self) -> Vec<NodeUsage> {
        Vec::new()
    }
}
