//! While requests come, whatever else the process does keeps off a core: a thousand pods that start, crash or are compiled
//! take longer then, and the requests do not.

use std::time::Duration;

use base::Tasks;
use base::os::keep_free;
use network::DataThreads;

/// How often it is looked whether requests come.
const GLANCE: Duration = Duration::from_millis(100);
/// So much of a glance the data threads are at work where they do.
const SERVING_MIN: Duration = Duration::from_millis(5);
/// So many glances without requests, and the core is everybody's again.
const QUIET: u32 = 20;

/// Watches the data threads until shutdown.
pub(crate) fn keep(threads: DataThreads, tasks: &Tasks) {
    let shutdown = tasks.shutdown();
    tasks.service("spare core", async move {
        tokio::select! {
            () = watch(&threads) => {}
            () = shutdown.cancelled() => {}
        }
        keep_free(false);
    });
}

async fn watch(threads: &DataThreads) {
    let (mut before, mut quiet) = (threads.busy(), QUIET);
    loop {
        tokio::time::sleep(GLANCE).await;
        let now = threads.busy();
        quiet = if now.saturating_sub(before) >= SERVING_MIN { 0 } else { (quiet + 1).min(QUIET) };
        before = now;
        keep_free(quiet < QUIET);
    }
}
