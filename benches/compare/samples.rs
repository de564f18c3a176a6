//! Medians and percentiles.

use std::time::Duration;

/// The value below which `share` of the samples lie; zero of none.
pub fn percentile(samples: &mut [Duration], share: f64) -> Duration {
    if samples.is_empty() {
        return Duration::ZERO;
    }
    let last = samples.len() - 1;
    let at = ((samples.len() as f64 * share) as usize).min(last);
    *samples.select_nth_unstable(at).1
}

/// The middle one; zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

/// As microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// As milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
