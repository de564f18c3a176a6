//! How often in a row pods failed in one place, and when the next that failed may be made anew: at once, then later and
//! later, so that what cannot succeed does not keep the whole cluster busy.

use std::collections::HashMap;
use std::time::Duration;

use client::informers::Key;
use jiff::Timestamp;
use parking_lot::Mutex;

const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The failures of one controller's pods.
pub(crate) struct Failures {
    longest_wait: Duration,
    /// By owner and place: how many, and when the next may go.
    places: Mutex<HashMap<(Key, String), (u32, Timestamp)>>,
}

impl Failures {
    pub fn new(longest_wait: Duration) -> Self {
        Self { longest_wait, places: Mutex::default() }
    }

    /// Whether the failed pod of a place may go now, and then counts it; else how long it stays.
    pub fn may_go(&self, owner: &Key, place: &str, now: Timestamp) -> Result<(), Duration> {
        let mut places = self.places.lock();
        let entry = places.entry((owner.clone(), place.to_owned())).or_insert((0, now));
        let since = |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap_or_default();
        if entry.1 > now {
            return Err(Duration::try_from(entry.1.duration_since(now)).unwrap_or_default());
        }
        if since(entry.1) > self.longest_wait * 2 {
            entry.0 = 0;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << entry.0.min(16)).min(self.longest_wait);
        *entry = (entry.0 + 1, now.checked_add(wait).unwrap_or(now));
        Ok(())
    }

    /// Forgets an owner that is gone.
    pub fn forget(&self, owner: &Key) {
        self.places.lock().retain(|(key, _), _| key != owner);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn each_failure_waits_longer_than_the_one_before() {
        let (failures, set) = (Failures::new(Duration::from_secs(5)), Key::new("default", "set"));
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
        assert_eq!(failures.may_go(&set, "a", at(0)), Ok(()));
        assert_eq!(failures.may_go(&set, "a", at(0)), Err(Duration::from_secs(1)));
        assert_eq!(failures.may_go(&set, "b", at(0)), Ok(()));
        for (when, wait) in [(1, 2), (3, 4), (7, 5), (12, 5)] {
            assert_eq!(failures.may_go(&set, "a", at(when)), Ok(()));
            assert_eq!(failures.may_go(&set, "a", at(when)), Err(Duration::from_secs(wait)));
        }
        // After a good while all is forgiven.
        assert_eq!(failures.may_go(&set, "a", at(60)), Ok(()));
        assert_eq!(failures.may_go(&set, "a", at(60)), Err(Duration::from_secs(1)));
        failures.forget(&set);
        assert_eq!(failures.may_go(&set, "a", at(60)), Ok(()));
    }
}
