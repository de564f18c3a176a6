//! How many Events are written in what time. Good news of thousands of pods would otherwise be half of all that is written
//! while they start.

use std::time::Duration;

use tokio::time::Instant;

/// So many at once, and so many a second from then on: what a kubelet writes, twice over at once.
const AT_ONCE: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(20);
/// Who would wait longer is not written: so long is Kubernetes' queue of a thousand.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Hands out times to write at.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next one would be written, were there no burst.
    next: Option<Instant>,
}

impl Pace {
    /// How long the next one waits; nothing when there are too many.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let earliest = now.checked_sub(BETWEEN * AT_ONCE).unwrap_or(now);
        let next = self.next.map_or(earliest, |next| next.max(earliest));
        let wait = next.saturating_duration_since(now);
        if wait > WAIT_MAX {
            return None;
        }
        self.next = Some(next + BETWEEN);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_what_follows_waits_or_goes_nowhere() {
        let now = Instant::now() + Duration::from_secs(3600);
        let mut pace = Pace::default();
        let waits: Vec<Option<Duration>> = (0..2000).map(|_| pace.wait(now)).collect();
        let (at_once, later) = waits.split_at(AT_ONCE as usize);
        assert!(at_once.iter().all(|wait| *wait == Some(Duration::ZERO)));
        assert_eq!((later[0], later[1]), (Some(Duration::ZERO), Some(BETWEEN)));
        assert_eq!(later.iter().flatten().count(), 1001);
        assert_eq!(pace.wait(now + Duration::from_secs(60)), Some(Duration::ZERO), "after a while there is room again");
    }
}
