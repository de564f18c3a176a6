//! Time of a test's own: an hour that takes moments.
//!
//! It is the time of tokio's timers, of the runtime that the cluster was started in; that has to be one of a single thread, as
//! tests have it. The date stays what it is, and so does the time of threads that are not tokio's.

use std::time::Duration;

/// Lets `span` pass for all timers of this runtime: whenever nothing is left to do, it is the time of the next one.
pub async fn let_pass(span: Duration) {
    tokio::time::pause();
    tokio::time::sleep(span).await;
    tokio::time::resume();
}
