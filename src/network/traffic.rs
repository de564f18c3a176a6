//! What passes: requests, failures and how long they took, counted where they pass.
//!
//! Counting costs a few atomic additions a request and nothing between requests: no task looks at anything, and whoever
//! was never called holds no window.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rates are over this many whole seconds.
pub const WINDOW: Duration = Duration::from_secs(10);
/// A ring of seconds that is longer than the window, so that a slot is never read while it is begun anew.
const SLOTS: usize = 16;
/// Durations are kept by powers of the square root of two, from 64 µs on.
const BUCKETS: usize = 40;
/// Durations are forgotten by halves, each of this many seconds.
const HALF: u64 = 30;

/// The requests of one place: a pod's listener, or an Ingress.
#[derive(Debug)]
pub struct Traffic {
    began: Instant,
    requests: AtomicU64,
    errors: AtomicU64,
    /// Milliseconds after `began` of the last request, plus one.
    last: AtomicU64,
    window: OnceLock<Box<Window>>,
}

#[derive(Debug)]
struct Window {
    seconds: [Slot; SLOTS],
    halves: [Half; 2],
}

#[derive(Debug, Default)]
struct Slot {
    second: AtomicU64,
    requests: AtomicU32,
    errors: AtomicU32,
}

#[derive(Debug)]
struct Half {
    number: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

/// What was counted, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// All requests so far.
    pub requests: u64,
    /// Those that failed: no response, or a status of 500 and above.
    pub errors: u64,
    /// Requests a second, over the window.
    pub requests_per_second: f64,
    /// Failures a second, over the window.
    pub errors_per_second: f64,
    /// Requests that have not ended.
    pub in_flight: u64,
    /// How long nobody has asked for anything; since the start when nobody ever did.
    pub idle: Duration,
    /// How long 99 of 100 responses took at most, over the last minute at most.
    pub p99: Option<Duration>,
}

impl Figures {
    /// Those of two places together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            errors: self.errors + other.errors,
            requests_per_second: self.requests_per_second + other.requests_per_second,
            errors_per_second: self.errors_per_second + other.errors_per_second,
            in_flight: self.in_flight + other.in_flight,
            idle: self.idle.min(other.idle),
            p99: self.p99.max(other.p99),
        }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last: AtomicU64::new(0),
            window: OnceLock::new(),
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self { seconds: std::array::from_fn(|_| Slot::default()), halves: std::array::from_fn(|_| Half::default()) }
    }
}

impl Default for Half {
    fn default() -> Self {
        Self { number: AtomicU64::new(0), counts: std::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

impl Slot {
    /// The slot as that of `second`; what it held of an earlier one is forgotten. A request that another thread counts in
    /// between may be lost: the figures are for scaling, not for bills.
    fn of(&self, second: u64) -> &Self {
        if self.second.swap(second, Ordering::AcqRel) != second {
            self.requests.store(0, Ordering::Release);
            self.errors.store(0, Ordering::Release);
        }
        self
    }
}

impl Half {
    fn of(&self, number: u64) -> &Self {
        if self.number.swap(number, Ordering::AcqRel) != number {
            self.counts.iter().for_each(|count| count.store(0, Ordering::Release));
        }
        self
    }
}

fn bucket(took: Duration) -> usize {
    let units = took.as_secs_f64() / 64e-6;
    if units <= 1.0 { 0 } else { ((units.log2() * 2.0).ceil() as usize).min(BUCKETS - 1) }
}

fn top_of(bucket: usize) -> Duration {
    Duration::from_secs_f64(64e-6 * (bucket as f64 / 2.0).exp2())
}

impl Traffic {
    /// Counts a request that took so long until its response's head was there.
    pub fn count(&self, took: Duration, failed: bool) {
        self.count_at(self.began.elapsed(), took, failed);
    }

    fn count_at(&self, since_start: Duration, took: Duration, failed: bool) {
        // Numbered from one: zero is a slot that was never used.
        let second = since_start.as_secs() + 1;
        let window = self.window.get_or_init(Box::default);
        let slot = window.seconds[second as usize % SLOTS].of(second);
        slot.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            slot.errors.fetch_add(1, Ordering::Relaxed);
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        let half = second / HALF + 1;
        window.halves[half as usize % 2].of(half).counts[bucket(took)].fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.last.store(since_start.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// The figures of now. Whoever counts calls in flight says how many there are.
    pub fn figures(&self, in_flight: u64) -> Figures {
        self.figures_at(self.began.elapsed(), in_flight)
    }

    fn figures_at(&self, since_start: Duration, in_flight: u64) -> Figures {
        let last = self.last.load(Ordering::Relaxed);
        let idle = match (in_flight, last) {
            (1.., _) => Duration::ZERO,
            (0, 0) => since_start,
            (0, last) => since_start.saturating_sub(Duration::from_millis(last - 1)),
        };
        let mut figures = Figures {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            in_flight,
            idle,
            ..Figures::default()
        };
        let Some(window) = self.window.get() else { return figures };
        let now = since_start.as_secs() + 1;
        // The second that runs is left out: it is not whole. In the first seconds there is nothing else.
        let whole = (now - 1).min(WINDOW.as_secs());
        let (from, to, seconds) = if whole == 0 {
            (now, now, since_start.as_secs_f64().max(0.1))
        } else {
            (now - whole, now - 1, whole as f64)
        };
        let within = window.seconds.iter().filter(|slot| (from..=to).contains(&slot.second.load(Ordering::Acquire)));
        let (mut requests, mut errors) = (0.0, 0.0);
        for slot in within {
            requests += f64::from(slot.requests.load(Ordering::Relaxed));
            errors += f64::from(slot.errors.load(Ordering::Relaxed));
        }
        figures.requests_per_second = requests / seconds;
        figures.errors_per_second = errors / seconds;
        figures.p99 = window.p99(now / HALF + 1);
        figures
    }
}

impl Window {
    fn p99(&self, half: u64) -> Option<Duration> {
        let recent = self.halves.iter().filter(|one| one.number.load(Ordering::Acquire) + 1 >= half);
        let mut counts = [0u64; BUCKETS];
        for one in recent {
            for (sum, count) in counts.iter_mut().zip(&one.counts) {
                *sum += u64::from(count.load(Ordering::Relaxed));
            }
        }
        let all: u64 = counts.iter().sum();
        let wanted = (all * 99).div_ceil(100);
        let mut seen = 0;
        let found = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.filter(|_| all > 0).map(top_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn rates_are_of_the_last_whole_seconds() {
        let traffic = Traffic::default();
        for second in 0..30u64 {
            for request in 0..5 {
                traffic.count_at(at(second * 1000 + request * 100), at(2), request == 0);
            }
        }
        let figures = traffic.figures_at(at(30_500), 0);
        assert_eq!((figures.requests_per_second, figures.errors_per_second), (5.0, 1.0));
        assert_eq!((figures.requests, figures.errors), (150, 30));
        assert_eq!(figures.idle, at(1100));
        assert_eq!(traffic.figures_at(at(30_500), 2).idle, Duration::ZERO);
        let later = traffic.figures_at(at(60_000), 0);
        assert_eq!((later.requests_per_second, later.requests), (0.0, 150));
    }

    #[test]
    fn the_slowest_of_a_hundred_are_told_for_a_minute() {
        let traffic = Traffic::default();
        assert_eq!(traffic.figures_at(at(5000), 0).p99, None);
        for request in 0..1000 {
            let took = if request % 50 == 0 { at(200) } else { at(1) };
            traffic.count_at(at(request), took, false);
        }
        let p99 = traffic.figures_at(at(2000), 0).p99.unwrap_or_default();
        assert!(p99 >= at(200) && p99 < at(300), "{p99:?}");
        assert_eq!(traffic.figures_at(at(120_000), 0).p99, None);
        assert_eq!(traffic.figures_at(at(120_000), 0).idle, at(119_001));
    }

    #[test]
    fn who_was_never_called_is_idle_since_its_start() {
        assert_eq!(Traffic::default().figures_at(at(700), 0), Figures { idle: at(700), ..Figures::default() });
    }
}
