//! How long to wait where nodes refuse the pods that they are given. Kubernetes makes new ones at once, as fast as they
//! are refused.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::pods;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What was refused before that is forgotten.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// How long it is until the next pods may be made: no time for the first as many as are wanted, then twice as long each time.
pub(super) fn wait(owned: &[Arc<Pod>], wanted: usize, now: Timestamp) -> Option<Duration> {
    let made = |pod: &Arc<Pod>| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let refused = owned.iter().filter(|pod| pods::was_refused(pod)).filter_map(made);
    let recent = refused.filter(|made| now.duration_since(*made) < REMEMBERED);
    let (count, last) = recent.fold((0, None), |(count, last), made| (count + 1, last.max(Some(made))));
    let doublings = u32::try_from(count / wanted.max(1)).unwrap_or(u32::MAX).checked_sub(1)?;
    let pause = FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(LONGEST_WAIT);
    let been = Duration::try_from(now.duration_since(last?)).unwrap_or_default();
    pause.checked_sub(been).filter(|rest| !rest.is_zero())
}
