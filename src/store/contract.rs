//! What a backend promises. The suite in `contract/tests.rs` runs against every one of them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use thiserror::Error;

/// A point in the store's one history. Grows by one with every transaction and never goes back, after a crash either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What must be true of a key for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key is not there.
    Absent(String),
    /// The key was last written at this revision.
    At(String, Revision),
    /// The key is there, whatever its revision.
    Present(String),
    /// The key has this value, whatever its revision: for a writer that follows one whose revision is not known yet.
    Holds(String, Bytes),
}

/// All or nothing: when every check holds, all puts and deletes happen at one new revision.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// Looked at first, before any write of the same transaction.
    pub checks: Vec<Check>,
    /// Keys to write. A key may stand once in `puts` or in `deletes`.
    pub puts: Vec<(String, Bytes)>,
    /// Keys to remove; one that is not there is no error and makes no event.
    pub deletes: Vec<String>,
}

/// Why a transaction did not happen.
#[derive(Debug, Error)]
pub enum CommitError {
    /// A check did not hold.
    #[error("key {key} changed since it was read")]
    Stale {
        /// The key whose check failed.
        key: String,
    },
    /// There is no room left to write to. Reads go on.
    #[error("the disk that holds the store is full; free some space, writes succeed again then")]
    Full,
    /// The backend cannot be written to now.
    #[error("the store cannot be written to: {detail}")]
    Unavailable {
        /// Why.
        detail: String,
    },
}

/// Why a list could not be read.
#[derive(Debug, Error)]
pub enum ListError {
    /// The revision is older than what is kept.
    #[error("revision {asked} was compacted, the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// What is there.
        oldest: Revision,
    },
    /// The revision is newer than the store.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// What is there.
        newest: Revision,
    },
    /// The backend cannot be read now.
    #[error("the store cannot be read: {detail}")]
    Unavailable {
        /// Why.
        detail: String,
    },
}

/// Why a store could not be opened. Nothing was changed on disk.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file is damaged.
    #[error("the store {} is corrupt ({detail}); checked copies lie in {}, `coracle restore` brings the newest back", file.display(), copies.display())]
    Corrupt {
        /// The store's file.
        file: PathBuf,
        /// What is wrong.
        detail: String,
        /// Where the copies are.
        copies: PathBuf,
    },
    /// The file was written by a newer Coracle.
    #[error("the store {} has format {found}, this coracle understands up to {known}; run the newer coracle that wrote it", file.display())]
    Newer {
        /// The store's file.
        file: PathBuf,
        /// The file's format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The operating system refused.
    #[error("cannot open the store {}", file.display())]
    Io {
        /// The store's file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The revision at which it was last written.
    pub revision: Revision,
    /// The value.
    pub value: Bytes,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The revision that the whole list is read at.
    pub revision: Revision,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// Whether keys follow after the last entry.
    pub more: bool,
}

/// One thing that a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was written.
    Put {
        /// The key, its new value and the revision.
        entry: Entry,
        /// Whether the key was there before.
        existed: bool,
    },
    /// A key was removed.
    Delete {
        /// The key.
        key: String,
        /// The revision of the removal.
        revision: Revision,
        /// The last value that it had.
        last: Bytes,
    },
    /// Everything up to and with this revision was told.
    Progress(Revision),
    /// The watch cannot go on from where it was; it ends. Older than this is gone.
    Compacted(Revision),
}

/// Events in the order of their revisions; those of one transaction stand together, a `Progress` follows each transaction.
pub type EventStream = BoxStream<'static, Event>;

/// A store of bytes under ordered keys with one history.
///
/// Worst cases that a caller must count on: a commit whose caller was dropped may have happened; a commit that answered
/// [`CommitError::Unavailable`] may have happened; two processes may hold the same remote backend.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Carries out `txn` and answers once it is durable. Concurrent calls may share one sync, never one revision.
    async fn commit(&self, txn: Txn) -> Result<Revision, CommitError>;

    /// The keys that start with `prefix` and come after `after`, at most `limit` (0: all), as of `at` (now when `None`).
    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, ListError>;

    /// Everything that happens to keys under `prefix` after revision `from`, without a gap.
    fn watch(&self, prefix: &str, from: Revision) -> EventStream;

    /// The newest revision that is durable.
    async fn revision(&self) -> Result<Revision, ListError>;

    /// Ends writing in order and makes a checked copy where the backend keeps copies. Commits are refused afterwards.
    async fn close(&self);
}

/// A store behind a pointer, as rooms hold it.
pub type SharedStore = Arc<dyn Store>;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
pub(crate) mod tests;
