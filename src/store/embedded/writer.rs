//! The one thread that writes: takes the transactions that wait, carries them out in one redb transaction, syncs once,
//! answers them all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use super::medium::Medium;
use super::{copies, table};
use crate::contract::{CommitError, ListError, Revision, Txn};
use crate::history::{History, Record};

/// Most transactions under one sync.
const BATCH: usize = 512;
/// Most bytes under one sync.
const BATCH_BYTES: usize = 8 << 20;
/// How long after the disk was found full it is tried again.
const PATIENCE: Duration = Duration::from_millis(200);

type Reply = oneshot::Sender<Result<Revision, CommitError>>;

/// What the writer is asked for.
pub(super) enum Request {
    Commit { txn: Txn, reply: Reply },
    Close { reply: oneshot::Sender<()> },
}

/// The open database, unless it is closed or has to be opened again.
#[derive(Clone)]
pub(super) struct Database(Arc<RwLock<Option<redb::Database>>>);

impl Database {
    pub fn holding(database: redb::Database) -> Self {
        Self(Arc::new(RwLock::new(Some(database))))
    }

    pub fn read<T>(&self, read: impl FnOnce(&redb::Database) -> Result<T, ListError>) -> Result<T, ListError> {
        match &*self.0.read() {
            Some(database) => read(database),
            None => Err(ListError::Unavailable { detail: "it is closed, or its disk failed".to_owned() }),
        }
    }
}

/// Why a sync did not happen.
enum Failure {
    Full,
    Other(String),
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        match &error {
            redb::Error::Io(source) if base::os::is_disk_full(source) => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Failure {
    fn answer(&self) -> CommitError {
        match self {
            Self::Full => CommitError::Full,
            Self::Other(detail) => CommitError::Unavailable { detail: detail.clone() },
        }
    }
}

pub(super) struct Writer {
    medium: Arc<dyn Medium>,
    database: Database,
    history: History,
    newest: Revision,
    /// Written by a sync that failed: whether it is on the disk is known when the file was opened again.
    doubtful: Option<(Revision, Vec<Record>)>,
    /// Why the database is not open, and since when.
    failed: Option<(Failure, Instant)>,
}

impl Writer {
    pub fn new(medium: Arc<dyn Medium>, database: Database, history: History) -> Self {
        let newest = history.newest();
        Self { medium, database, history, newest, doubtful: None, failed: None }
    }

    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        self.copy();
        while let Some(first) = requests.blocking_recv() {
            let (mut batch, mut bytes, mut closing, mut next) = (Vec::new(), 0, None, Some(first));
            loop {
                match next {
                    Some(Request::Commit { txn, reply }) => {
                        bytes += txn.puts.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
                        batch.push((txn, reply));
                    }
                    Some(Request::Close { reply }) => closing = Some(reply),
                    None => break,
                }
                if closing.is_some() || batch.len() >= BATCH || bytes >= BATCH_BYTES {
                    break;
                }
                next = requests.try_recv().ok();
            }
            if !batch.is_empty() {
                self.write(batch);
            }
            if let Some(reply) = closing {
                // Whoever still waits is told that it is closed.
                requests.close();
                while requests.try_recv().is_ok() {}
                self.close();
                let _ = reply.send(());
                return;
            }
        }
        self.close();
    }

    fn close(&mut self) {
        self.copy();
        *self.database.0.write() = None;
    }

    /// Keeps a checked copy of what is there now, unless there is one.
    fn copy(&self) {
        let Some(folder) = self.medium.copies() else { return };
        let database = self.database.0.read();
        let Some(database) = &*database else { return };
        if let Err(error) = copies::keep(database, &folder) {
            tracing::warn!(folder = %folder.display(), error = base::report(&error), "no copy of the store was made");
        }
    }

    fn write(&mut self, batch: Vec<(Txn, Reply)>) {
        let txns: Vec<&Txn> = batch.iter().map(|(txn, _)| txn).collect();
        let outcomes = self.ready().and_then(|()| self.attempt(&txns));
        let replies = batch.into_iter().map(|(_, reply)| reply);
        match outcomes {
            Ok(outcomes) => {
                for (reply, outcome) in replies.zip(outcomes) {
                    // Nobody waits any more when the caller was dropped.
                    let _ = reply.send(outcome.map_err(|key| CommitError::Stale { key }));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(match &error {
                        CommitError::Full => CommitError::Full,
                        other => CommitError::Unavailable { detail: other.to_string() },
                    }));
                }
            }
        }
    }

    /// Carries out a batch, told to watchers when this returns.
    fn attempt(&mut self, txns: &[&Txn]) -> Result<Vec<Result<Revision, String>>, CommitError> {
        let mut written = None;
        let outcome = {
            let database = self.database.0.read();
            let Some(database) = &*database else {
                return Err(CommitError::Unavailable { detail: "it is closed".to_owned() });
            };
            sync(database, txns, self.newest, &mut written)
        };
        let Some(outcomes) = written else {
            let failure = outcome.err().unwrap_or_else(|| Failure::Other("nothing was written".to_owned()));
            return Err(self.broke(failure, None));
        };
        let (mut records, mut answers) = (Vec::new(), Vec::with_capacity(outcomes.len()));
        for outcome in outcomes {
            answers.push(outcome.map(|record| {
                let revision = record.revision;
                records.push(record);
                revision
            }));
        }
        let newest = records.last().map_or(self.newest, |record| record.revision);
        match outcome {
            Ok(()) => self.told(newest, records),
            Err(failure) => {
                let error = self.broke(failure, Some((newest, records)));
                // When the file shows that it was written after all, everything is well.
                if self.newest != newest {
                    return Err(error);
                }
            }
        }
        Ok(answers)
    }

    fn told(&mut self, newest: Revision, records: Vec<Record>) {
        self.newest = newest;
        if !records.is_empty() {
            self.history.push(records);
        }
    }

    /// After a failure redb refuses everything until the file is opened again.
    fn broke(&mut self, failure: Failure, doubtful: Option<(Revision, Vec<Record>)>) -> CommitError {
        let error = failure.answer();
        tracing::error!(%error, "a commit failed");
        *self.database.0.write() = None;
        let in_doubt = doubtful.is_some();
        self.doubtful = doubtful;
        self.failed = Some((failure, Instant::now()));
        match self.reopen() {
            Ok(()) => error,
            Err(_) if in_doubt => {
                CommitError::Unavailable { detail: format!("{error}; whether this write happened is not known yet") }
            }
            Err(error) => error,
        }
    }

    fn ready(&mut self) -> Result<(), CommitError> {
        match &self.failed {
            None => Ok(()),
            Some((failure, since)) if since.elapsed() < PATIENCE => Err(failure.answer()),
            Some(_) => self.reopen(),
        }
    }

    fn reopen(&mut self) -> Result<(), CommitError> {
        let opened = self.medium.open().map_err(redb::Error::from).and_then(|database| {
            let revision = table::revision(&database)?;
            Ok((database, revision))
        });
        let (database, revision) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let failure = Failure::from(error);
                let answer = failure.answer();
                self.failed = Some((failure, Instant::now()));
                return Err(answer);
            }
        };
        if let Some((doubtful, records)) = self.doubtful.take().filter(|(doubtful, _)| *doubtful == revision) {
            self.told(doubtful, records);
        }
        if revision != self.newest {
            // Only another process can have done that; nothing that was told may be unsaid.
            let detail = format!("its file is at revision {revision}, expected {}", self.newest);
            self.failed = Some((Failure::Other(detail.clone()), Instant::now()));
            return Err(CommitError::Unavailable { detail });
        }
        *self.database.0.write() = Some(database);
        self.failed = None;
        Ok(())
    }
}

/// Writes and syncs. `written` tells what would be there, also when the sync failed.
fn sync(
    database: &redb::Database,
    txns: &[&Txn],
    newest: Revision,
    written: &mut Option<Vec<Result<Record, String>>>,
) -> Result<(), Failure> {
    let write = database.begin_write().map_err(redb::Error::from)?;
    let outcomes = table::apply(&write, txns, newest)?;
    let nothing = outcomes.iter().all(Result::is_err);
    *written = Some(outcomes);
    if nothing {
        return Ok(write.abort().map_err(redb::Error::from)?);
    }
    Ok(write.commit().map_err(redb::Error::from)?)
}
