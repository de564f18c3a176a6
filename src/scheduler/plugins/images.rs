//! ImageLocality: a node that has the pod's images already is better, the less so the fewer nodes have them.

use super::BEST;
use crate::case::Case;
use crate::cluster::Cluster;
use crate::node::NodeState;

const SMALL: i64 = 23 << 20;
/// For each container.
const LARGE: i64 = 1000 << 20;

pub(super) fn score(case: &Case, cluster: &Cluster, nodes: &[&NodeState]) -> Vec<i64> {
    let images: Vec<String> = case.ask.images.iter().map(|image| tagged(image)).collect();
    let spread: Vec<f64> =
        images.iter().map(|name| cluster.nodes_with_image(name) as f64 / cluster.len().max(1) as f64).collect();
    if spread.iter().all(|share| *share == 0.0) {
        return vec![0; nodes.len()];
    }
    let most = LARGE * i64::try_from(images.len()).unwrap_or(1).max(1);
    let score = |state: &&NodeState| {
        let held = images.iter().zip(&spread);
        let sizes = held.map(|(name, share)| (state.images.get(name).copied().unwrap_or(0) as f64 * share) as i64);
        let sum: i64 = sizes.sum();
        BEST * (sum.clamp(SMALL, most) - SMALL) / (most - SMALL)
    };
    nodes.iter().map(score).collect()
}

/// Nodes list images with their tags.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
