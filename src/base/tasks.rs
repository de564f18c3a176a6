//! Named, supervised tasks and one shutdown signal for all of them.
//!
//! *Guarantees*: a task that ends before shutdown was asked for, by returning or by a panic, is reported by name through
//! [`Tasks::first_failure`]; [`Tasks::stop`] returns when every task has ended or the grace period is over.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tells tasks to stop. Cheap to clone.
pub type Shutdown = CancellationToken;

/// The tasks of one part of the process.
#[derive(Clone)]
pub struct Tasks {
    shutdown: Shutdown,
    set: Arc<Mutex<JoinSet<()>>>,
    failed: watch::Sender<Option<String>>,
    /// Whose threads they run on; none takes those of whoever starts a task.
    threads: Option<Handle>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet. They will run on the threads of whoever calls this.
    pub fn new() -> Self {
        Self {
            shutdown: Shutdown::new(),
            set: Arc::default(),
            failed: watch::Sender::new(None),
            threads: Handle::try_current().ok(),
        }
    }

    /// The same tasks, but for those that are started through what this returns: they run on other threads.
    #[must_use]
    pub fn on(&self, threads: &Handle) -> Self {
        Self { threads: Some(threads.clone()), ..self.clone() }
    }

    /// The signal that these tasks stop on.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Tasks that stop when these do, or earlier on their own; failures are reported to the same place.
    pub fn child(&self) -> Self {
        Self { shutdown: self.shutdown.child_token(), set: Arc::default(), ..self.clone() }
    }

    /// Runs a service: it must not end before shutdown.
    #[allow(clippy::disallowed_methods)]
    pub fn service(&self, name: impl Into<String>, future: impl Future<Output = ()> + Send + 'static) {
        let (name, shutdown, failed) = (name.into(), self.shutdown.clone(), self.failed.clone());
        self.spawn(async move {
            let outcome = tokio::spawn(future).await;
            if shutdown.is_cancelled() {
                return;
            }
            let why = match outcome {
                Ok(()) => "ended early".to_owned(),
                Err(error) => format!("failed: {error}"),
            };
            tracing::error!(task = name, "task {why}");
            failed.send_if_modified(|first| {
                let news = first.is_none();
                first.get_or_insert(format!("{name} {why}"));
                news
            });
        });
    }

    /// Runs a job that may end whenever it is done. A panic in it is logged.
    #[allow(clippy::disallowed_methods)]
    pub fn job(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.spawn(async move {
            let inner = tokio::spawn(async move {
                tokio::select! {
                    () = future => {}
                    () = shutdown.cancelled() => {}
                }
            });
            if let Err(error) = inner.await {
                tracing::error!(task = name, %error, "job failed");
            }
        });
    }

    fn spawn(&self, supervised: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        match &self.threads {
            Some(threads) => set.spawn_on(supervised, threads),
            None => set.spawn(supervised),
        };
    }

    /// Waits for the first service that ends before shutdown, and names it.
    pub async fn first_failure(&self) -> String {
        let mut failed = self.failed.subscribe();
        let found = failed.wait_for(Option::is_some).await;
        match found {
            Ok(first) => first.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks all to stop and waits for them, at most `grace`. Returns whether all ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.shutdown.cancel();
        let mut set = std::mem::take(&mut *self.set.lock());
        let all = async { while set.join_next().await.is_some() {} };
        tokio::time::timeout(grace, all).await.is_ok()
    }
}

/// Runs a part of the caller's work as a task of its own, so that parts that are awaited side by side use every core and
/// not only the caller's. It ends when what this returns is dropped, and its panic is the caller's.
pub async fn apart<T: Send + 'static>(part: impl Future<Output = T> + Send + 'static) -> T {
    let mut set = JoinSet::new();
    set.spawn(part);
    match set.join_next().await {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
        // The threads end, and with them the caller.
        _ => std::future::pending().await,
    }
}
