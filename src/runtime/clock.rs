//! Monotonic nanoseconds that fit an atomic.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since this process first asked.
pub(crate) fn now_ns() -> u64 {
    since_origin(Instant::now())
}

/// An instant on the same scale; what lies before the origin is 0.
pub(crate) fn since_origin(instant: Instant) -> u64 {
    nanos(instant.saturating_duration_since(*ORIGIN))
}

/// A duration in nanoseconds; 584 years and more are all the same.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
