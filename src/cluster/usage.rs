//! What the node in this process and its containers use, as the API tells it.

use apiserver::gateway::{ContainerUsage, MetricsSource, NodeUsage};
use node::{ContainerFigures, NodeFigures, NodeStats};

/// The figures of the node in this process.
pub(crate) struct LocalUsage {
    /// The Node's name.
    pub node: String,
    /// Who measures.
    pub stats: NodeStats,
}

impl MetricsSource for LocalUsage {
    fn usage(&self) -> Vec<NodeUsage> {
        let NodeFigures { taken, window, process, cpu_nanocores, containers } = self.stats.figures();
        vec![NodeUsage {
            node: self.node.clone(),
            taken,
            window,
            cpu_nanocores,
            memory_bytes: process.memory_bytes,
            cpu_time: process.cpu_time,
            containers: containers.into_iter().map(container).collect(),
        }]
    }
}

fn container(figures: ContainerFigures) -> ContainerUsage {
    let ContainerFigures { present, stats, cpu_nanocores } = figures;
    ContainerUsage {
        namespace: present.id.namespace,
        pod: present.id.pod,
        uid: present.id.uid,
        container: present.id.container,
        cpu_nanocores,
        memory_bytes: stats.memory_bytes,
        cpu_time: stats.cpu_time,
    }
}
