//! Whether a container's guests tend to outlast their slice.
//!
//! A guest that computes takes two milliseconds of a data thread before it moves. Where most requests do, that adds up to
//! all of the thread's time, so such a container's guests start on the bulk threads at once.

use std::sync::atomic::{AtomicU32, Ordering};

const LONG: u32 = 8;
const SCORE_MAX: u32 = 64;
const HEAVY: u32 = 32;

/// A score that long guests raise more than brief ones lower it: heavy is who has more than one long in nine.
#[derive(Debug, Default)]
pub(crate) struct Habit(AtomicU32);

impl Habit {
    /// A guest was still running when its first slice was over.
    pub fn was_long(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |score| Some((score + LONG).min(SCORE_MAX)));
    }

    /// A guest ended or waited within its first slice.
    pub fn was_brief(&self) {
        // The usual case costs a load.
        if self.0.load(Ordering::Relaxed) > 0 {
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |score| score.checked_sub(1));
        }
    }

    /// Whether the next guest should not begin on a data thread.
    pub fn is_heavy(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= HEAVY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_is_who_is_long_again_and_again() {
        let habit = Habit::default();
        (0..3).for_each(|_| habit.was_long());
        assert!(!habit.is_heavy());
        (0..3).for_each(|_| habit.was_long());
        assert!(habit.is_heavy());
        (0..40).for_each(|_| habit.was_brief());
        assert!(!habit.is_heavy());
    }

    #[test]
    fn one_long_among_many_is_not_heavy() {
        let habit = Habit::default();
        for _ in 0..100 {
            habit.was_long();
            (0..9).for_each(|_| habit.was_brief());
            assert!(!habit.is_heavy());
        }
    }
}
