//! Whose turn it is among endpoints with weights.
//!
//! The order is fixed by the golden ratio: any number of calls in a row comes as close to the weights as whole calls can,
//! give or take one, and no endpoint has a long run of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Endpoint;

/// What is left of the golden ratio beyond one.
const GOLDEN: f64 = 0.618_033_988_749_894_8;

/// Endpoints with weights, and how many calls there were.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    /// For each usable endpoint, where its part ends, of 1.
    ends: Arc<[f64]>,
    calls: Arc<AtomicU32>,
}

/// Two that share in the same way are the same: how far they have come is not what makes a table new.
impl PartialEq for Turns {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends
    }
}

impl Eq for Turns {}

impl Turns {
    /// The turns of `usable`, when any of `endpoints` has a weight and not all of them are 0.
    pub(crate) fn of(usable: &[SocketAddr], endpoints: &[Endpoint]) -> Option<Self> {
        if endpoints.iter().all(|endpoint| endpoint.weight.is_none()) {
            return None;
        }
        let weight = |address: &SocketAddr| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.address == *address);
            u64::from(endpoint.and_then(|endpoint| endpoint.weight).unwrap_or(1))
        };
        let weights: Vec<u64> = usable.iter().map(weight).collect();
        let sum: u64 = weights.iter().sum();
        if sum == 0 {
            return None;
        }
        let mut before = 0;
        let ends = weights.iter().map(|weight| {
            before += weight;
            before as f64 / sum as f64
        });
        Some(Self { ends: ends.collect(), calls: Arc::new(AtomicU32::new(rand::random())) })
    }

    /// The next in turn.
    pub(crate) fn next(&self) -> usize {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.at((f64::from(call) * GOLDEN).fract())
    }

    /// Who has this place, from 0 to 1.
    pub(crate) fn at(&self, place: f64) -> usize {
        self.ends.partition_point(|end| *end <= place)
    }
}
