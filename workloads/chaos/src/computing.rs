//! Using the core.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Never returns and never waits.
pub fn spin_for_ever() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Computes for a while.
pub fn spin(time: Duration) -> String {
    let start = Instant::now();
    let mut turns = 0u64;
    while start.elapsed() < time {
        for _ in 0..1000 {
            turns = black_box(turns.wrapping_add(1));
        }
    }
    format!("{turns} turns\n")
}

/// Calls itself until the stack is at its end.
pub fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    black_box(recurse(black_box(depth + 1))) + 1
}
