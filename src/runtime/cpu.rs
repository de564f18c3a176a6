//! CPU limits: a token bucket per container, kept as the moment at which its debt would be paid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::nanos;

/// How far ahead of its rate a container may run: with a limit of 100m that is 10 ms of CPU at once.
const BURST_NS: u64 = 100_000_000;

/// The container's account. Time is what its guests' polls took on the clock: where cores are short this counts a little
/// more than the CPU did.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Nought is without limit.
    limit_millis: AtomicU64,
    used_ns: AtomicU64,
    throttled_ns: AtomicU64,
    throttled_times: AtomicU64,
    paid_at_ns: AtomicU64,
}

impl Ledger {
    pub fn new(limit_millis: Option<u64>) -> Self {
        Self {
            limit_millis: AtomicU64::new(stored(limit_millis)),
            used_ns: AtomicU64::new(0),
            throttled_ns: AtomicU64::new(0),
            throttled_times: AtomicU64::new(0),
            paid_at_ns: AtomicU64::new(0),
        }
    }

    /// Another limit from now on. What is owed at the old rate is forgiven.
    pub fn set_limit(&self, limit_millis: Option<u64>) {
        self.limit_millis.store(stored(limit_millis), Ordering::Relaxed);
        self.paid_at_ns.store(0, Ordering::Relaxed);
    }

    fn limit(&self) -> Option<u64> {
        Some(self.limit_millis.load(Ordering::Relaxed)).filter(|millis| *millis > 0)
    }

    /// Books `spent_ns` that ended at `now_ns`.
    pub fn charge(&self, spent_ns: u64, now_ns: u64) {
        self.used_ns.fetch_add(spent_ns, Ordering::Relaxed);
        if let Some(millis) = self.limit() {
            let cost = spent_ns.saturating_mul(1000) / millis;
            let _ = self.paid_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_at| {
                Some(paid_at.max(now_ns).saturating_add(cost))
            });
        }
    }

    /// How long the container has to wait before it may run again.
    pub fn debt(&self, now_ns: u64) -> Option<Duration> {
        self.limit()?;
        let over = self.paid_at_ns.load(Ordering::Relaxed).saturating_sub(now_ns.saturating_add(BURST_NS));
        (over > 0).then(|| Duration::from_nanos(over))
    }

    /// Books time that a guest was held back.
    pub fn held_back(&self, time: Duration) {
        self.throttled_ns.fetch_add(nanos(time), Ordering::Relaxed);
        self.throttled_times.fetch_add(1, Ordering::Relaxed);
    }
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed))
    }
    pub fn throttled(&self) -> Duration {
        Duration::from_nanos(self.throttled_ns.load(Ordering::Relaxed))
    }
    pub fn throttled_times(&self) -> u64 {
        self.throttled_times.load(Ordering::Relaxed)
    }
}

fn stored(limit_millis: Option<u64>) -> u64 {
    limit_millis.map_or(0, |millis| millis.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_bursts_and_then_runs_at_its_rate() {
        let ledger = Ledger::new(Some(100));
        let second = 1_000_000_000;
        ledger.charge(10_000_000, second);
        assert_eq!(ledger.debt(second), None);
        ledger.charge(2_000_000, second);
        assert_eq!(ledger.debt(second), Some(Duration::from_millis(20)));
        assert_eq!(ledger.debt(second + 20_000_000), None);
        // What was not used long ago is not saved up.
        ledger.charge(12_000_000, 60 * second);
        assert_eq!(ledger.debt(60 * second), Some(Duration::from_millis(20)));
        assert_eq!(ledger.used(), Duration::from_millis(24));
    }

    #[test]
    fn another_limit_holds_at_once() {
        let ledger = Ledger::new(Some(10));
        let second = 1_000_000_000;
        ledger.charge(second, second);
        assert!(ledger.debt(second).is_some());
        ledger.set_limit(Some(1000));
        assert_eq!(ledger.debt(second), None);
        ledger.set_limit(None);
        ledger.charge(second, second);
        assert_eq!(ledger.debt(second), None);
    }

    #[test]
    fn without_a_limit_there_is_no_debt() {
        let ledger = Ledger::new(None);
        ledger.charge(u64::MAX / 2, 0);
        assert_eq!(ledger.debt(0), None);
    }
}
