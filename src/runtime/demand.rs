//! Who takes most of the machine while others want some of it.
//!
//! A container whose requests are brief may still send so many that everybody else waits behind them on the data threads. As
//! long as one container takes more than twice of what all others take, and that is half of the machine, its guests begin on the
//! bulk threads, where they are shared fairly and give way. Alone it keeps the data threads, however busy it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// 2^26 ns: with each period of 67 ms half of what was taken before is forgotten.
const PERIOD_BITS: u32 = 26;
const PERIOD_NS: u64 = 1 << PERIOD_BITS;
/// Who takes less than this in a period is not there.
const PRESENT_NS: u64 = PERIOD_NS / 100;

/// A sum of time that fades.
#[derive(Debug, Default)]
struct Fading {
    period: AtomicU64,
    ns: AtomicU64,
}

impl Fading {
    fn add(&self, spent_ns: u64, now_ns: u64) {
        let (now, then) = (now_ns >> PERIOD_BITS, self.period.load(Ordering::Relaxed));
        // Whoever moves the period on fades the sum; what others add at this moment may fade with it.
        if now > then && self.period.compare_exchange(then, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let _ = self.ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ns| Some(faded(ns, now - then)));
        }
        self.ns.fetch_add(spent_ns, Ordering::Relaxed);
    }

    fn at(&self, now_ns: u64) -> u64 {
        let periods = (now_ns >> PERIOD_BITS).saturating_sub(self.period.load(Ordering::Relaxed));
        faded(self.ns.load(Ordering::Relaxed), periods)
    }
}

fn faded(ns: u64, periods: u64) -> u64 {
    u32::try_from(periods).ok().and_then(|periods| ns.checked_shr(periods)).unwrap_or(0)
}

/// What all containers take.
#[derive(Debug)]
pub(crate) struct Crowd {
    all: Fading,
    cores: u64,
}

impl Crowd {
    /// On a machine of so many cores.
    pub fn new(cores: usize) -> Self {
        Self { all: Fading::default(), cores: u64::try_from(cores).unwrap_or(1) }
    }
}

/// What one container takes.
#[derive(Debug)]
pub(crate) struct Demand {
    own: Fading,
    crowd: Arc<Crowd>,
}

impl Demand {
    pub fn new(crowd: &Arc<Crowd>) -> Self {
        Self { own: Fading::default(), crowd: Arc::clone(crowd) }
    }

    /// Books `spent_ns` that ended at `now_ns`.
    pub fn spent(&self, spent_ns: u64, now_ns: u64) {
        self.own.add(spent_ns, now_ns);
        self.crowd.all.add(spent_ns, now_ns);
    }

    /// Whether it takes most of the machine at the cost of others.
    pub fn dominates(&self, now_ns: u64) -> bool {
        let own = self.own.at(now_ns);
        if own < self.crowd.cores * PERIOD_NS / 2 {
            return false;
        }
        let others = self.crowd.all.at(now_ns).saturating_sub(own);
        others > PRESENT_NS && own / 2 > others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Two containers that take so much of each millisecond, in microseconds, for a second.
    fn after(cores: usize, first: u64, second: u64) -> (bool, bool) {
        let crowd = Arc::new(Crowd::new(cores));
        let (a, b) = (Demand::new(&crowd), Demand::new(&crowd));
        for now in 1..=1000 {
            a.spent(first * 1000, now * MS);
            b.spent(second * 1000, now * MS);
        }
        (a.dominates(1000 * MS), b.dominates(1000 * MS))
    }

    #[test]
    fn only_who_takes_most_of_a_machine_that_others_want_dominates() {
        for (cores, first, second, wanted) in [
            (2, 1500, 200, (true, false)),
            (2, 200, 1500, (false, true)),
            // Nobody else is there.
            (2, 2000, 0, (false, false)),
            (2, 2000, 2, (false, false)),
            // There is room for both.
            (2, 300, 50, (false, false)),
            (8, 1500, 200, (false, false)),
            // Both want much.
            (2, 1100, 900, (false, false)),
        ] {
            assert_eq!(after(cores, first, second), wanted, "{first} and {second} on {cores}");
        }
    }

    #[test]
    fn what_was_taken_is_forgotten() {
        let crowd = Arc::new(Crowd::new(1));
        let (a, b) = (Demand::new(&crowd), Demand::new(&crowd));
        a.spent(900 * MS, 1000 * MS);
        b.spent(30 * MS, 1000 * MS);
        assert!(a.dominates(1000 * MS));
        assert!(!a.dominates(2000 * MS));
        assert_eq!(a.own.at(3600 * 1000 * MS), 0);
    }
}
