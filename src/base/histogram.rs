//! How long things took, counted in fixed steps: cheap enough to keep one for each container.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the steps, in microseconds. What took longer than the last is in a step of its own.
pub const BOUNDS_US: [u64; 14] = [
    100, 250, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
];
const STEPS: usize = BOUNDS_US.len() + 1;

/// Counts durations. Any number of threads may observe at once.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; STEPS],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let step = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.counts[step].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = [0; STEPS];
        for (out, count) in counts.iter_mut().zip(&self.counts) {
            *out = count.load(Ordering::Relaxed);
        }
        Snapshot { counts, sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)) }
    }
}

/// What a [`Histogram`] had counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    counts: [u64; STEPS],
    /// All durations together.
    pub sum: Duration,
}

impl Snapshot {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For each bound in seconds, how many took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS_US.iter().zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (Duration::from_micros(*bound).as_secs_f64(), sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_the_step_that_holds_them() {
        let histogram = Histogram::default();
        for micros in [100, 101, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let seen = histogram.snapshot();
        assert_eq!((seen.count(), seen.sum), (3, Duration::from_micros(60_000_201)));
        let steps: Vec<(f64, u64)> = seen.cumulative().collect();
        assert_eq!((steps[0], steps[1], steps[13]), ((0.0001, 1), (0.00025, 2), (30.0, 2)));
    }
}
