//! Who takes most of the machine while others want some of it.
//!
//! A container whose requests are brief may still get so many that everybody else waits behind them on the data threads. As long
//! as one container takes half of the machine, and more than twice of what all others take of the data threads, its guests begin
//! on the bulk threads, where they are shared fairly and give way. Who has the data threads to itself keeps them, however busy it
//! is and whatever others do elsewhere.

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

/// What all containers take of the data threads.
#[derive(Debug)]
pub(crate) struct Crowd {
    inline: Fading,
    cores: u64,
}

impl Crowd {
    /// On a machine of so many cores.
    pub fn new(cores: usize) -> Self {
        Self { inline: Fading::default(), cores: u64::try_from(cores).unwrap_or(1) }
    }
}

/// What one container takes.
#[derive(Debug)]
pub(crate) struct Demand {
    own: Fading,
    /// The part of it on the data threads.
    inline: Fading,
    crowd: Arc<Crowd>,
}

impl Demand {
    pub fn new(crowd: &Arc<Crowd>) -> Self {
        Self { own: Fading::default(), inline: Fading::default(), crowd: Arc::clone(crowd) }
    }

    /// Books `spent_ns` that ended at `now_ns`, on a data thread or elsewhere.
    pub fn spent(&self, spent_ns: u64, now_ns: u64, is_inline: bool) {
        self.own.add(spent_ns, now_ns);
        if is_inline {
            self.inline.add(spent_ns, now_ns);
            self.crowd.inline.add(spent_ns, now_ns);
        }
    }

    /// Whether it takes so much that its time should be the core's and not the clock's: where cores are short, the clock makes
    /// everybody look busy.
    pub fn is_much(&self, now_ns: u64) -> bool {
        self.own.at(now_ns) >= self.half_of_the_machine() / 2
    }

    fn half_of_the_machine(&self) -> u64 {
        self.crowd.cores * PERIOD_NS / 2
    }

    /// Whether it takes most of the machine at the cost of others.
    pub fn dominates(&self, now_ns: u64) -> bool {
        let own = self.own.at(now_ns);
        if own < self.half_of_the_machine() {
            return false;
        }
        let others = self.crowd.inline.at(now_ns).saturating_sub(self.inline.at(now_ns));
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
            a.spent(first * 1000, now * MS, true);
            b.spent(second * 1000, now * MS, true);
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
    fn who_computes_elsewhere_is_in_nobodys_way_and_moves_nobody() {
        let crowd = Arc::new(Crowd::new(1));
        let (busy, elsewhere, brief) = (Demand::new(&crowd), Demand::new(&crowd), Demand::new(&crowd));
        elsewhere.spent(300 * MS, 1000 * MS, false);
        busy.spent(900 * MS, 1000 * MS, true);
        assert!(!busy.dominates(1000 * MS));
        // Whoever was moved is still too much for who was not.
        brief.spent(30 * MS, 1000 * MS, true);
        elsewhere.spent(2000 * MS, 1000 * MS, false);
        assert!(elsewhere.dominates(1000 * MS));
    }

    #[test]
    fn what_was_taken_is_forgotten() {
        let crowd = Arc::new(Crowd::new(1));
        let (a, b) = (Demand::new(&crowd), Demand::new(&crowd));
        a.spent(900 * MS, 1000 * MS, true);
        b.spent(30 * MS, 1000 * MS, true);
        assert!(a.dominates(1000 * MS));
        assert!(!a.dominates(2000 * MS));
        assert_eq!(a.own.at(3600 * 1000 * MS), 0);
    }
}
