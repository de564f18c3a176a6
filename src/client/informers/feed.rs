//! The task that keeps one cache current.

use std::time::Duration;

use base::Shutdown;
use base::backoff::Backoff;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Resource;
use kube::runtime::watcher::{Error, Event};

use super::Informer;
use super::lean::Lean;

/// How the first whole list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// As the first events of the watch.
    Stream,
    /// With list requests: for servers that do not know streaming lists.
    List,
}

/// Follows the stream that `open` makes until shutdown.
pub(super) async fn run<K>(
    plural: String,
    informer: Informer<K>,
    shutdown: Shutdown,
    open: impl Fn(Strategy) -> BoxStream<'static, Result<Event<Lean<K>>, Error>> + Send,
) where
    K: Resource + Send + Sync + 'static,
{
    let retired = informer.retired();
    tokio::select! {
        () = follow(&plural, &informer, open) => {}
        () = shutdown.cancelled() => {}
        () = retired.cancelled() => {}
    }
}

async fn follow<K>(
    plural: &str,
    informer: &Informer<K>,
    open: impl Fn(Strategy) -> BoxStream<'static, Result<Event<Lean<K>>, Error>> + Send,
) where
    K: Resource + Send + Sync + 'static,
{
    let mut strategy = Strategy::Stream;
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(10));
    let mut events = open(strategy);
    let mut listed = Vec::new();
    loop {
        match events.next().await {
            Some(Ok(event)) => {
                backoff.reset();
                take(informer, event, &mut listed);
            }
            Some(Err(error)) => {
                if strategy == Strategy::Stream && refuses_streaming(&error) {
                    tracing::info!(plural, "the server has no streaming lists; listing instead");
                    strategy = Strategy::List;
                    events = open(strategy);
                    continue;
                }
                let wait = backoff.fail();
                if backoff.failures() == 3 {
                    tracing::warn!(plural, error = base::report(&error), "watching fails; it is tried again");
                } else {
                    tracing::debug!(plural, error = base::report(&error), ?wait, "watch failed");
                }
                tokio::time::sleep(wait).await;
            }
            None => events = open(strategy),
        }
    }
}

fn take<K: Resource + Send + Sync + 'static>(informer: &Informer<K>, event: Event<Lean<K>>, listed: &mut Vec<K>) {
    match event {
        Event::Init => {
            listed.clear();
            informer.begin_list();
        }
        Event::InitApply(Lean(object)) => listed.push(object),
        Event::InitDone => informer.replace(std::mem::take(listed)),
        Event::Apply(Lean(object)) => informer.apply(object),
        Event::Delete(Lean(object)) => informer.remove(object),
    }
}

/// Servers without the feature answer the request for initial events with 422 or 400.
fn refuses_streaming(error: &Error) -> bool {
    matches!(error, Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}
