//! Waiting for what must come true.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; a test that fails waits this long, one that passes does not.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `probe` until it answers, and fails the test with `what` when it never does.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited {} s in vain: {what}", PATIENCE.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}
