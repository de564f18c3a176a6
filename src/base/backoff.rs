//! Waiting longer after each failure.

use std::time::Duration;

/// Doubles from `first` up to `max`; [`Backoff::reset`] starts again.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// A back-off that has seen no failure.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }
    /// Counts a failure and says how long to wait now.
    pub fn fail(&mut self) -> Duration {
        let wait = self.first.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.max);
        self.failures = (self.failures + 1).min(31);
        wait
    }
    /// Forgets all failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
    /// How many failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        let waits: Vec<u64> = (0..7).map(|_| backoff.fail().as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.fail().as_secs(), 10);
    }
}
