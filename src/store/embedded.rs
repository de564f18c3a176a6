//! The store in one file, over redb.
//!
//! *Guarantees*: a commit is answered after its sync; transactions that arrive while a sync runs share the next one, each
//! with a revision of its own and failing alone. A file that does not pass its check is refused and not touched. When the
//! disk is full commits are refused, and succeed again when there is room.
//!
//! *Caveats*: changes are kept in memory for watches, so that a watch from before a restart is told `Compacted`.
//!
//! In the folder: `store.redb`, and `copies/`, checked copies of which the newest three are kept.

mod copies;
mod medium;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base::os::{Urgency, set_thread_urgency};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use copies::{RestoreError, Restored, restore};
pub use medium::CHECK_THREAD;
use medium::{FileMedium, Medium};

use crate::contract::{CommitError, EventStream, ListError, OpenError, Page, Revision, Store, Txn};
use crate::history::{Bounds, History, page_at};
use writer::{Database, Request, Writer};

const BOUNDS: Bounds = Bounds { transactions_max: 2048, bytes_max: 4 << 20 };
/// How many commits may wait for the next sync; more wait for a place in the queue.
const QUEUE: usize = 1024;
/// How often a list at a revision is read again when commits come in between.
const LIST_ATTEMPTS: usize = 100;

/// The store in one file.
pub struct Embedded {
    queue: mpsc::Sender<Request>,
    history: History,
    database: Database,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the store in `folder`, or makes it.
    ///
    /// # Errors
    /// Whatever is wrong, nothing on disk was changed.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(FileMedium::prepare(folder)?), BOUNDS)
    }

    pub(crate) fn open_on(medium: Arc<dyn Medium>, bounds: Bounds) -> Result<Self, OpenError> {
        medium::check(&*medium)?;
        let refused = |detail: String| OpenError::Io { file: medium.file(), source: std::io::Error::other(detail) };
        let opened = medium.open().map_err(|error| medium::classify(&*medium, error))?;
        let newest = table::revision(&opened).map_err(|error| refused(error.to_string()))?;
        let history = History::starting_at(newest, bounds);
        let database = Database::holding(opened);
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = Writer::new(medium.clone(), database.clone(), history.clone());
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                set_thread_urgency(Urgency::Control);
                writer.run(requests);
            })
            .map_err(|source| OpenError::Io { file: medium.file(), source })?;
        Ok(Self { queue, history, database, thread: Mutex::new(Some(thread)) })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer ends when nobody can send to it any more; the file must be closed when this returns.
        let (queue, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.queue, queue));
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn ended() -> CommitError {
    CommitError::Unavailable { detail: "it was closed".to_owned() }
}

#[async_trait]
impl Store for Embedded {
    async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Request::Commit { txn, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, ListError> {
        let unavailable = |detail: String| ListError::Unavailable { detail };
        for _ in 0..LIST_ATTEMPTS {
            let (database, prefix_owned, after_owned) =
                (self.database.clone(), prefix.to_owned(), after.map(str::to_owned));
            // Going back in time needs everything that stands there now.
            let at = at.filter(|at| *at != self.history.newest());
            let limit_now = if at.is_none() { limit } else { 0 };
            let read = move || {
                database.read(|database| table::page(database, &prefix_owned, after_owned.as_deref(), limit_now))
            };
            let page = tokio::task::spawn_blocking(read).await.map_err(|error| unavailable(error.to_string()))??;
            let Some(at) = at else { return Ok(page) };
            let undo = self.history.undo(at)?;
            if self.history.newest() == page.revision {
                return Ok(page_at(page.entries.into_iter(), undo, (prefix, after, limit), at));
            }
            tokio::task::yield_now().await;
        }
        Err(unavailable("too many commits while it was read".to_owned()))
    }

    fn watch(&self, prefix: &str, from: Revision) -> EventStream {
        self.history.watch(prefix, from)
    }

    async fn revision(&self) -> Result<Revision, ListError> {
        Ok(self.history.newest())
    }

    async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Request::Close { reply }).await.is_ok() {
            // An error means that it was closed already.
            let _ = closed.await;
        }
    }
}
