//! What passes through each Ingress.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use network::Figures;

/// The requests of all Ingresses that are served. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct IngressTraffic {
    by_ingress: Arc<ArcSwap<HashMap<String, Arc<Counts>>>>,
}

#[derive(Debug, Default)]
struct Counts {
    traffic: network::Traffic,
    in_flight: AtomicU64,
}

impl IngressTraffic {
    /// What passed, by `namespace/name`.
    pub fn figures(&self) -> HashMap<String, Figures> {
        let all = self.by_ingress.load();
        let of = |counts: &Counts| counts.traffic.figures(counts.in_flight.load(Ordering::Relaxed));
        all.iter().map(|(ingress, counts)| (ingress.clone(), of(counts))).collect()
    }

    /// Counts for these Ingresses from now on, and goes on counting for those that were there.
    pub(crate) fn set(&self, ingresses: impl IntoIterator<Item = String>) {
        let before = self.by_ingress.load();
        let kept = |ingress: String| {
            let counts = before.get(&ingress).cloned().unwrap_or_default();
            (ingress, counts)
        };
        self.by_ingress.store(Arc::new(ingresses.into_iter().map(kept).collect()));
    }

    /// Counts one request until its guard is dropped.
    pub(crate) fn begin(&self, ingress: &str) -> Option<Passing> {
        let counts = self.by_ingress.load().get(ingress).cloned()?;
        counts.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Passing { counts, began: Instant::now(), failed: true })
    }
}

/// A request on its way. One that is dropped unanswered has failed.
pub(crate) struct Passing {
    counts: Arc<Counts>,
    began: Instant,
    failed: bool,
}

impl Passing {
    pub(crate) fn answered(mut self, status: http::StatusCode) {
        self.failed = status.is_server_error();
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.counts.traffic.count(self.began.elapsed(), self.failed);
    }
}
