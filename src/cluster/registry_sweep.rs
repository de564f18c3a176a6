//! Keeping the built-in registry free of what nothing names, in a process that has no node to do so.

use std::time::Duration;

use base::Tasks;
use images::{ImageStore, Limits};

const EVERY: Duration = Duration::from_secs(3600);

/// Deletes blobs of deleted images and of pushes that were never finished, from time to time. No image goes.
pub(crate) fn start(images: ImageStore, tasks: &Tasks) {
    let shutdown = tasks.shutdown();
    tasks.service("registry sweep", async move {
        let sweep = async {
            loop {
                tokio::time::sleep(EVERY).await;
                match images.collect(Limits::default(), 0, 0).await {
                    Ok(collected) => tracing::debug!(bytes = collected.bytes, "the registry was swept"),
                    Err(error) => tracing::warn!(%error, "the registry cannot be swept"),
                }
            }
        };
        tokio::select! {
            () = sweep => {}
            () = shutdown.cancelled() => {}
        }
    });
}
