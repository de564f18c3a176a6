//! Whether anybody still asks for anything: what decides if a workload is scaled to nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;

use crate::owners::{is_deleting, name};
use crate::pods;

/// How long nobody may have asked before a workload is scaled to nothing.
pub(super) const ANNOTATION: &str = "coracle.dev/idle-after";
const USUAL: Duration = Duration::from_secs(60);

/// What is known of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idleness {
    /// The pods answer no requests over HTTP: the metrics alone decide.
    Unknown,
    /// Nobody has asked for long enough.
    Idle,
    /// Somebody asks, or might: it may be idle after this long.
    Busy(Duration),
}

/// The time that an autoscaler says, as Go writes durations or in seconds; an annotation that says nothing of the kind is
/// answered with itself.
pub(super) fn idle_after(scaler: &HorizontalPodAutoscaler) -> Result<Duration, &str> {
    let annotations = scaler.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|all| all.get(ANNOTATION)) else { return Ok(USUAL) };
    read(text).ok_or(text)
}

fn read(text: &str) -> Option<Duration> {
    let plain = text.parse::<f64>().ok().filter(|value| value.is_finite() && (0.0..1e9).contains(value));
    plain.map(Duration::from_secs_f64).or_else(|| Duration::try_from(api::duration::parse(text).ok()?).ok())
}

/// `idle` is for how long each pod was asked for nothing, in thousandths of seconds.
pub(super) fn of(pods: &[Arc<Pod>], idle: &BTreeMap<String, i64>, after: Duration) -> Idleness {
    let own: Vec<_> = pods.iter().filter(|pod| pods::is_active(pod)).collect();
    if own.is_empty() || own.iter().any(|pod| !pods::is_ready(pod)) {
        // It is only starting.
        return Idleness::Busy(after);
    }
    let known = own.iter().filter_map(|pod| idle.get(name(&pod.metadata)));
    let Some(least) = known.min() else { return Idleness::Unknown };
    let least = Duration::from_millis(u64::try_from(*least).unwrap_or(0));
    debug_assert!(own.iter().all(|pod| !is_deleting(&pod.metadata)));
    match after.checked_sub(least) {
        Some(rest) if !rest.is_zero() => Idleness::Busy(rest),
        _ => Idleness::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        let rows = [
            ("90", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("0.5h", Some(1_800_000)),
        ];
        for (text, millis) in rows {
            assert_eq!(read(text), millis.map(Duration::from_millis), "{text}");
        }
        for text in ["", "soon", "5 s", "s", "-1s", "1d", "1e30s", "nan"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
