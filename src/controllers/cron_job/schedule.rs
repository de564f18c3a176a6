//! When a CronJob is due.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Steps that are counted before it is said that too many were missed.
const COUNTED: usize = 100;
/// What does not come within so many years never comes.
const YEARS: i16 = 5;

/// A schedule in a time zone.
pub(super) enum Schedule {
    /// Five fields, or one of the words for them.
    Fields(Box<croner::Cron>, TimeZone),
    /// `@every 90s`, from wherever it is counted.
    Every(SignedDuration),
}

/// The last time that was due, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub at: Timestamp,
    /// How many times were missed before it; no more than a hundred are counted.
    pub missed: usize,
}

impl Schedule {
    /// Reads a schedule as Kubernetes does: `TZ=` in front of it is old, and still works. Without a zone it is UTC, as a
    /// cluster has no local time.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let (named, fields) = match text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) {
            Some(rest) => {
                let (zone, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                (Some(zone), fields.trim())
            }
            None => (zone, text),
        };
        if let Some(length) = fields.strip_prefix("@every ") {
            let every = api::duration::parse(length.trim()).map_err(|error| error.to_string())?;
            // Cron counts in whole seconds, and at least in one.
            return Ok(Self::Every(SignedDuration::from_secs(every.as_secs().max(1))));
        }
        let zone = match named {
            Some(name) => TimeZone::get(name).map_err(|error| error.to_string())?,
            None => TimeZone::UTC,
        };
        let fields = fields.replace('?', "*");
        let cron = fields.parse::<croner::Cron>().map_err(|error| error.to_string())?;
        Ok(Self::Fields(Box::new(cron), zone))
    }

    /// The first time after `then`. A schedule that never comes has none.
    pub fn after(&self, then: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => then.checked_add(*every).ok(),
            Self::Fields(cron, zone) => next(cron, zone, then),
        }
    }

    /// The newest time after `since` that has come.
    pub fn due(&self, since: Timestamp, now: Timestamp) -> Option<Due> {
        let first = self.after(since).filter(|first| *first <= now)?;
        let mut due = Due { at: first, missed: 0 };
        while let Some(next) = self.after(due.at).filter(|next| *next <= now) {
            due = Due { at: next, missed: due.missed + 1 };
            if due.missed == COUNTED {
                due.at = self.newest(due.at, now);
                break;
            }
        }
        Some(due)
    }

    /// The newest time between two, found without going through all of them.
    fn newest(&self, since: Timestamp, now: Timestamp) -> Timestamp {
        let mut span = SignedDuration::from_mins(1);
        while let Ok(from) = now.checked_sub(span) {
            if from <= since {
                return since;
            }
            if let Some(mut at) = self.after(from).filter(|at| *at <= now) {
                while let Some(next) = self.after(at).filter(|next| *next <= now) {
                    at = next;
                }
                return at;
            }
            span = span.saturating_mul(2);
        }
        since
    }
}

/// The first moment after `then` at which the clock in `zone` shows what `cron` asks for. An hour that a change of the clock
/// leaves out does not come, and one that it repeats comes twice: no moment is moved to where its clock shows something else.
fn next(cron: &croner::Cron, zone: &TimeZone, then: Timestamp) -> Option<Timestamp> {
    let (mut from, mut inclusive) = (then, false);
    let last = zone.to_datetime(then).year().saturating_add(YEARS);
    loop {
        // Until the next change the clock is as good as one that never changes.
        let offset = zone.to_offset(from);
        let change = zone.following(from).next().map(|change| change.timestamp());
        let clock = offset.to_datetime(from).to_zoned(TimeZone::UTC).ok()?;
        let shown = cron.find_next_occurrence(&clock, inclusive).ok()?.datetime();
        let at = offset.to_timestamp(shown).ok()?;
        match change {
            Some(change) if at >= change => (from, inclusive) = (change, true),
            _ => return (shown.year() <= last).then_some(at),
        }
        if offset.to_datetime(from).year() > last {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn times_are_found_in_their_zone() {
        for (schedule, zone, from, wanted) in [
            ("*/15 * * * *", None, "2026-03-01T10:01:00Z", "2026-03-01T10:15:00Z"),
            ("0 9 * * 1-5", Some("Europe/Berlin"), "2026-03-28T10:00:00Z", "2026-03-30T07:00:00Z"),
            ("@daily", None, "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z"),
            ("@every 1.5m", None, "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
            ("TZ=Asia/Tokyo 0 0 * * *", None, "2026-01-01T00:00:00Z", "2026-01-01T15:00:00Z"),
            // The thirteenth, and every Friday.
            ("0 0 13 * 5", None, "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"),
            // Steps restrict as well: each tenth day, and every Sunday. A star alone does not.
            ("0 0 */10 * Sun", None, "2012-07-14T12:00:00Z", "2012-07-15T00:00:00Z"),
            ("0 0 1,15 * *", None, "2012-07-02T00:00:00Z", "2012-07-15T00:00:00Z"),
        ] {
            let read = Schedule::parse(schedule, zone).expect(schedule);
            assert_eq!(read.after(time(from)), Some(time(wanted)), "{schedule}");
        }
        let never = Schedule::parse("0 0 31 2 *", None).expect("it can be read");
        assert_eq!(never.after(time("2026-01-01T00:00:00Z")), None);
        assert!(Schedule::parse("* * *", None).is_err() && Schedule::parse("* * * * *", Some("Mars/Base")).is_err());
    }

    #[test]
    fn an_hour_that_the_clock_skips_does_not_come_and_one_that_it_repeats_comes_twice() {
        // In New York the clock went from 2 to 3 at 07:00Z of 11 March 2012, and from 2 to 1 at 06:00Z of 4 November.
        for (schedule, zone, from, wanted) in [
            ("30 2 11 3 *", "America/New_York", "2012-03-11T05:00:00Z", &["2013-03-11T06:30:00Z"][..]),
            ("30 2 * * *", "America/New_York", "2012-03-11T05:00:00Z", &["2012-03-12T06:30:00Z"]),
            ("0 3 * * *", "America/New_York", "2012-03-11T05:00:00Z", &["2012-03-11T07:00:00Z"]),
            (
                "30 1-3 * * *",
                "America/New_York",
                "2012-03-11T05:00:00Z",
                &["2012-03-11T06:30:00Z", "2012-03-11T07:30:00Z"],
            ),
            (
                "0 * * * *",
                "America/New_York",
                "2012-03-11T05:30:00Z",
                &["2012-03-11T06:00:00Z", "2012-03-11T07:00:00Z"],
            ),
            ("30 2 4 11 *", "America/New_York", "2012-11-04T04:00:00Z", &["2012-11-04T07:30:00Z"]),
            ("30 1 4 11 *", "America/New_York", "2012-11-04T05:45:00Z", &["2012-11-04T06:30:00Z"]),
            (
                "30 1 * * *",
                "America/New_York",
                "2012-11-04T04:00:00Z",
                &["2012-11-04T05:30:00Z", "2012-11-04T06:30:00Z", "2012-11-05T06:30:00Z"],
            ),
            (
                "0 * * * *",
                "America/New_York",
                "2012-11-04T04:30:00Z",
                &["2012-11-04T05:00:00Z", "2012-11-04T06:00:00Z", "2012-11-04T07:00:00Z"],
            ),
            // Here half an hour is left out, and at midnight an hour was.
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T13:00:00Z", &["2026-10-04T15:15:00Z"]),
            ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T04:00:00Z", &["2018-11-05T02:00:00Z"]),
            // Far from any change.
            ("0 0 29 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", &["2028-02-28T23:00:00Z"]),
        ] {
            let read = Schedule::parse(schedule, Some(zone)).expect(schedule);
            let mut at = time(from);
            for wanted in wanted {
                at = read.after(at).expect(schedule);
                assert_eq!(at, time(wanted), "{schedule} in {zone} from {from}");
            }
        }
        let seldom = Schedule::parse("0 0 29 2 *", None).expect("a schedule");
        assert_eq!(seldom.after(time("2096-03-01T00:00:00Z")), None);
    }

    #[test]
    fn what_was_missed_is_counted_and_only_the_newest_is_due() {
        let minutes = Schedule::parse("* * * * *", None).expect("a schedule");
        let (start, now) = (time("2026-01-01T00:00:30Z"), time("2026-01-01T00:05:10Z"));
        assert_eq!(minutes.due(start, now), Some(Due { at: time("2026-01-01T00:05:00Z"), missed: 4 }));
        assert_eq!(minutes.due(now, now), None);
        let late = time("2026-02-01T00:05:10Z");
        assert_eq!(minutes.due(start, late), Some(Due { at: time("2026-02-01T00:05:00Z"), missed: 100 }));
    }
}
